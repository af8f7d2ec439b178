"""The restoration models that ship: cards, sizes, and that each does its task on a photograph, tamely.

The photograph (a crop of scikit-image's camera man, gray) was not trained on.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from fewstep.core import hub, sample, solvers, times
from fewstep.core.checkpoint import sha256
from fewstep.restoration import pretrained
from fewstep.restoration.degrade.recipe import degrade

SCATTERED = {"task": "inpaint", "scale": 1, "steps": [{"op": "mask", "kinds": {"pixels": 1}}]}
NAMES = [name for name in ("sr-x4", "denoise", "deblur", "inpaint") if name in dict(hub.shipped())]
CHAINS = [name for name in NAMES if hub.read_config(hub.resolve(name))["method"] != "regression"]

load = cache(pretrained.load)


@cache
def photograph():
    import skimage.data
    from PIL import Image

    with Image.open(Path(skimage.data.__file__).parent / "camera.png") as opened:
        gray = torch.from_numpy(np.array(opened)).float()[140:300, 150:310] / 127.5 - 1
    return gray.expand(3, -1, -1)


def _psnr(a, b):
    return float(-10 * torch.log10((a.clamp(-1, 1) - b)[..., 12:-12, 12:-12].square().mean() / 4))


def _case(name, how=None):
    model = load(name)
    lq, mask = degrade(photograph(), how or model.recipe, seed=5)
    return model, lq[None], None if mask is None else mask[None]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_a_card_and_is_small(name):
    folder = hub.resolve(name)
    file = folder / "model.safetensors"
    assert file.stat().st_size < 12 * 2**20
    assert sha256(file) in hub.card(name)
    assert sha256(file) == hub.read_config(folder)["sha256"]
    for part in ("Data and licence", "Training", "Metrics", "Limits"):
        assert f"## {part}" in hub.card(name)
    assert "BSDS500 were not trained on" in hub.card(name).replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_is_better_than_where_it_starts(name):
    how = {"denoise": "gauss25", "deblur": "shakes", "inpaint": SCATTERED}.get(name)
    model, lq, mask = _case(name, how)
    with torch.inference_mode():
        mean, start = model.mean(lq, mask, model.told(lq, mask)), model.start(lq, mask)
    gain = _psnr(mean, photograph()) - _psnr(start, photograph())
    assert gain > {"sr-x4": 1.0, "denoise": 6.0, "deblur": 0.5, "inpaint": 0.2}[name]
    assert (mean.mean((0, 2, 3)) - photograph().mean((1, 2))).abs().max() < 3 / 127.5  # colours do not drift


@pytest.mark.parametrize("name", CHAINS)
def test_a_sample_has_more_detail_than_the_mean(name):
    how = {"denoise": "gauss50", "deblur": "shakes", "inpaint": SCATTERED}.get(name)
    model, lq, mask = _case(name, how)
    with torch.inference_mode():
        told = model.told(lq, mask)
        mean, y = model.mean(lq, mask, told), model.start(lq, mask)
        drawn = sample(
            lambda x, t: model.forward(x, t, lq, mask, told), model.path, times=times.uniform(model.path, 4),
            solver=solvers.resshift(), y=y, generator=0,
        ).x  # fmt: skip
    power = [x.diff(dim=-1).square().mean() for x in (mean, drawn)]
    assert power[0] < power[1]
    assert _psnr(drawn, photograph()) > _psnr(mean, photograph()) - 5


@pytest.mark.skipif("denoise" not in NAMES, reason="denoise does not ship")
def test_a_clean_picture_stays():
    model = load("denoise")
    clean = photograph()[None]
    with torch.inference_mode():
        assert _psnr(model.mean(clean), clean) > 34


def test_together_they_are_small():
    assert sum((hub.resolve(name) / "model.safetensors").stat().st_size for name in NAMES) < 30 * 2**20
