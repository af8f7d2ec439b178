"""Every recipe as fit uses it: a loss per item, a gradient for the student only, the same for the same generator."""

import copy

import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill import mdt
from fewstep.core.distill.consistency import Consistency
from fewstep.core.distill.distribution import DistributionMatching
from fewstep.core.distill.energy import EnergyScore
from fewstep.core.distill.mmd import MomentMatching
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.recipe import FakeRecipe, Items, Nets, Recipe
from fewstep.core.distill.reflow import PairDistillation, Reflow
from fewstep.core.distill.tdm import TrajectoryMatching
from fewstep.core.errors import UsageError

from .gaussian import denoiser

RECIPES = [
    Progressive(2), Consistency(0.6, steps=5), Reflow(), PairDistillation(), mdt.MarginalData(),
    DistributionMatching(), TrajectoryMatching(3), MomentMatching(2), EnergyScore(),
]  # fmt: skip


class Affine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, x, t):
        return self.gain * x


def problem(path, with_y=False):
    generator = torch.Generator().manual_seed(0)
    x0, eps, y = torch.randn(3, 16, 3, generator=generator, dtype=torch.float64)
    nets = Nets(Affine(), copy.deepcopy(Affine()), denoiser(path), Affine())
    return nets, Items(x0, y if with_y else None, eps)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("name", ["flow", "vp", "ou"])
def test_a_loss_per_item_and_a_gradient_for_the_student_alone(recipe, name):
    if isinstance(recipe, mdt.MarginalData) and name != "flow":
        pytest.skip("defined on the rectified flow")
    path = {"flow": paths.rectified_flow(), "vp": paths.vp_linear(), "ou": paths.ou(1.5, 0.05, 0.5)}[name]
    nets, items = problem(path, with_y=name == "ou")
    assert isinstance(recipe, Recipe)
    loss = recipe.loss(nets, path, items, torch.Generator().manual_seed(3))
    assert loss.shape in ((16,), (1,))
    assert torch.isfinite(loss).all()
    again = recipe.loss(nets, path, items, torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss, again, rtol=0, atol=0)
    assert not torch.equal(loss, recipe.loss(nets, path, items, torch.Generator().manual_seed(4))) or recipe.pairs
    loss.mean().backward()
    assert nets.student.gain.grad.abs() > 0
    assert nets.target.gain.grad is None
    assert nets.fake.gain.grad is None


@pytest.mark.parametrize("recipe", [r for r in RECIPES if isinstance(r, FakeRecipe)], ids=lambda r: type(r).__name__)
def test_the_fake_denoiser_alone_learns_from_its_loss(recipe):
    path = paths.vp_linear()
    nets, items = problem(path)
    recipe.fake_loss(nets, path, items, torch.Generator().manual_seed(3)).mean().backward()
    assert nets.fake.gain.grad.abs() > 0
    assert nets.student.gain.grad is None
    without = Nets(nets.student, nets.target, nets.teacher)
    for loss in (recipe.loss, recipe.fake_loss):
        with pytest.raises(UsageError, match="needs a `fake` denoiser"):
            loss(without, path, items, torch.Generator())


@pytest.mark.parametrize("recipe", [Reflow(), PairDistillation()], ids=lambda r: type(r).__name__)
def test_recipes_of_pairs_want_pairs(recipe):
    path = paths.rectified_flow()
    nets, items = problem(path)
    with pytest.raises(UsageError, match="learns from pairs"):
        recipe.loss(nets, path, Items(items.x0), torch.Generator())


def test_mdt_is_for_flows():
    path = paths.vp_linear()
    nets, items = problem(path)
    with pytest.raises(UsageError, match="defined on the rectified flow"):
        mdt.MarginalData().loss(nets, path, items, torch.Generator())


def test_the_consistency_grid_falls_from_end_to_end():
    for path in (paths.rectified_flow(), paths.vp_linear(), paths.edm(), paths.ou(1.5, 0.05, 0.5)):
        grid = Consistency(0.6, steps=7).grid(path)
        assert len(grid) == 8
        assert (grid.diff() < 0).all()
        assert grid[[0, -1]].tolist() == [path.t_max, path.t_min]


def test_times_are_spread_over_their_range():
    items = Items(torch.zeros(100, 1))
    t = items.uniform(torch.Generator().manual_seed(0), 0.2, 0.6)
    assert ((t >= 0.2) & (t <= 0.6)).all()
    counts = torch.histc(t, 10, 0.2, 0.6)
    assert (counts == 10).all()
