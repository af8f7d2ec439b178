"""Scopes find their modules or say that they do not; presets are what they say; bad nets are named."""

import pytest
import torch
from torch import nn

from fewstep.core import caches, nfe
from fewstep.core.caches import Cache, Gate, Schedule
from fewstep.core.errors import UsageError


class Add(nn.Module):
    """x + k."""

    def __init__(self, k):
        super().__init__()
        self.k, self.calls = k, 0

    def forward(self, x):
        self.calls += 1
        return x + self.k


class Chain(nn.Module):
    """Blocks in order; block i adds its number and t."""

    def __init__(self, depth=6):
        super().__init__()
        self.blocks = nn.ModuleList([Add(i) for i in range(depth)])

    def forward(self, x, t):
        for block in self.blocks:
            x = block(x)
        return x + t

    @property
    def calls(self):
        return [block.calls for block in self.blocks]


def walk(net, *which, rows=6, times=None, x=None):
    """Call the net once per row, as a run would."""
    x = torch.ones(1, 2) if x is None else x
    with torch.no_grad(), caches.attach(net, *which, times=times) as attached, nfe.count():
        said = [nfe.call(lambda x, t: net(x, t), x, torch.tensor(float(row))) for row in range(rows)]
    return said, attached


@pytest.mark.parametrize(
    "scope", ["nothing", caches.outputs(r"blocks\.\d+\.attn"), caches.deltas("block"), caches.span("layers", 1)]
)
def test_a_scope_that_matches_nothing(scope):
    with pytest.raises(UsageError, match=r"matches no module of Chain, which has blocks, blocks\.0"):
        walk(Chain(), caches.every(2, scope=scope))


def test_other_bad_scopes():
    with pytest.raises(UsageError, match=r"no blocks from 6 to the end: 'blocks' names 6 modules"):
        walk(Chain(), caches.every(2, scope=caches.span("blocks", 6)))
    with pytest.raises(UsageError, match="neither a module's name nor a regular expression"):
        walk(Chain(), caches.every(2, scope="blocks("))
    with pytest.raises(UsageError, match=r"one or more caches, got \['str'\]"):
        walk(Chain(), "blocks")
    with pytest.raises(UsageError, match=r"one or more caches, got \[\]"):
        walk(Chain())


def test_spans_are_slices():
    for scope, calls in [
        (caches.span("blocks", -2), [6, 6, 6, 6, 1, 1]),
        (caches.span("blocks", 1, -1), [6, 1, 1, 1, 1, 6]),
        (caches.span(r"blocks\.[03]"), [1, 6, 6, 1, 6, 6]),
    ]:
        net = Chain()
        walk(net, caches.every(6, scope=scope))
        assert net.calls == calls


def test_a_gate_needs_a_probe_that_runs_before():
    with pytest.raises(UsageError, match="this gate needs a probe"):
        walk(Chain(), Cache("blocks", Gate(0.1)))
    with pytest.raises(UsageError, match=r"probe 'blocks\.9' is no module of Chain"):
        walk(Chain(), Cache("blocks", Gate(0.1, probe="blocks.9")))
    with pytest.raises(UsageError, match="ran before the gate's probe"):
        walk(Chain(), Cache(caches.span("blocks", 0, 2), Gate(0.1, probe="blocks.4")))


def test_runs_longer_than_their_times():
    with pytest.raises(UsageError, match="times for 3 rows, the run has more"):
        walk(Chain(), caches.every(2, scope="blocks"), times=[3.0, 2, 1, 0])


def test_a_schedule_of_another_length_is_refused_at_once():
    net = Chain()
    with pytest.raises(UsageError, match="schedule is for 5 rows, the run has 6"):
        walk(net, Cache("blocks", Schedule(5, (0,))), times=list(range(6, -1, -1)))
    assert net.calls == [0] * 6


def test_nets_that_cannot_be_cached():
    class Odd(nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.inner = Add(0)
            self.inner.forward = answer

        def forward(self, x, t):
            self.inner(x)
            return x

    with pytest.raises(UsageError, match="expected a module that returns a tensor or several, it returned tuple"):
        walk(Odd(lambda x: (x, None)), caches.every(2, scope=caches.outputs("inner")))
    with pytest.raises(UsageError, match="returns 2 tensors: say with carries= which arguments they go on from"):
        walk(Odd(lambda x: (x, x)), caches.every(2, scope=caches.deltas("inner")))
    with pytest.raises(UsageError, match=r"expected tensors as the arguments \['x', 'y'\], \['y'\] are none"):
        walk(Odd(lambda x, y=None: (x, x)), caches.every(2, scope=caches.deltas("inner", carries=("x", "y"))))
    with pytest.raises(UsageError, match=r"needs an output shaped like the input \[1, 2\], got \[1, 4\]"):
        walk(Odd(lambda x: x.repeat(1, 2)), caches.every(2, scope=caches.deltas("inner")))
    net = Odd(lambda x: x)
    net.forward = lambda x, t: net.inner(None)
    with pytest.raises(UsageError, match="expected a tensor as the first argument of a cached module, got NoneType"):
        walk(net, caches.every(2, scope=caches.outputs("inner")))


@pytest.mark.parametrize("form", [list, tuple, "mapping"])
def test_answers_come_back_in_what_they_came_in(form):
    class Output(dict):
        """A mapping with attributes, as diffusers' outputs."""

        def __getattr__(self, name):
            return self[name]

    class Several(nn.Module):
        def forward(self, x, t):
            return Output(sample=x + t, other=x - t) if form == "mapping" else form([x + t, x - t])

    net = Several()
    with torch.no_grad(), caches.attach(net, caches.every(2, scope=caches.whole())), nfe.count():
        first, second = (nfe.call(lambda x, t: net(x, t), torch.ones(1, 2), torch.tensor(t)) for t in (1.0, 2.0))
    assert type(first) is type(second) is (Output if form == "mapping" else form)
    for one, other in zip(*((a.values() if form == "mapping" else a) for a in (first, second)), strict=True):
        assert torch.equal(one, other)


def test_keyword_arguments_reach_cached_modules():
    class Named(Chain):
        def forward(self, x, t):
            for block in self.blocks:
                x = block(x=x)
            return x + t

    net = Named()
    said, _ = walk(net, caches.every(3, scope="blocks"))
    assert net.calls == [2] * 6
    assert all(torch.equal(each, torch.full((1, 2), 16.0 + row)) for row, each in enumerate(said))


def test_blocks_that_edit_their_input_in_place():
    class Edit(Add):
        def forward(self, x):
            self.calls += 1
            x += self.k
            return x

    class Edits(Chain):
        def forward(self, x, t):
            return super().forward(x.clone(), t)

    net = Edits()
    net.blocks[0] = Edit(7)
    for scope in (caches.span("blocks"), caches.deltas("blocks")):
        said, _ = walk(net, caches.every(3, scope=scope))
        assert all(torch.equal(each, torch.full((1, 2), 23.0 + row)) for row, each in enumerate(said))


def test_a_module_called_twice_keeps_two_features():
    class Twice(Chain):
        def forward(self, x, t):
            return self.blocks[0](self.blocks[0](x) * 10)

    net = Twice(1)
    net.blocks[0].k = 3
    said, attached = walk(net, caches.every(6, scope=caches.outputs("blocks")))
    assert all(torch.equal(each, torch.full((1, 2), 43.0)) for each in said)
    assert net.calls == [2]
    assert attached.report.visits == 12


@pytest.mark.parametrize("order", [0, 1, 2])
def test_features_that_are_polynomials_of_uneven_times_are_predicted_exactly(order):
    class Poly(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = nn.Identity(), 0
            self.inner.forward = self.feature

        def feature(self, t):
            self.calls += 1
            return (t + 1) ** order + t

        def forward(self, x, t):
            return x + self.inner(t.view(1, 1))

    grid = [1.0, 0.9, 0.75, 0.7, 0.5, 0.45, 0.2, 0.1, 0.0]
    net, x = Poly(), torch.zeros(1, 1, dtype=torch.float64)
    degree = max(order, 1)
    cache = caches.taylor(order=degree, every=2, scope=caches.outputs("inner"), warmup=degree + 1)
    with torch.no_grad(), caches.attach(net, cache, times=grid), nfe.count():
        for t in grid[:-1]:
            said = nfe.call(lambda x, t: net(x, t), x, torch.tensor(t, dtype=torch.float64))
            assert float(said) == pytest.approx((t + 1) ** order + t, abs=1e-12)
    assert net.calls < 8


def test_reports_say_what_was_saved():
    class Slow(Add):
        def forward(self, x):
            torch.linalg.inv(torch.eye(150))
            return super().forward(x)

    net = Chain(3)
    net.blocks[1] = Slow(0)
    _, attached = walk(net, caches.every(4, scope=caches.span("blocks", 1)), rows=16)
    report = attached.report
    assert (report.calls, report.visits, report.skips, report.bytes) == (16, 16, 12, 8)
    assert 0 < report.predicted < 0.75
    assert report.measured < 1
    assert str(report).startswith("16 calls, 12 of 16 visits skipped (75%), 8 bytes, time saved ")
    assert attached.reports == [report]


def test_delta_dit_caches_the_rear_then_the_front():
    net = Chain()
    said, _ = walk(net, caches.delta_dit("blocks", cached=4, every=3, switch=3))
    # rear: rows 1, 2 skip blocks 2-5; front: row 3 computes afresh, rows 4, 5 skip blocks 0-3
    assert net.calls == [4, 4, 2, 2, 4, 4]
    assert all(torch.equal(each, torch.full((1, 2), 16.0 + row)) for row, each in enumerate(said))
    with pytest.raises(UsageError, match="at least one cached block, got 0"):
        caches.delta_dit("blocks", cached=0, every=3, switch=3)


def test_confidence_gated_taylor_follows_a_forecast_that_holds():
    net = Chain()
    net.forward = lambda x, t: Chain.forward(net, x * (1 + t), t)  # everything is linear in t
    said, _ = walk(net, caches.cg_taylor("blocks", 0.01, warmup=2), rows=6)
    assert net.calls == [6, 2, 2, 2, 2, 2]
    assert all(torch.allclose(each, torch.full((1, 2), 16.0 + 2 * row)) for row, each in enumerate(said))


def test_sada_continues_a_straight_line():
    net = Chain()
    said, attached = walk(net, caches.sada(warmup=3, max_skip=2), rows=9)
    assert net.calls == [5] * 6
    assert all(torch.allclose(each, torch.full((1, 2), 16.0 + row)) for row, each in enumerate(said))
    assert attached.report.skips == 4


def test_a_first_block_that_stays_lets_the_others_rest():
    net = Chain()
    walk(net, caches.first_block("blocks", 0.05))
    assert net.calls == [6, 1, 1, 1, 1, 1]


def test_taylorseer_caches_each_module():
    net = Chain()
    _, attached = walk(net, caches.taylorseer(r"blocks\.\d", every=2, warmup=2))
    assert net.calls == [4] * 6
    assert attached.report.bytes == 6 * 2 * 8


def test_centred_rows():
    found = caches.centred(50, 10, center=15)
    assert found.refresh[0] == 0
    assert len(found.refresh) <= 11
    gaps = torch.tensor(found.refresh).diff().tolist()
    closest = found.refresh[gaps.index(min(gaps))]
    assert abs(closest - 15) <= 5
    assert gaps[-1] > min(gaps)
    even = caches.centred(50, 10, center=25, power=1.0)
    assert even.refresh == tuple(range(0, 50, 5))
    with pytest.raises(UsageError, match="1 <= count <= 50"):
        caches.centred(50, 51, center=15)


def test_corrections_reach_predictions_and_only_those():
    base = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.5, 2.0]])

    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()
            self.inner.forward = lambda t: (t + 1) * base + t

        def forward(self, x, t):
            return x + self.inner(t)

    net, x = Moving(), torch.zeros(2, 3)
    feature = [(row + 1) * base + row for row in range(6)]
    table = {("inner", row): caches.affine(feature[0], feature[row]) for row in range(6)}
    exact = Cache(caches.outputs("inner"), caches.Every(6), correction=caches.Affine(table))
    said, _ = walk(net, exact, x=x)
    assert all(torch.allclose(each, feature[row], atol=1e-5) for row, each in enumerate(said))
    half = Cache(caches.outputs("inner"), caches.Every(6), correction=caches.Scale(dict.fromkeys(range(6), 0.5)))
    said, _ = walk(net, half, x=x)
    assert torch.equal(said[0], base)
    assert all(torch.equal(each, 0.5 * base) for each in said[1:])
