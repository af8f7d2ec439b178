"""What must hold for every cache: never skipping is the net itself, skipped work is not done, runs share nothing."""

from functools import partial

import pytest
import torch
from torch import nn

from fewstep.core import caches, nfe, parameterize, solvers
from fewstep.core.caches import Cache, Every, Gate, Newton, Reuse, Schedule, Taylor
from fewstep.core.errors import UsageError
from fewstep.core.guide import cfg

from .cached import PATH, dit, draw, grid, unet

SCOPES = {
    "outputs": caches.outputs(r"blocks\.\d+\.(attn|mlp)"),
    "deltas": caches.deltas("blocks"),
    "span": caches.span("blocks", 1, 4),
    "span_output": caches.span("blocks", 1, what="output"),
    "whole": caches.whole(),
    "whole_delta": caches.whole(what="delta"),
}
PREDICTORS = [Reuse(), Newton(1), Newton(3), Taylor(2)]


def split(net, branch):
    return caches.Split(partial(net.full, branch=branch), partial(net.shallow, branch=branch))


def cached(net, *which, steps=8, **options):
    """A sample with caches, and the report."""
    with caches.attach(net, *which, times=grid(steps)) as attached:
        x = draw(net, steps=steps, **options).x
    return x, attached.report


@pytest.mark.parametrize("predictor", PREDICTORS, ids=str)
@pytest.mark.parametrize("scope", SCOPES)
def test_computing_always_is_the_net_bit_for_bit_during_and_after(scope, predictor):
    net = dit()
    keys, plain = list(net.state_dict()), draw(net).x
    x, report = cached(net, Cache(SCOPES[scope], Every(1), predictor))
    assert torch.equal(x, plain)
    assert report.skips == 0
    assert report.calls == 8
    assert torch.equal(draw(net).x, plain)
    assert list(net.state_dict()) == keys
    assert not any("forward" in module.__dict__ for module in net.modules())


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_computing_always_is_the_unet_bit_for_bit(branch):
    net = unet()
    x, _ = cached(net, caches.deepcache(split(net, branch), every=1))
    assert torch.equal(x, draw(net).x)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_cache_that_skips_changes_the_sample(scope):
    net = dit()
    x, report = cached(net, caches.every(3, scope=SCOPES[scope]))
    error = (x - draw(net).x).norm() / x.norm()
    assert 1e-7 < error < 0.5
    assert report.skips == 5 / 8 * report.visits


@pytest.mark.parametrize(("steps", "interval", "warmup"), [(8, 3, 0), (9, 2, 3), (5, 7, 1)])
def test_skipped_blocks_do_not_run(steps, interval, warmup):
    net = dit()
    computed = sum(row < warmup or (row - warmup) % interval == 0 for row in range(steps))
    cached(net, caches.every(interval, scope=caches.span("blocks", 1, 4), warmup=warmup), steps=steps)
    assert net.calls == [steps, computed, computed, computed, steps]


@pytest.mark.parametrize("scope", ["whole", "whole_delta"])
def test_a_skipped_net_is_no_network_call(scope):
    net = dit()
    with caches.attach(net, caches.every(3, scope=SCOPES[scope])):
        assert draw(net).nfe == 3
        assert net.calls == [3] * 5
    assert draw(net).nfe == 8


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_the_depth_of_a_unet_does_not_run(branch):
    net = unet()
    cached(net, caches.deepcache(split(net, branch), every=4))
    verified = 1  # one shallow evaluation more
    calls = [level.calls for level in net.down]
    assert calls == [8 + verified] * (branch + 1) + [2] * (2 - branch)
    assert net.mid.calls == 2


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_shallow_says_what_full_says(branch):
    net, x, t = unet(), torch.randn(3, 1, 16, generator=torch.Generator().manual_seed(0)), torch.rand(3)
    out, deep = net.full(x, t, branch)
    assert torch.allclose(net.shallow(deep, x, t, branch), out, atol=1e-6)


def test_a_split_that_is_wrong_is_refused():
    net = unet()
    wrong = caches.Split(partial(net.full, branch=1), lambda deep, x, t: net.shallow(2 * deep, x, t, 1))
    with pytest.raises(UsageError, match=r"split\.shallow does not say what split\.full says"):
        cached(net, caches.deepcache(wrong))


def test_runs_share_nothing():
    net, cache = dit(), caches.taylor(order=2, every=3, scope="blocks")
    with caches.attach(net, cache):
        first = draw(net).x
        draw(net, batch=3, tokens=6, steps=5, seed=1)
        net.fail_at = 0.5
        with pytest.raises(RuntimeError, match="stop"):
            draw(net)
        net.fail_at = None
        assert torch.equal(draw(net).x, first)


def test_branches_are_isolated():
    """Each branch of a guided run says what it says alone, asked at the same states."""
    net, cache, asked, seen = dit(), caches.every(4, scope="blocks"), [], {1.0: [], -1.0: []}

    def branch(cond):
        inner = parameterize.flow(net, PATH, cond=torch.full((1, 1), cond))

        def denoise(x, t):
            asked.append((x.clone(), t.clone())) if cond > 0 else None
            seen[cond].append(inner(x, t).clone())
            return seen[cond][-1]

        return denoise

    with caches.attach(net, cache) as attached:
        assert draw(net, denoise=cfg(branch(1.0), branch(-1.0), 2.0)).nfe == 16
    assert (attached.report.calls, attached.report.skips) == (16, 12)
    for cond, answers in seen.items():
        alone = parameterize.flow(net, PATH, cond=torch.full((1, 1), cond))
        with caches.attach(net, cache), torch.inference_mode(), nfe.count():
            assert all(torch.equal(nfe.call(alone, *a), answer) for a, answer in zip(asked, answers, strict=True))


def test_an_interval_of_guidance_keeps_its_branches_apart():
    net = dit()
    yes, no = (parameterize.flow(net, PATH, cond=torch.full((1, 1), cond)) for cond in (1.0, -1.0))
    low = cfg(yes, no, 2.0, interval=(0.3, 0.8))
    with caches.attach(net, caches.every(1, scope="blocks")):
        always = draw(net, denoise=low).x
    assert torch.equal(always, draw(net, denoise=low).x)
    told = []
    with caches.attach(net, caches.every(3, scope="blocks")) as attached:
        attached.listen = lambda track, row, value: told.append((track[0][1], row))
        draw(net, denoise=low)
    # times 1, 7/8, ... 1/8: rows 2 to 5 are guided, so the other branch first computes at row 2
    assert told == [(0, 0), (1, 2), (0, 3), (1, 3), (0, 6)]
    assert attached.report.calls == 12


STATIC = {
    "span": caches.taylor(order=1, every=3, scope="blocks"),
    "whole": caches.every(2, scope=caches.whole()),
    "outputs": caches.taylorseer(r"blocks\.\d+\.(attn|mlp)", order=2, every=3),
}


@pytest.mark.parametrize("name", STATIC)
def test_static_policies_do_not_see_the_batch(name):
    net = dit()
    many, _ = cached(net, STATIC[name], batch=4)
    for batch in (1, 3):
        few, _ = cached(net, STATIC[name], batch=batch)
        assert torch.allclose(many[:batch], few, atol=1e-5)


def gate(reduce, threshold=0.06):
    return Cache(caches.span("blocks", 1), Gate(threshold, reduce=reduce))


def test_gates_per_item_do_not_see_the_batch_and_compute_what_is_needed():
    net = dit()
    many, report = cached(net, gate("sample"), batch=5, steps=16)
    assert 0 < report.skips < report.visits
    assert report.skips != int(report.skips)  # some items of a batch, not all
    alone = [cached(net, gate("sample"), x=start(5)[i : i + 1], steps=16) for i in range(5)]
    assert torch.allclose(many, torch.cat([x for x, _ in alone]), atol=1e-5)
    assert sum(part.skips for _, part in alone) == pytest.approx(5 * report.skips)


def start(batch):
    kept = []
    net = dit()
    draw(net, batch=batch, steps=1, denoise=lambda x, t: kept.append(x.clone()) or x)
    return kept[0]


def test_a_cautious_gate_skips_no_more_than_its_most_demanding_item():
    net = dit()
    together = cached(net, gate("max"), batch=5, steps=16)[1].skips
    alone = [cached(net, gate("max"), x=start(5)[i : i + 1], steps=16)[1].skips for i in range(5)]
    assert together <= min(alone)


def test_smaller_thresholds_skip_less():
    net = dit()
    skips = [cached(net, gate("mean", at), steps=16)[1].skips for at in (0.3, 0.1, 0.03, 0.0)]
    assert skips == sorted(skips, reverse=True)
    assert skips[0] > skips[1] > 0
    assert skips[-1] == 0


def test_a_gate_may_not_skip_for_long():
    net = dit()
    cached(net, Cache(caches.span("blocks", 1), Gate(1e9, max_skip=2)), steps=9)
    assert net.calls == [9, 3, 3, 3, 3]


def test_an_edit_in_place_after_a_cached_module_changes_nothing():
    net, edits = dit(), dit()
    for block in edits.blocks:
        block.in_place = True
    for scope in SCOPES.values():
        cache = caches.every(3, scope=scope)
        assert torch.equal(cached(net, cache)[0], cached(edits, cache)[0])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_bytes_are_those_of_the_features(order):
    net, one = dit(), 2 * 4 * 8 * 4
    _, report = cached(net, caches.taylor(order=order, every=2, scope="blocks"))
    assert report.bytes == (order + 1) * one
    _, report = cached(net, caches.taylor(order=order, every=2, scope=caches.deltas("blocks")))
    assert report.bytes == 5 * (order + 1) * one


def test_more_bytes_than_allowed():
    cache = Cache(caches.deltas("blocks"), Every(2), max_bytes=3 * 256)
    with pytest.raises(UsageError, match=r"keeps 1024 bytes at row 0, more than max_bytes=768"):
        cached(dit(), cache)


def test_gradients_bypass_the_cache():
    net = dit()
    plain = draw(net, grad=True).x
    with caches.attach(net, caches.every(3, scope="blocks")) as attached:
        net.zero()
        x = draw(net, grad=True).x
        assert net.calls == [8] * 5
        assert torch.equal(x, plain)
        assert x.requires_grad
        with pytest.raises(UsageError, match="no run yet"):
            _ = attached.report


def test_outside_a_run_the_net_is_as_it_was():
    net, x, t = dit(), torch.ones(2, 4, 3), torch.ones(2)
    with torch.no_grad(), caches.attach(net, caches.every(3, scope="blocks")) as attached:
        assert all(torch.equal(attached(x * i, t), net(x * i, t)) for i in range(4))
        assert net.calls == [8] * 5


def test_stages_keep_features_of_their_own():
    net, told = dit(), []
    with caches.attach(net, Cache("blocks", Every(3), stages=2)) as attached:
        attached.listen = lambda track, row, value: told.append((track[0][2], row))
        draw(net, solver=solvers.heun())
    rows = attached.report.calls
    assert rows > 8
    # every third row computes, and row 1 as the first of the second stages
    assert told == sorted({(row % 2, row) for row in range(0, rows, 3)} | {(1, 1)}, key=lambda pair: pair[1])


def test_the_shape_may_change_in_a_run():
    net, sizes = dit(), [4, 4, 6, 6, 4]
    with torch.no_grad(), caches.attach(net, caches.every(10, scope="blocks")) as attached, nfe.count():
        for tokens in sizes:
            nfe.call(lambda x, t: net(x, t[None]), torch.ones(1, tokens, 3), torch.tensor(1.0))
    assert attached.report.skips == 2
    assert attached.report.bytes == 6 * 8 * 4


def test_an_error_inside_restores_the_net_and_forgets_the_row():
    net, call = dit(), lambda net: lambda x, t: net(x, t[None])
    x, t = torch.ones(1, 4, 3), torch.tensor(1.0)
    with torch.no_grad(), caches.attach(net, caches.every(10, scope="blocks")) as attached, nfe.count():
        nfe.call(call(net), x, t)
        net.fail_at = 2.0
        with pytest.raises(RuntimeError, match="stop"):
            nfe.call(call(net), x, t)
        net.fail_at = None
        nfe.call(call(net), x, t)  # computed again: nothing of before the error is left
        nfe.call(call(net), x, t)
    assert attached.report.skips == 1
    with pytest.raises(RuntimeError, match="out"), caches.attach(net, caches.every(2, scope="blocks")):
        raise RuntimeError("out")
    assert not any("forward" in module.__dict__ for module in net.modules())


def test_two_caches_in_one_net_and_no_second_attachment():
    net = dit()
    one, two = caches.every(2, scope=caches.span("blocks", 0, 2)), caches.every(4, scope=caches.span("blocks", 3))
    cached(net, one, two)
    assert net.calls == [4, 4, 8, 2, 2]
    with caches.attach(net, one):
        for again in (net, net.blocks):
            with pytest.raises(UsageError, match="has caches attached already"), caches.attach(again, two):
                pass


def test_a_forward_of_the_users_own_is_put_back():
    net = dit()
    own = net.blocks[0].forward
    net.blocks[0].forward = own
    with caches.attach(net, caches.every(2, scope="blocks")):
        assert net.blocks[0].forward is not own
    assert net.blocks[0].forward is own


class Linear(nn.Module):
    """x + sum of A_i x over blocks of residuals: linear in x."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.blocks = nn.ModuleList([nn.Linear(3, 3, bias=False) for _ in range(3)])
        for block in self.blocks:
            block.weight.data = torch.eye(3) + 0.1 * torch.randn(3, 3, generator=generator)

    def forward(self, x, t):
        for block in self.blocks:
            x = block(x)
        return x


def test_more_rows_computed_err_less_on_a_linear_net():
    net = Linear()
    plain, errors = draw(net).x, []
    for refresh in ((0,), (0, 4), (0, 2, 4, 6), tuple(range(8))):
        x, _ = cached(net, Cache("blocks", Schedule(8, refresh)))
        errors.append(float((x - plain).norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.001
    assert errors[-1] == 0


def test_a_residual_keeps_what_is_new_in_the_input():
    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(3, 3)])
            self.blocks[0].weight.data = torch.eye(3)

        def forward(self, x, t):
            return self.blocks[0](x)

    net = Shift()  # x + bias: the residual is constant, the output is not
    plain = draw(net).x
    assert torch.allclose(cached(net, caches.every(8, scope=caches.deltas("blocks")))[0], plain, atol=1e-6)
    assert not torch.allclose(cached(net, caches.every(8, scope=caches.outputs("blocks")))[0], plain, atol=1e-2)
