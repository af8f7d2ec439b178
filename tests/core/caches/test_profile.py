"""Profile and tune on a net whose one block changes at a known row."""

import numpy as np
import pytest
import torch
from torch import nn

from fewstep.core import caches, parameterize, paths, sample, solvers, times
from fewstep.core.errors import UsageError

PATH = paths.rectified_flow()
GRID = times.uniform(PATH, 8)


class Jump(nn.Module):
    """The block's residual is -1 above t = 0.5 and 1 below."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.blocks[1].forward = lambda x, t: x + torch.where(t > 0.5, -1.0, 1.0).view(-1, 1)

    def forward(self, x, t):
        return self.blocks[1](self.blocks[0](x), t)


def runs(net, seed=0):
    def run():
        denoise = parameterize.flow(net, PATH)
        return sample(denoise, PATH, times=GRID, solver=solvers.ddim(), shape=(2, 3), generator=seed).x

    return run


SPAN = caches.span("blocks", 1)


def test_errors_and_sensitivity_of_a_known_net():
    net = Jump()
    measured = caches.profile(net, runs(net), scope=SPAN)
    sign = np.where(GRID[:-1] > 0.5, -1, 1)
    assert np.allclose(measured.errors, np.triu(abs(sign[:, None] - sign), 1), atol=1e-5)
    jump = int(np.argmax(sign > 0))
    assert measured.sensitivity[jump] > 0.01
    assert np.delete(measured.sensitivity, jump).max() < 1e-5


def test_the_tuned_schedule_computes_at_the_jump_and_is_exact():
    net = Jump()
    cache = caches.tune(net, runs(net), scope=SPAN, budget=2, times=GRID)
    assert cache.predictor == caches.Reuse()
    assert cache.policy.refresh == (0, int((GRID[:-1] > 0.5).sum()))
    plain = runs(net, 1)()
    with caches.attach(net, cache, times=GRID) as attached:
        assert torch.allclose(runs(net, 1)(), plain, atol=1e-5)
    assert attached.report.skips == 6
    with caches.attach(net, caches.every(4, scope=SPAN, warmup=1)):
        assert not torch.allclose(runs(net, 1)(), plain, atol=1e-2)


@pytest.mark.parametrize(("budget", "count"), [(0.5, 4), (0.01, 1), (8, 8)])
def test_budgets(budget, count):
    net = Jump()
    assert len(caches.tune(net, runs(net), scope=SPAN, budget=budget).policy.refresh) == count


def test_where_features_move_along_a_line_the_pick_extrapolates():
    net = Jump()
    net.blocks[1].forward = lambda x, t: x + t.view(-1, 1)
    cache = caches.tune(net, runs(net), scope=SPAN, budget=4, times=GRID)
    assert cache.predictor == caches.Newton(1)
    plain, ends = runs(net)(), {}
    for predictor in (caches.Reuse(), caches.Newton(1)):
        other = caches.tune(net, runs(net), scope=SPAN, budget=4, times=GRID, predictor=predictor)
        assert other.predictor == predictor
        with caches.attach(net, other, times=GRID):
            ends[predictor] = (runs(net)() - plain).norm()
    assert ends[caches.Newton(1)] < ends[caches.Reuse()]


@pytest.mark.parametrize("budget", [1.5, 0.0])
def test_budgets_out_of_range(budget):
    net = Jump()
    with pytest.raises(UsageError, match=r"share in \(0, 1\), got"):
        caches.tune(net, runs(net), scope=SPAN, budget=budget)


def test_runs_must_repeat_and_go_through_sample():
    net = Jump()
    with pytest.raises(UsageError, match="must draw with fixed seeds"):
        caches.profile(net, runs(net, None), scope=SPAN)
    with pytest.raises(UsageError, match="two rows or more, through sample"):
        caches.profile(net, lambda: net(torch.ones(2, 3), torch.ones(2)), scope=SPAN)
