"""Noise that is tied to the plane: normal, the same wherever it is looked at, different where anything else differs."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.errors import UsageError
from fewstep.restoration.noise import SQUARE, Positioned


def drawn(shape=(1, 3, 150, 170), draw=0, **options):
    return Positioned(options.pop("seed", 0), **options).fill(torch.empty(shape), draw)


@pytest.mark.parametrize("origin", [(0, 0), (1, 2), (63, 64), (65, 100), (149, 169)])
def test_a_crop_has_the_noise_of_its_place(origin):
    whole = drawn()
    y, x = origin
    crop = drawn((1, 3, 150 - y, 170 - x), origin=origin)
    assert torch.equal(crop, whole[..., y:, x:])
    small = drawn((1, 3, 1, 1), origin=origin)
    assert torch.equal(small, whole[..., y : y + 1, x : x + 1])


def test_every_item_of_a_batch_has_the_noise_that_it_has_alone():
    assert torch.equal(drawn((2, 3, 9, 9))[1:], drawn((1, 3, 9, 9)))


def test_it_differs_by_seed_sample_draw_and_place_and_is_normal():
    base = drawn()
    others = [drawn(seed=1), drawn(sample=1), drawn(draw=1), drawn(origin=(SQUARE, 0)), drawn(origin=(0, SQUARE))]
    for other in others:
        assert abs(float((base * other).mean())) < 0.02
    assert float(base.mean()) == pytest.approx(0, abs=0.02)
    assert float(base.std()) == pytest.approx(1, abs=0.02)
    assert float((base**4).mean()) == pytest.approx(3, abs=0.2)
    assert abs(float((base[..., 1:] * base[..., :-1]).mean())) < 0.02


def test_the_prior_is_that_of_the_path():
    path = paths.resshift(0.5, 4)
    y = torch.full((1, 3, 8, 8), 0.3)
    eps = drawn(y.shape, seed=3)
    assert torch.allclose(Positioned(3).prior(path, y), path.prior(eps, y), atol=1e-6)


def test_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    drawn()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("options", [{"seed": -1}, {"sample": -1}, {"origin": (0, -1)}])
def test_negative_numbers_are_refused(options):
    with pytest.raises(UsageError, match="of at least 0"):
        drawn(**options)
