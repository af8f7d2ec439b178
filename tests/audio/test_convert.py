"""Checkpoints in the published form, with random weights and pickled classes, through the converter."""

import os
import pickle
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewstep.audio.convert.inert import Inert, read_checkpoint
from fewstep.audio.convert.sgmse import convert, names
from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.models.ncsnpp import NCSNpp

SIZES = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (16,), "n_fft": 62, "hop_length": 16}


class DataModule:
    """Stands for the class that published checkpoints pickle; it is not importable where they are read."""


def published(net: NCSNpp, prefix: str, seed: int) -> dict[str, torch.Tensor]:
    """Random tensors under the published names, in the published order of registration."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for ours, theirs in names(net):
        shape = net.get_parameter(ours).shape
        for name in theirs:
            mine = (shape[0] // len(theirs), *shape[1:])
            turned = mine[:2][::-1] if ".NIN_" in name and name.endswith(".W") else mine
            state[prefix + name] = 0.1 * torch.randn(*turned, generator=generator)
    return state


def nets(storm: bool) -> dict[str, NCSNpp]:
    sizes = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (16,), "bins": 32}
    if storm:
        return {
            "denoiser_net.": NCSNpp(**sizes, signals=1, told=False),
            "score_net.": NCSNpp(**sizes, signals=3),
        }
    return {"dnn.": NCSNpp(**sizes)}


def save(file, *, storm=False, ema=None, **told):
    state = {}
    for seed, (prefix, net) in enumerate(nets(storm).items()):
        state |= published(net, prefix, seed)
    hyper = SIZES | {"data_module_cls": DataModule, "backbone": "ncsnpp", "sr": 8000, "sde": "ouve"} | told
    content = {"state_dict": state, "hyper_parameters": hyper, "epoch": 3, "callbacks": {DataModule: {"best": 1.0}}}
    if ema is not None:
        content["ema"] = {"decay": 0.999, "shadow_params": ema(state), "collected_params": None}
    torch.save(content, file)
    return state


@pytest.mark.parametrize("storm", [False, True])
def test_a_checkpoint_becomes_a_folder_that_runs(tmp_path, storm):
    save(tmp_path / "a.ckpt", storm=storm)
    enhancer = Enhancer.load(convert(tmp_path / "a.ckpt", tmp_path / "out"))
    assert enhancer.sample_rate == 8000
    assert enhancer.level == "peak"
    assert enhancer.default_steps == (50 if storm else 30)
    assert enhancer.model.net.shift is storm
    wav = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    out = enhancer(torch.from_numpy(wav), 8000, steps=3)
    assert out.wav.shape == (1, 4000)
    assert out.nfe == 6 + storm
    assert torch.isfinite(out.wav).all()


@pytest.mark.parametrize("with_rates", [True, False])
def test_the_average_is_taken(tmp_path, with_rates):
    def average(state):
        return [v + 1 for k, v in state.items() if with_rates or not k.endswith("all_modules.0.W")]

    state = save(tmp_path / "a.ckpt", ema=average)
    key = "all_modules.3.weight"
    for averaged, shift in ((True, 1.0), (False, 0.0)):
        folder = convert(tmp_path / "a.ckpt", tmp_path / str(averaged), averaged=averaged)
        weight = Enhancer.load(folder).model.net.enter.weight
        torch.testing.assert_close(weight, state["dnn." + key] + shift)


def test_data_prediction_on_the_bridge(tmp_path):
    save(tmp_path / "a.ckpt", backbone="ncsnpp_v2", loss_type="data_prediction", sde="sbve", k=2.6, c=0.4, N=50)
    enhancer = Enhancer.load(convert(tmp_path / "a.ckpt", tmp_path / "out"))
    assert enhancer.path.key == "sb_ve(k=2.6, c=0.4)"
    assert enhancer.parameterization == "x0"


@pytest.mark.parametrize(
    "told, message",
    [
        ({"backbone": "dcunet"}, "expected a backbone out of"),
        ({"sde": "ouvp"}, "expected the process"),
        ({"transform_type": "log"}, "expected the transform"),
        ({"backbone": "ncsnpp_v2", "loss_type": "denoiser"}, "only unscaled data prediction"),
        ({"nf": 16}, "expected the shape|lacks"),
        ({"num_res_blocks": 2}, "lacks|has no place"),
    ],
)
def test_what_cannot_be_converted(tmp_path, told, message):
    save(tmp_path / "a.ckpt", **told)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "a.ckpt", tmp_path / "out")
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_an_average_of_another_length(tmp_path):
    save(tmp_path / "a.ckpt", ema=lambda state: list(state.values())[:5])
    with pytest.raises(ValueError, match="expected as many averaged weights"):
        convert(tmp_path / "a.ckpt", tmp_path / "out")


def test_reads_what_torch_reads(tmp_path):
    values = {
        "a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).T,
        "half": torch.arange(5).half()[1:4],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "whole": torch.tensor([1, -2]),
        "none": None, "list": [1, 2.5, "x", (True, False)], "nested": {"k": -7, "big": 2**40, "set": {1, 2}},
        "empty": torch.zeros(0, 3),
    }  # fmt: skip
    torch.save(values, tmp_path / "a.pt")
    got = read_checkpoint(tmp_path / "a.pt")
    assert list(got) == list(values)
    for name, value in values.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(got[name], value.detach())
        else:
            assert got[name] == value


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trap",)


def test_nothing_is_run(in_folder):
    torch.save({"state_dict": {}, "trap": Trap(), "space": SimpleNamespace(a=1)}, "a.pt")
    got = read_checkpoint("a.pt")
    assert isinstance(got["trap"], Inert)
    assert "mkdir" in got["trap"].name
    assert got["space"].state == {"a": 1}
    assert not (in_folder / "trap").exists()


def test_what_is_no_checkpoint(tmp_path):
    file = tmp_path / "a.ckpt"
    with pytest.raises(ValueError, match="does not exist"):
        read_checkpoint(file)
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="no zip archive"):
        read_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other", "x")
    with pytest.raises(ValueError, match="holds no data.pkl"):
        read_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    with pytest.raises(ValueError, match="holds a list"):
        read_checkpoint(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00(X")
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(file)
    torch.save({"a": 1}, file)
    with pytest.raises(ValueError, match="no Lightning checkpoint"):
        convert(file, tmp_path / "out")


def test_a_tensor_that_reaches_beyond_its_storage(tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:8] if name.endswith("data/0") else old.read(name))
    with pytest.raises(ValueError, match="does not fit its storage"):
        read_checkpoint(tmp_path / "b.pt")
