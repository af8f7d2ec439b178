"""Trajectory stitching: by denoiser and by solver."""

import pytest
import torch

from fewstep.core import guide, nfe, paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers import walk
from fewstep.core.solvers.stitch import stitch

OU = paths.ou()
GRID = times.uniform(OU, 6)
SOLVERS = [solvers.ddpm(), solvers.dpmpp_2m(), solvers.multistep(3, "trig", corrector=True), solvers.heun("lambda")]


def net(x, t):
    return torch.tanh(x)


def run(denoise, solver, **options):
    y = torch.linspace(-1, 1, 6)[None]
    return sample(denoise, OU, times=GRID, solver=solver, y=y, seeds=[0], **options)


@pytest.mark.parametrize("solver", [*SOLVERS, walk.euler_maruyama_x()], ids=repr)
@pytest.mark.parametrize("grad", [False, True])
def test_identical_nets_change_no_bit(solver, grad):
    if isinstance(solver, walk.Walk):
        solver = walk.predictor_corrector(solver)
    both = guide.stitch([(0.4, lambda x, t: net(x, t)), (0.0, net)])
    assert torch.equal(run(both, solver, grad=grad).x, run(net, solver, grad=grad).x)


def test_each_net_is_asked_on_its_side_of_the_time():
    asked = []
    small, large = (lambda x, t, name=name: asked.append((name, float(t))) or x for name in ("small", "large"))
    out = run(guide.stitch([(0.5, small), (0.0, large)]), solvers.ddim())
    assert [name for name, _ in asked] == ["small"] * 3 + ["large"] * 3
    assert max(t for name, t in asked if name == "large") == pytest.approx(0.5)
    assert out.nfe == 6


def test_it_is_a_denoiser_for_whatever_wraps_it():
    both = guide.stitch([(0.5, lambda x, t: x), (0.0, lambda x, t: -x)])
    x = torch.ones(1, 2)
    assert torch.equal(both(x, torch.tensor(0.6)), x)
    assert torch.equal(both(x, torch.tensor(0.5)), -x)
    with nfe.count() as counter:
        nfe.call(both, x, torch.tensor(0.2))
    assert counter.calls == 1
    guided = guide.cfg(both, net, 2.0)
    assert torch.isfinite(run(guided, solvers.ddim()).x).all()


@pytest.mark.parametrize("solver", [solvers.ddim(), solvers.heun("lambda"), solvers.multistep(1, "trig")], ids=repr)
def test_a_solver_without_memory_stitched_to_itself_is_itself(solver):
    alone, both = (s.tableau(OU, GRID) for s in (solver, stitch([(0.5, solver), (0.0, solver)])))
    for name in ("times", "state", "mix", "noise", "step", "history"):
        assert (getattr(both, name) == getattr(alone, name)).all()


def test_parts_are_what_each_solver_does_alone():
    first, second = solvers.dpmpp_2m(), solvers.multistep(3, "trig", corrector=True)
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[None]
    middle = sample(net, OU, times=GRID[:4], solver=first, x=x).x
    expected = sample(net, OU, times=GRID[3:], solver=second, x=middle).x
    for until in (0.5, 0.45):
        table = stitch([(until, first), (0.0, second)]).tableau(OU, GRID)
        assert table.steps == 6
        if until == 0.5:
            torch.testing.assert_close(sample(net, OU, solver=table, x=x).x, expected, rtol=1e-12, atol=1e-12)


def test_a_part_without_steps_is_left_out():
    table = stitch([(2.0, solvers.heun()), (0.5, solvers.ddim()), (0.5 - 1e-9, solvers.ddpm()), (0.0, solvers.ddim())])
    assert table.tableau(OU, GRID).steps == 6
    only = stitch([(0.0, solvers.dpmpp_2m())]).tableau(OU, GRID)
    assert (only.history == solvers.dpmpp_2m().tableau(OU, GRID).history).all()


def test_momentum_does_not_cross_the_seam():
    ghvb = solvers.ghvb(2)
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[None]
    middle = sample(net, OU, times=GRID[:4], solver=solvers.ddim(), x=x).x
    expected = sample(net, OU, times=GRID[3:], solver=ghvb, x=middle).x
    got = sample(net, OU, times=GRID, solver=stitch([(0.5, solvers.ddim()), (0.0, ghvb)]), x=x).x
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("times_", [[], [0.2, 0.5], [0.5, 0.5]])
def test_times_that_do_not_fall(times_):
    with pytest.raises(UsageError, match=r"expected \(until, denoise\) with falling times"):
        guide.stitch([(t, net) for t in times_])
    with pytest.raises(UsageError, match=r"expected \(until, solver\) with falling times"):
        stitch([(t, solvers.ddim()) for t in times_])
