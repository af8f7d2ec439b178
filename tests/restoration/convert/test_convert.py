"""Official layouts go through the shipped converters: names and shapes as the official nets of small sizes have them.

The .txt files beside this test list the official state dicts (name and shape); values are drawn from a seed. That the
answers agree was checked against the official code on random weights: to 2e-16 in float64 (DiffIR), 7e-7 in float32
(IR-SDE).
"""

import math
from pathlib import Path

import pytest
import torch

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.restoration import pretrained
from fewstep.restoration.convert import diffir, ir_sde
from fewstep.restoration.convert.names import filled, read_weights
from fewstep.restoration.models.diffir import SIZES, DiffIR
from fewstep.restoration.models.ir_sde import ConditionalNAFNet, ConditionalUNet

HERE = Path(__file__).parent
SMALL = {
    "scale": 4, "dim": 16, "blocks": (2, 1, 1, 1), "refinement": 2, "expansion": 2.2, "norm_bias": True,
    "extractor_blocks": 3,
}  # fmt: skip


def _official(name):
    generator = rng.generator(1)
    out = {}
    for line in (HERE / f"{name}.txt").read_text().splitlines():
        key, *sides = line.split()
        shape = [int(n) for n in sides]
        out[key] = torch.randn(shape, generator=generator) / max(1, math.prod(shape[1:])) ** 0.5
    return out


def test_diffir_renames_everything_and_drops_what_is_double():
    weights = _official("diffir_stage2")
    assert any(name.startswith("diffusion.model.") for name in weights)
    net = filled(DiffIR(size=SMALL, stage=2), diffir.names(weights, extractor_blocks=3), what="DiffIR")
    assert torch.equal(
        net.body.decoder[0][1].attention.kernel.weight, weights["G.decoder_level1.1.attn.kernel.0.weight"]
    )
    assert torch.equal(net.chain.layers[1].weight, weights["denoise.resmlp.2.resmlp.0.weight"])
    assert net(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 64, 64)


def test_diffir_goes_to_a_folder_and_back(tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", SMALL)
    torch.save({"params_ema": {f"module.{k}": v for k, v in _official("diffir_stage2").items()}}, tmp_path / "x.pth")
    model = pretrained.load(diffir.convert(tmp_path / "x.pth", tmp_path / "out", size="tiny"))
    assert (model.method, model.task, model.scale) == ("diffir", "sr", 4)
    lq = torch.rand(1, 3, 16, 16, generator=rng.generator(0)) * 2 - 1
    told = model.told(lq, seed=1)
    assert told.shape == (1, 256)
    assert not torch.equal(told, model.told(lq, seed=2))
    assert torch.equal(
        model.mean(lq, None, told), model.forward(torch.zeros(1, 3, 64, 64), torch.ones(1), lq, None, told)
    )
    with pytest.raises(UsageError, match="expected one of sr-x4"):
        diffir.convert(tmp_path / "x.pth", tmp_path / "out", size="large")
    with pytest.raises(UsageError, match="these are not the weights of DiffIR deblur"):
        diffir.convert(tmp_path / "x.pth", tmp_path / "out", size="deblur")


@pytest.mark.parametrize("name, kind", [("ir_sde_unet", ConditionalUNet), ("ir_sde_nafnet", ConditionalNAFNet)])
def test_ir_sde_sizes_are_read_off_the_tensors(name, kind, tmp_path):
    torch.save(_official(name), tmp_path / "x.pth")
    model = pretrained.load(ir_sde.convert(tmp_path / "x.pth", tmp_path / "out", recipe="motion"))
    assert isinstance(model.net, kind)
    lq = torch.rand(1, 3, 21, 30, generator=rng.generator(0)) * 2 - 1
    out = model.forward(lq + 0.1, torch.tensor([0.5]), lq)
    assert out.shape == lq.shape
    assert out.isfinite().all()
    with pytest.raises(UsageError, match="has no mean"):
        model.mean(lq)


def test_ir_sde_answers_with_the_clean_picture_of_its_noise(tmp_path):
    torch.save(_official("ir_sde_unet"), tmp_path / "x.pth")
    model = pretrained.load(ir_sde.convert(tmp_path / "x.pth", tmp_path / "out", recipe="motion", max_sigma=10))
    lq, x = (torch.rand(2, 3, 16, 16, generator=rng.generator(i)) * 2 - 1 for i in range(2))
    t = torch.tensor([0.25, 1.0])
    x0 = model.forward(x, t, lq).double()
    eps = model.net((x + 1) / 2, (lq + 1) / 2, t * 100)
    a, b, s = (c.reshape(-1, 1, 1, 1) for c in model.path.coefficients(t.double()))
    torch.testing.assert_close((a * x0 + b * lq + s * eps).float(), x, atol=1e-4, rtol=0)
    assert float(s[1]) == pytest.approx(2 * 10 / 255, rel=1e-4)


def test_what_is_not_theirs(tmp_path):
    with pytest.raises(UsageError, match="neither init_conv.weight nor intro.weight"):
        ir_sde.converted({"a": torch.zeros(1)})
    weights = _official("ir_sde_unet")
    weights.pop("final_conv.bias")
    with pytest.raises(UsageError, match=r"missing last.bias \(1 faults\)"):
        ir_sde.converted(weights)
    torch.save({"params": {}}, tmp_path / "x.pth")
    with pytest.raises(UsageError, match="holds no tensors"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "make, millions",
    [
        (lambda: DiffIR(size="sr-x4"), 24.97),
        (lambda: DiffIR(size="deblur"), 26.91),
        (ConditionalUNet, 137.15),
        (ConditionalNAFNet, 76.6),
    ],
)
def test_published_sizes(make, millions):
    with torch.device("meta"):
        net = make()
    assert sum(value.numel() for value in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.02)


def test_what_is_no_diffir():
    with pytest.raises(UsageError, match="stage 1 or 2 and a size"):
        DiffIR(size="huge")
    with pytest.raises(UsageError, match="give x0"):
        DiffIR(size=SMALL, stage=1).prior(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match="give eps"):
        DiffIR(size=SMALL, stage=2).prior(torch.zeros(1, 3, 8, 8))
