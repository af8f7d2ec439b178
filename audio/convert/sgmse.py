"""Checkpoints of the published SGMSE, SGMSE+ and StoRM nets (sp-uhh, MIT) into folders that `Enhancer.load` reads.

    python -m fewstep.audio.convert.sgmse CHECKPOINT FOLDER

The averaged weights are taken where there are any. Read with `fewstep.audio.convert.inert`: nothing in the file is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.audio.convert.inert import read_checkpoint
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.audio.models.ncsnpp import Attention, Block, NCSNpp
from fewstep.core import checkpoint
from fewstep.core.errors import UsageError

BACKBONES = ("ncsnpp", "ncsnpp_v2")
_TARGET = "fewstep.audio.models.ncsnpp.NCSNpp"


def convert(file: str | Path, folder: str | Path, *, averaged: bool = True, task: str = "denoise") -> Path:
    """Convert a checkpoint.

    Parameters
    ----------
    file
        A Lightning checkpoint of the published code.
    folder
        Where `model.safetensors` and `config.yaml` go, in single precision.
    averaged
        Take the exponential moving average.
    task
        What it is for.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If it is no such checkpoint, of another backbone, or its tensors are not those of its sizes.
    """
    content = read_checkpoint(file)
    state, told = content.get("state_dict"), content.get("hyper_parameters")
    if not isinstance(state, dict) or not isinstance(told, dict):
        raise UsageError(f"{file} is no Lightning checkpoint: it lacks state_dict or hyper_parameters")
    state = _averaged(state, content.get("ema")) if averaged else state
    config = _config(told, state)
    model = Enhancement(
        spectrum=config["model"]["spectrum"],
        **{key: NCSNpp(**_sizes(config["model"][key])) for key in ("predictor", "net") if key in config["model"]},
    )
    parts = {"predictor": "denoiser_net.", "net": "score_net."} if _is_storm(state) else {"net": "dnn."}
    for key, prefix in parts.items():
        if (net := getattr(model, key)) is not None:
            mine = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            load_published(net, mine)
    return checkpoint.export(folder, model, config | {"task": task}, dtype=torch.float32)


def load_published(net: NCSNpp, state: Mapping[str, Tensor]) -> None:
    """Load the state of a published NCSN++ (keys ``all_modules.N...``, ``output_layer...``).

    Raises
    ------
    UsageError
        If tensors are missing, left over or of other shapes.
    """
    renamed: dict[str, Tensor] = {}
    left = dict(state)
    for ours, theirs in names(net):
        if absent := [name for name in theirs if name not in left]:
            raise UsageError(f"the checkpoint lacks {', '.join(absent)}")
        turned = [_turned(name, left.pop(name)) for name in theirs]
        renamed[ours] = _shaped(torch.cat(turned), net, ours)
    if left:
        raise UsageError(
            f"the checkpoint has {len(left)} tensors that the net has no place for, the first: {min(left)}"
        )
    net.load_state_dict(renamed)


def names(net: NCSNpp) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name of each tensor of ours, and the names of the published tensors that make it up."""
    for part in ("weight", "bias"):
        yield f"leave.{part}", (f"output_layer.{part}",)
    yield "rates", ("all_modules.0.W",)
    number = 1
    if net.time is not None:
        for place in (0, 2):
            yield from ((f"time.{place}.{p}", (f"all_modules.{number}.{p}",)) for p in ("weight", "bias"))
            number += 1
    for name, module in net.in_order():
        yield from _of_part(name, module, f"all_modules.{number}")
        number += 1


def _of_part(name: str, module: torch.nn.Module, theirs: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(module, Block):
        pairs = {"before": "GroupNorm_0", "first": "Conv_0", "told": "Dense_0", "between": "GroupNorm_1",
                 "second": "Conv_1"}  # fmt: skip
        if not isinstance(module.shortcut, torch.nn.Identity):
            pairs["shortcut"] = "Conv_2"
        yield from ((f"{name}.{a}.{p}", (f"{theirs}.{b}.{p}",)) for a, b in pairs.items() for p in ("weight", "bias"))
    elif isinstance(module, Attention):
        yield from ((f"{name}.norm.{p}", (f"{theirs}.GroupNorm_0.{p}",)) for p in ("weight", "bias"))
        for ours, q in (("weight", "W"), ("bias", "b")):
            yield f"{name}.ask.{ours}", tuple(f"{theirs}.NIN_{i}.{q}" for i in range(3))
            yield f"{name}.leave.{ours}", (f"{theirs}.NIN_3.{q}",)
    else:
        inner = ".Conv_0" if name.endswith(".join") else ""
        yield from ((f"{name}.{p}", (f"{theirs}{inner}.{p}",)) for p in ("weight", "bias"))


def _turned(name: str, value: Tensor) -> Tensor:
    """Their attention multiplies from the other side."""
    return value.T[:, :, None, None] if name.endswith(".W") and "NIN" in name else value


def _shaped(value: Tensor, net: NCSNpp, name: str) -> Tensor:
    wanted = net.get_parameter(name).shape
    if value.shape != wanted:
        raise UsageError(f"{name}: expected the shape {list(wanted)}, the checkpoint has {list(value.shape)}")
    return value


def _averaged(state: dict[str, Tensor], average: Any) -> dict[str, Tensor]:
    """The state with its average, which is a list in the order of the parameters, with or without the fixed rates."""
    shadow = average.get("shadow_params") if isinstance(average, dict) else None
    if not shadow:
        return state
    keys = [key for key in state if key.startswith(("dnn.", "denoiser_net.", "score_net."))]
    for chosen in (keys, [key for key in keys if not key.endswith("all_modules.0.W")]):
        if len(chosen) == len(shadow):
            if any(state[k].shape != v.shape for k, v in zip(chosen, shadow, strict=True)):
                raise UsageError("the averaged weights are not in the order of the state: take averaged=False")
            return state | dict(zip(chosen, shadow, strict=True))
    raise UsageError(f"expected as many averaged weights as weights, {len(keys)}, got {len(shadow)}")


def _is_storm(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(("score_net.", "denoiser_net.")) for name in state)


def _config(told: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    storm = _is_storm(state)
    backbone = told.get("backbone_score" if storm else "backbone", "ncsnpp")
    if backbone not in BACKBONES:
        raise UsageError(f"expected a backbone out of {', '.join(BACKBONES)}, the checkpoint has {backbone!r}")
    says = _says(told, backbone)
    sizes = _numbers(told, storm)
    model: dict[str, Any] = {
        "_target_": "fewstep.audio.models.enhance_system.Enhancement",
        "spectrum": _spectrum(told, storm),
    }
    if any(name.startswith("denoiser_net.") for name in state):
        model["predictor"] = {"_target_": _TARGET, **sizes, "signals": 1, "told": False}
    if storm and told.get("condition", "both") != "both":
        raise UsageError(f"expected a StoRM net that is told both spectra, this one is told {told['condition']!r}")
    model["net"] = {"_target_": _TARGET, **sizes, "signals": 3 if storm else 2, "says": says}
    return {
        "kind": "enhance",
        "model": model,
        "path": _path(told),
        "parameterization": says,
        "steps": 50 if storm else int(told.get("N", 30)),
        "sampler": {"_target_": "fewstep.audio.enhance.samplers." + ("Even" if says == "x0" else "PredictorCorrector")},
        "level": "peak",
    }


def _says(told: Mapping[str, Any], backbone: str) -> str:
    """What the net says; of the second version only what needs no further scaling."""
    if backbone == "ncsnpp":
        return "score"
    plain = told.get("network_scaling") is None and told.get("c_in", "1") == "1" and told.get("c_skip", "0") == "0"
    if told.get("loss_type") == "data_prediction" and plain and told.get("c_out", "1") == "1":
        return "x0"
    raise UsageError(
        "of ncsnpp_v2 only unscaled data prediction is read, this one has "
        f"{ {k: told.get(k) for k in ('loss_type', 'network_scaling', 'c_in', 'c_out', 'c_skip')} }"
    )


def _numbers(told: Mapping[str, Any], storm: bool) -> dict[str, Any]:
    standard = ((1, 2, 2, 2), 1, (0,)) if storm else ((1, 1, 2, 2, 2, 2, 2), 2, (16,))
    multipliers, blocks, attention = (
        told.get(key, value)
        for key, value in zip(("ch_mult", "num_res_blocks", "attn_resolutions"), standard, strict=True)
    )
    return {
        "width": int(told.get("nf", 128)),
        "multipliers": [int(m) for m in multipliers],
        "blocks": int(blocks),
        "attention": [int(height) for height in attention if height],
        "bins": int(told.get("n_fft", 510)) // 2 + 1,
        "shift": not told.get("centered", not storm),
    }


def _spectrum(told: Mapping[str, Any], storm: bool) -> dict[str, Any]:
    kind = told.get("transform_type", "exponent")
    if kind not in ("exponent", "none"):
        raise UsageError(f"expected the transform 'exponent' or 'none', the checkpoint has {kind!r}")
    plain = kind == "none"
    return {
        "sample_rate": int(told.get("sr", 16000) or 16000),
        "n_fft": int(told.get("n_fft", 510)),
        "hop": int(told.get("hop_length", 128)),
        "exponent": 1.0 if plain else float(told.get("spec_abs_exponent", 0.5)),
        "factor": 1.0 if plain else float(told.get("spec_factor", 0.33 if storm else 0.15)),
        "pad": "reflect",
    }


def _path(told: Mapping[str, Any]) -> dict[str, Any]:
    kind = told.get("sde", "ouve")
    if kind == "ouve":
        numbers = {"gamma": ("theta", 1.5), "sigma_min": ("sigma_min", 0.05), "sigma_max": ("sigma_max", 0.5)}
        name = "ou"
    elif kind == "sbve":
        numbers, name = {"k": ("k", 2.6), "c": ("c", 0.4)}, "sb_ve"
    else:
        raise UsageError(f"expected the process 'ouve' or 'sbve', the checkpoint has {kind!r}")
    values = {ours: float(told.get(theirs, value)) for ours, (theirs, value) in numbers.items()}
    return {"_target_": f"fewstep.core.paths.{name}", **values}


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "_target_"}


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m fewstep.audio.convert.sgmse CHECKPOINT FOLDER [--raw] [--task TASK]``."""
    parser = argparse.ArgumentParser(prog="fewstep.audio.convert.sgmse", description="Convert a published checkpoint.")
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--raw", action="store_true", help="the weights themselves, not their average")
    parser.add_argument("--task", default="denoise", choices=("denoise", "dereverb"))
    args = parser.parse_args(argv)
    print(convert(args.checkpoint, args.folder, averaged=not args.raw, task=args.task))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
