"""Recipes are data: what they give depends on the picture and the seed alone."""

import pytest
import torch
import yaml

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.restoration.degrade import kernels, masks, noise
from fewstep.restoration.degrade.recipe import RECIPES, degrade, recipe
from fewstep.restoration.degrade.shakes import shakes


@pytest.fixture(scope="module")
def picture():
    x = torch.randn(3, 10, 12, generator=rng.generator(0)).cumsum(1).clamp(-1, 1)
    return x.repeat_interleave(6, 1).repeat_interleave(6, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_a_function_of_its_seed(name, picture):
    before = torch.get_rng_state()
    first, mask = degrade(picture, name, seed=3)
    again, _ = degrade(picture, name, seed=3)
    scale = RECIPES[name]["scale"]
    assert torch.equal(first, again)
    assert first.isfinite().all()
    assert first.shape == (3, 60 // scale, 72 // scale)
    assert (mask is not None) == (RECIPES[name]["task"] == "inpaint")
    assert torch.equal(before, torch.get_rng_state())
    if not name.startswith("bicubic"):
        assert not torch.equal(first, degrade(picture, name, seed=4)[0])


def test_a_recipe_survives_yaml(tmp_path, picture):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(dict(RECIPES["deblur"])))
    assert torch.equal(degrade(picture, file, seed=1)[0], degrade(picture, "deblur", seed=1)[0])


def test_what_is_no_recipe(tmp_path, picture):
    with pytest.raises(UsageError, match="did you mean 'bicubic4'"):
        recipe("bicubik4")
    with pytest.raises(UsageError, match="task, scale and steps"):
        recipe({"steps": []})
    with pytest.raises(UsageError, match="'sharpen' is no step"):
        recipe({"task": "sr", "scale": 1, "steps": [{"op": "one_of", "steps": [{"op": "sharpen"}]}]})
    with pytest.raises(UsageError, match="step 'jpeg' of the recipe"):
        degrade(picture, {"task": "jpeg", "scale": 1, "steps": [{"op": "jpeg", "speed": 3}]}, seed=0)
    with pytest.raises(UsageError, match="blur of kind 'zoom'"):
        degrade(picture, {"task": "deblur", "scale": 1, "steps": [{"op": "blur", "kind": "zoom"}]}, seed=0)
    with pytest.raises(UsageError, match="needs kernels"):
        degrade(picture, {"task": "deblur", "scale": 1, "steps": [{"op": "blur", "kind": "given"}]}, seed=0)


def test_kernels_are_of_unit_sum():
    made = [
        kernels.bell(11, (2.0, 0.7), 0.5),
        kernels.bell(11, (2.0, 2.0), kind="generalized", beta=3.0),
        kernels.bell(11, (2.0, 2.0), kind="plateau", beta=1.5),
        kernels.sinc(13, 1.2),
        kernels.disk(3.0),
        *(kernels.motion(rng.generator(i)) for i in range(20)),
        *shakes(),
    ]
    for kernel in made:
        assert abs(float(kernel.sum()) - 1) < 1e-5
    assert all(float(kernel.min()) >= 0 for kernel in made[4:])


def test_a_blur_is_a_convolution():
    x = torch.zeros(1, 41, 41)
    x[0, 20, 20] = 1
    kernel = shakes()[2]
    torch.testing.assert_close(kernels.blurred(x, kernel)[0, 8:33, 8:33], kernel)


def test_a_small_picture_is_blurred_too():
    assert kernels.blurred(torch.ones(3, 4, 5), shakes()[0]).sub(1).abs().max() < 1e-5


def test_noise_has_the_asked_power():
    x = torch.zeros(3, 128, 128)
    drawn = noise.gaussian(x, rng.generator(0), sigma=25)
    assert abs(float(drawn.std()) * 127.5 - 25) < 0.3
    gray = noise.gaussian(x, rng.generator(0), sigma=25, gray=1.0)
    assert torch.equal(gray[0], gray[2])
    photons = noise.poisson(x, rng.generator(0), scale=2.0)
    assert abs(float(photons.std()) / 2 / (2 * (0.5 / 255) ** 0.5) - 1) < 0.05


@pytest.mark.parametrize("kind", masks.KINDS)
def test_masks_hide_something_and_not_all(kind):
    for i in range(5):
        mask = masks.KINDS[kind](40, 56, rng.generator(i))
        assert mask.shape == (40, 56)
        assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_what_is_no_mask():
    with pytest.raises(UsageError, match="shares of the masks"):
        masks.mixed(8, 8, rng.generator(0), kinds={"stars": 1})
    with pytest.raises(UsageError, match="shares of the masks"):
        masks.mixed(8, 8, rng.generator(0), kinds={"boxes": 0})
