"""One motion per item: increments that add up, whatever the grid, the batch or its order."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from fewstep.core import paths, rng, sample, solvers
from fewstep.core.brownian import Brownian
from fewstep.core.errors import UsageError

EDM = paths.edm()


def increments(lam, items=(2, 6), seed=0, motion=None, dtype=torch.float64):
    """Unscaled increments of the motion over each interval of lam."""
    times = EDM.inverse(torch.tensor(lam, dtype=torch.float64)).numpy()
    fill = (motion or Brownian()).on(EDM, times, np.ones(len(lam) - 1), rng.streams(seed, items[0]))
    drawn = [fill(torch.empty(items, dtype=dtype), i) for i in range(len(lam) - 1)]
    return [d * math.sqrt(b - a) for d, a, b in zip(drawn, lam, lam[1:], strict=False)]


def test_increments_add_up():
    whole = increments([-2.0, 2.0])[0]
    for lam in ([-2.0, 0.0, 2.0], [-2.0, -1.875, 0.5, 1.0, 2.0]):
        torch.testing.assert_close(sum(increments(lam)), whole, rtol=1e-10, atol=1e-10)


def test_increments_are_standard_normal_and_independent():
    drawn = torch.stack([part.flatten() for part in increments([-3.0, -1.0, 0.0, 1.0], (1, 20_000))])
    scaled = drawn / torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64).sqrt()[:, None]
    torch.testing.assert_close(scaled @ scaled.T / 20_000, torch.eye(3, dtype=torch.float64), rtol=0, atol=0.04)
    assert scaled.mean(1).abs().max() < 0.03


def test_a_motion_belongs_to_its_item():
    three, two = increments([0.0, 1.0], (3, 4)), increments([0.0, 1.0], (2, 4))
    assert torch.equal(three[0][:2], two[0])
    assert not torch.equal(three[0][0], three[0][1])
    assert not torch.equal(two[0], increments([0.0, 1.0], (2, 4), seed=1)[0])


def endpoint(n, noise, dtype=torch.float64, seeds=(0, 1, 2, 3)):
    """SDE-DPM-Solver++ on N(0, 1) data, a linear SDE."""
    grid = EDM.inverse(torch.linspace(-2, 2, n + 1, dtype=torch.float64))
    start = 8 * torch.ones(len(seeds), 50, dtype=dtype)
    return sample(
        lambda x, t: x / (1 + t**2), EDM, times=grid, solver=solvers.sde_euler(), x=start, seeds=seeds, noise=noise
    ).x


def test_refined_runs_converge_to_one_path():
    exact = endpoint(320, "brownian")
    errors = [float((endpoint(n, "brownian") - exact).abs().mean()) for n in (5, 10, 20, 40)]
    for coarse, fine in pairwise(errors):
        assert fine < 0.75 * coarse
    independent = float((endpoint(20, "independent") - endpoint(40, "independent")).abs().mean())
    assert errors[2] < independent / 4


def test_the_law_is_that_of_independent_noise():
    seeds = range(200)
    one, other = (endpoint(10, noise, seeds=seeds) for noise in ("brownian", "independent"))
    assert float(one.mean()) == pytest.approx(float(other.mean()), abs=0.03)
    assert float(one.var()) == pytest.approx(float(other.var()), rel=0.06)


def test_independent_of_the_batch_and_its_order():
    together = endpoint(5, "brownian", seeds=[3, 1, 2])
    assert torch.equal(together.flip(0), endpoint(5, "brownian", seeds=[2, 1, 3]))
    assert torch.equal(together[:1], endpoint(5, "brownian", seeds=[3]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64], ids=str)
def test_half_and_complex(dtype):
    out = endpoint(5, "brownian", dtype=dtype)
    assert out.dtype == dtype
    assert torch.isfinite(out).all()
    if dtype == torch.complex64:
        assert float(increments([0.0, 1.0], (1, 9000), dtype=dtype)[0].abs().square().mean()) == pytest.approx(
            1, abs=0.05
        )


def test_the_global_state_is_untouched():
    before = torch.get_rng_state()
    endpoint(3, "brownian")
    assert torch.equal(before, torch.get_rng_state())


def test_bad_options():
    with pytest.raises(UsageError, match="1 to 40 levels of a span"):
        Brownian(levels=0)
    with pytest.raises(UsageError, match="1 to 40 levels of a span"):
        Brownian(span=(1.0, 1.0))
    with pytest.raises(UsageError, match="noise out of independent, brownian or an object with `on`, got 'pink'"):
        endpoint(3, "pink")
    with pytest.raises(UsageError, match=r"steps that follow each other .* row 0 goes from lam 1 to -?0"):
        increments([1.0, 0.0])
    with pytest.raises(UsageError, match="within lam -1.0 to 1.0; row 1 goes from lam 1 to 2"):
        increments([0.0, 1.0, 2.0], motion=Brownian(span=(-1.0, 1.0)))
