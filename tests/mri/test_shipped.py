"""The models that ship reconstruct better than the classical methods do, on scans that they were not trained on."""

import pytest
import torch

from fewstep.core import hub
from fewstep.core.checkpoint import sha256
from fewstep.mri import Reconstructor, metrics
from fewstep.mri.data.paired import draw
from fewstep.mri.data.synthetic import SyntheticSlices

SHIPPED = [name for name, _ in hub.shipped() if name.startswith("mri-")]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_model_has_a_card_and_is_small(name):
    folder = hub.resolve(name)
    file = folder / "model.safetensors"
    assert file.stat().st_size < 12 * 2**20
    assert sha256(file) in hub.card(name)
    assert sha256(file) == hub.read_config(folder)["sha256"]
    for part in ("Data and licence", "Training", "Metrics", "Limits"):
        assert f"## {part}" in hub.card(name)


@pytest.mark.parametrize("method", ["dds", "pnp-cm", "conditional"])
def test_a_few_calls_beat_the_classical_methods(method):
    if method == "conditional" and "mri-conditional" not in SHIPPED:
        pytest.skip("mri-conditional does not ship")
    slices = SyntheticSlices(size=128, seed=77, share_heads=0)
    gains = []
    for i in (1, 4, 6):
        pair = draw(slices, i)
        result = Reconstructor.load(method=method, steps=6, samples=1)(pair.one.problem)
        best = max(metrics.psnr(image, pair.x0) for image in result.others.values())
        gains.append(metrics.psnr(result.image, pair.x0) - best)
    assert torch.tensor(gains).mean() > 0.2
