"""Parity with the official nets, through the shipped converter; see official.py for where the answers come from."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fewstep.core import checkpoint, guide, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample
from fewstep.three_d.convert import trellis
from tests.three_d.convert import official

HERE = Path(__file__).parent
SHAPES = json.loads((HERE / "golden.json").read_text())


@pytest.fixture(scope="module")
def golden():
    with np.load(HERE / "golden.npz") as content:
        return {key: torch.from_numpy(content[key]) for key in content}


def weights(key):
    """As an official file has it: places of tokens included."""
    found = official.weights(SHAPES[key])
    if "pos_emb" in SHAPES[key]:
        _, options = official.NETS[key]
        found["pos_emb"] = trellis.converted(
            found | {"pos_emb": torch.zeros(SHAPES[key]["pos_emb"])}, *official.NETS[key]
        )[0].pos_emb.new_tensor(places(options))
    if "rope_phases" in SHAPES[key]:
        found["rope_phases"] = torch.ones(SHAPES[key]["rope_phases"], dtype=torch.complex64)
    return found


def places(options):
    """Sines and cosines of the official embedding, written down once more."""
    n, width = options["resolution"] // options["patch_size"], options["model_channels"]
    rates = 1 / 10000 ** (np.arange(width // 6, dtype=np.float32) / (width // 6))
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3, 1)
    angles = (grid * rates).astype(np.float32)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], -1).reshape(n**3, -1)
    return np.pad(waves, ((0, 0), (0, width - waves.shape[1]))).astype(np.float32)


def written(folder, key, *, described=True):
    save_file(weights(key), folder / f"{key}.safetensors")
    if described:
        name, options = official.NETS[key]
        name = f"Elastic{name}" if key == "slat" else name
        (folder / f"{key}.json").write_text(json.dumps({"name": name, "args": options | {"use_fp16": True}}))
    return folder / f"{key}.safetensors"


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("key", list(official.NETS))
def test_against_trellis(key, described, golden, tmp_path):
    folder = trellis.convert(written(tmp_path, key, described=described), tmp_path / "out")
    t, cond = official.told(key)
    if key in ("encoder", "decoder"):
        kind = trellis.ENCODER if key == "encoder" else trellis.DECODER
        net, _ = checkpoint.load(folder, kind=kind)
        if key == "encoder":
            got = torch.cat(net((official.values("x", 1, 1, 8, 8, 8) > 0).float()))
        else:
            got = net(official.values("x", 1, 8, 4, 4, 4))
    else:
        net = Pretrained.load(folder).net
        if key == "slat":
            coords, mask = official.cells()
            x = official.values("x", 2, 60, 8)
            got = net(x, t, {"tokens": cond, "coords": coords, "mask": mask})[mask]
        else:
            got = net(official.values("x", 2, 8, 4, 4, 4), t, {"tokens": cond})
    torch.testing.assert_close(got, golden[key], rtol=0, atol=3e-6)
    assert golden[key].std() > 0.01


@pytest.mark.parametrize("key", list(official.NETS))
def test_names_and_shapes_are_the_official_ones(key):
    net, _ = trellis.converted(weights(key), *official.NETS[key])
    ours = {name: list(value.shape) for name, value in net.state_dict().items()}
    assert ours == {name: shape for name, shape in SHAPES[key].items() if name != "rope_phases"}


def test_places_of_tokens_are_the_official_ones():
    net, _ = trellis.converted(weights("structure"), *official.NETS["structure"])
    fresh = type(net)(**{k: v for k, v in official.NETS["structure"][1].items() if k != "use_fp16"})
    torch.testing.assert_close(fresh.pos_emb, torch.from_numpy(places(official.NETS["structure"][1])))


def test_the_official_sampler_in_our_words(golden, tmp_path):
    """25 steps, rescale_t 3, guidance on [0.5, 1]: times.shift, guide.cfg with 1 + cfg_strength, DDIM (Euler here)."""
    model = Pretrained.load(trellis.convert(written(tmp_path, "structure"), tmp_path / "out"))
    official_way = official.TRAJECTORY
    _, cond = official.told("structure")
    x = 3 * official.values("x", 2, 8, 4, 4, 4)
    grid = times.shift(times.uniform(model.path, official_way["steps"]), official_way["rescale_t"])
    told, alone = (model.denoise(cond={"tokens": c}) for c in (cond, torch.zeros_like(cond)))
    w = 1 + official_way["cfg_strength"]
    denoise = guide.cfg(told, alone, w, interval=official_way["cfg_interval"])
    found = sample(denoise, model.path, times=grid, solver=solvers.ddim(), x=x, shape=x.shape)
    torch.testing.assert_close(found.x, golden["trajectory"], rtol=0, atol=2e-5)
    assert found.nfe == 25 + int(((grid[:-1] >= 0.5) & (grid[:-1] <= 1)).sum())

    state = x
    for here, there in pairwise(grid):  # Euler's rule on the velocity, written down
        t = torch.full((2,), float(here))
        v = model.net(state, t, {"tokens": cond})
        if 0.5 <= here <= 1:
            v = (1 + 7.5) * v - 7.5 * model.net(state, t, {"tokens": torch.zeros_like(cond)})
        state = state - (here - there).float() * v
    torch.testing.assert_close(found.x, state, rtol=0, atol=2e-5)


def test_a_trainers_file(tmp_path):
    torch.save(weights("structure"), tmp_path / "denoiser_ema0.9999_step0006000.pt")
    folder = trellis.convert(tmp_path / "denoiser_ema0.9999_step0006000.pt", tmp_path / "out", settings={"steps": 2})
    model = Pretrained.load(folder)
    assert model.steps == 2
    assert model.net.flow.resolution == 4


def test_half_stays_half(tmp_path):
    half = {key: value.half() for key, value in weights("decoder").items()}
    save_file(half, tmp_path / "decoder.safetensors")
    out = trellis.convert(tmp_path / "decoder.safetensors", tmp_path / "out")
    assert (out / "model.safetensors").stat().st_size < 0.6 * (tmp_path / "out2").joinpath(
        trellis.convert(tmp_path / "decoder.safetensors", tmp_path / "out2", dtype=torch.float32) / "model.safetensors"
    ).stat().st_size


PIPELINE = {
    "name": "TrellisImageTo3DPipeline",
    "args": {
        "models": {
            "sparse_structure_decoder": "ckpts/decoder", "sparse_structure_flow_model": "ckpts/structure",
            "slat_flow_model": "ckpts/slat", "slat_decoder_mesh": "ckpts/mesh",
        },
        "sparse_structure_sampler": {
            "name": "FlowEulerGuidanceIntervalSampler", "args": {"sigma_min": 1e-5},
            "params": {"steps": 12, "cfg_strength": 5.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0},
        },
        "slat_sampler": {"params": {"steps": 25, "guidance_strength": 3.0, "guidance_interval": [0.0, 1.0]}},
        "slat_normalization": {"mean": [0.0] * 8, "std": [2.0] * 8},
    },
}  # fmt: skip


def test_a_folder(tmp_path):
    source = tmp_path / "source"
    (source / "ckpts").mkdir(parents=True)
    for key in ("decoder", "structure", "slat"):
        written(source / "ckpts", key)
    (source / "ckpts" / "mesh.json").write_text(json.dumps({"name": "SLatMeshDecoder", "args": {}}))
    (source / "pipeline.json").write_text(json.dumps(PIPELINE))
    found = trellis.convert_folder(source, tmp_path / "out")
    assert sorted(found) == ["slat_flow_model", "sparse_structure_decoder", "sparse_structure_flow_model"]
    first, second = (Pretrained.load(found[f"{name}_flow_model"]) for name in ("sparse_structure", "slat"))
    assert (first.steps, second.steps) == (12, 25)
    kept = [first.config[key] for key in ("guidance_scale", "interval", "shift")]
    assert kept == [6.0, [0.5, 1.0], 3.0]
    assert second.config["guidance_scale"] == 3.0
    assert second.config["normalisation"] == {"mean": [0.0] * 8, "std": [2.0] * 8}
    assert "guidance_scale" not in checkpoint.load(found["sparse_structure_decoder"])[1]


def test_what_is_not_read_is_said(tmp_path):
    with pytest.raises(UsageError, match="has no pipeline.json"):
        trellis.convert_folder(tmp_path, tmp_path / "out")
    (tmp_path / "pipeline.json").write_text(json.dumps(PIPELINE))
    with pytest.raises(UsageError, match=r"decoder\.json is missing: copy that repository's ckpts there"):
        trellis.convert_folder(tmp_path, tmp_path / "out")
    (tmp_path / "pipeline.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        trellis.convert_folder(tmp_path, tmp_path / "out")
    (tmp_path / "pipeline.json").write_text("[]")
    with pytest.raises(UsageError, match="expected a mapping, got a list"):
        trellis.convert_folder(tmp_path, tmp_path / "out")
    (tmp_path / "pipeline.json").write_text(json.dumps({"args": {"models": {"slat_decoder_mesh": "mesh"}}}))
    (tmp_path / "mesh.json").write_text(json.dumps({"name": "SLatMeshDecoder", "args": {}}))
    with pytest.raises(UsageError, match="none of slat_decoder_mesh can be read"):
        trellis.convert_folder(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="does not exist"):
        trellis.convert(tmp_path / "no.safetensors", tmp_path / "out")
    (tmp_path / "bad.safetensors").write_bytes(b"0" * 64)
    with pytest.raises(UsageError, match="is no safetensors file"):
        trellis.convert(tmp_path / "bad.safetensors", tmp_path / "out")
    torch.save({"step": 3}, tmp_path / "misc_step3.pt")
    with pytest.raises(UsageError, match="holds no tensors at its top"):
        trellis.convert(tmp_path / "misc_step3.pt", tmp_path / "out")
    with pytest.raises(UsageError, match="SLatMeshDecoder is not read"):
        trellis.converted({}, "SLatMeshDecoder", {})
    with pytest.raises(UsageError, match="no weights of a flow of TRELLIS"):
        trellis.read_off({"layer.weight": torch.zeros(1)})
    name, options = official.NETS["structure"]
    with pytest.raises(UsageError, match=r"missing out_layer.bias; left over more \(2 faults\)"):
        trellis.converted({k: v for k, v in weights("structure").items() if k != "out_layer.bias"}
                          | {"more": torch.zeros(1)}, name, options)  # fmt: skip
    with pytest.raises(UsageError, match=r"out_layer.bias: expected \[8\], got \[9\]"):
        trellis.converted(weights("structure") | {"out_layer.bias": torch.zeros(9)}, name, options)
    with pytest.raises(UsageError, match=r"expected rope_freq \(1, 10000\)"):
        trellis.converted(weights("rotated"), name, official.NETS["rotated"][1] | {"rope_freq": (2.0, 100.0)})
    wide = weights("slat") | {"input_blocks.1.conv1.conv.weight": torch.zeros(64, 3, 3, 3, 24)}
    with pytest.raises(UsageError, match="several stages of convolutions"):
        trellis.read_off(wide)
