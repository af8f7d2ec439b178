"""Official TRELLIS, TRELLIS.2 and MDT-dist checkpoints to ours: names stay, sizes come from their JSON or the tensors.

Read are the flows of both stages (TRELLIS.2: of the first) and the autoencoder of occupancy. What is told to an
official flow are tokens made elsewhere (DINOv2 of a picture, CLIP of a text): ``cond = {"tokens": [B, L, D]}``, and
``coords`` and ``mask`` for the second stage.

Official strengths: TRELLIS' ``cfg_strength`` s is our guidance_scale 1 + s; TRELLIS.2's ``guidance_strength`` is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core.build import build
from fewstep.core.checkpoint import export, load_weights_only
from fewstep.core.errors import UsageError

ENCODER, DECODER = "trellis-structure-encoder", "trellis-structure-decoder"
_HOME = "fewstep.three_d.models."
_TARGETS = {
    "SparseStructureFlowModel": _HOME + "structure_flow.StructureFlow",
    "SLatFlowModel": _HOME + "slat_flow.SlatFlow",
    "SparseStructureEncoder": _HOME + "trellis_vae.StructureEncoder",
    "SparseStructureDecoder": _HOME + "trellis_vae.StructureDecoder",
}
_LEFT_OUT = ("use_fp16", "use_checkpoint", "dtype", "initialization", "num_head_channels", "rope_freq")
_SAMPLERS = {"SparseStructureFlowModel": "sparse_structure_sampler", "SLatFlowModel": "slat_sampler"}


def convert(
    file: str | Path, folder: str | Path, *, settings: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None
) -> Path:
    """Write one official checkpoint as ours.

    Parameters
    ----------
    file
        ``NAME.safetensors`` (its ``NAME.json`` is read if it lies beside), or a trainer's
        ``denoiser_ema0.9999_stepNNNNNNN.pt``.
    folder
        Where to write.
    settings
        Further keys of the config (``steps``, ``guidance_scale``, ``interval``, ``shift``, ``normalisation``).
    dtype
        Storage type; default the widest of the file, so that nothing is lost.

    Returns
    -------
    pathlib.Path
        The folder: flows for `fewstep.core.pretrained.Pretrained.load`, autoencoders for
        `fewstep.core.checkpoint.load`.

    Raises
    ------
    UsageError
        If the file is missing, holds another model, or its tensors do not fit.
    """
    file = Path(file)
    weights, found = _weights(file), _described(file)
    name, options = found or read_off(weights)
    net, model = converted(weights, name, options)
    if "Flow" not in name:
        kind = ENCODER if name.endswith("Encoder") else DECODER
        config: dict[str, Any] = {"kind": kind, "model": model}
    else:
        config = {
            "kind": "diffusion",
            "model": {
                "_target_": _HOME + "condition.ToldFlow",
                "flow": model,
                "condition": {"_target_": "torch.nn.Identity"},
            },
            "path": {"_target_": "fewstep.core.paths.rectified_flow"},
            "parameterization": "flow",
            "steps": 25,
        }
        net = build({"_target_": config["model"]["_target_"]}, flow=net, condition=nn.Identity())
    if dtype is None:
        kinds = {value.dtype for value in weights.values() if value.is_floating_point()}
        dtype = torch.float16 if kinds == {torch.float16} else torch.float32
    return export(folder, net, config | dict(settings or {}), dtype=dtype)


def convert_folder(source: str | Path, folder: str | Path, *, dtype: torch.dtype | None = None) -> dict[str, Path]:
    """Write what we can read of an official folder, with the settings of its samplers.

    Parameters
    ----------
    source
        A copy of a repository such as ``TRELLIS-image-large``: ``pipeline.json``, and ``ckpts`` with JSON and
        safetensors.
    folder
        Where to write, a folder for each model.
    dtype
        See `convert`.

    Returns
    -------
    dict
        Official keys (``sparse_structure_flow_model`` ...) and the folders written. Models that are not read
        (decoders to Gaussians, radiance fields and meshes) are left out.

    Raises
    ------
    UsageError
        If ``pipeline.json`` or a model's file is missing, or nothing in it can be read.
    """
    source, folder = Path(source), Path(folder)
    if not (source / "pipeline.json").is_file():
        raise UsageError(f"{source} has no pipeline.json: give a copy of an official repository, or a single file")
    args = _json(source / "pipeline.json").get("args", {})
    written = {}
    for key, name in args.get("models", {}).items():
        described = source / f"{name}.json"
        if not described.is_file():
            raise UsageError(f"{key} is {name}, and {described} is missing: copy that repository's ckpts there")
        kind = _named(_json(described))
        if kind in _TARGETS:
            file = source / f"{name}.safetensors"
            written[key] = convert(file, folder / key, settings=_settings(args, kind), dtype=dtype)
    if not written:
        raise UsageError(f"{source}: none of {', '.join(args.get('models', {})) or 'its models'} can be read")
    return written


def converted(weights: Mapping[str, Tensor], name: str, options: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Our net with these weights.

    Parameters
    ----------
    weights
        An official state dict.
    name, options
        The official class and its arguments, or what `read_off` found.

    Returns
    -------
    net : torch.nn.Module
        In evaluation mode, without gradients, single precision.
    model : dict
        The config that rebuilds it.

    Raises
    ------
    UsageError
        If the class is not one that we have, or the tensors do not fit.
    """
    if name not in _TARGETS:
        raise UsageError(
            f"{name} is not read: the flows and the autoencoder of occupancy are ({', '.join(_TARGETS)}); shapes of "
            "other decoders need the official code"
        )
    kept = {key: value for key, value in options.items() if key not in _LEFT_OUT}
    if "Flow" in name:
        freq = options.get("rope_freq", (1.0, 10000.0))
        if tuple(freq) != (1.0, 10000.0):
            raise UsageError(f"expected rope_freq (1, 10000), got {tuple(freq)}")
        head = options.get("num_head_channels", 64)
        kept["num_heads"] = kept.get("num_heads") or kept["model_channels"] // head
        kept["block_mod"] = "blocks.0.modulation" in weights
        kept.setdefault("qk_rms_norm", False)
        # without stages of convolutions the official net ignores its patch size
        if name == "SLatFlowModel":
            kept["patch_size"] = 2 ** len(kept.get("io_block_channels") or ())
        else:
            channels = kept["in_channels"]
            kept["patch_size"] = round((weights["input_layer.weight"].shape[1] / channels) ** (1 / 3))
    model = {"_target_": _TARGETS[name], **kept}
    net: Any = build(model)
    state = net.state_dict()
    weights = {key: value for key, value in weights.items() if key != "rope_phases"}
    faults = [f"missing {key}" for key in state if key not in weights]
    faults += [f"left over {key}" for key in weights if key not in state]
    faults += [
        f"{key}: expected {list(value.shape)}, got {list(weights[key].shape)}"
        for key, value in state.items()
        if key in weights and weights[key].shape != value.shape
    ]
    if faults:
        raise UsageError(f"these are not the weights of {name}: {'; '.join(faults[:4])} ({len(faults)} faults)")
    net.load_state_dict({key: value.float() for key, value in weights.items()})
    return net.eval().requires_grad_(False), model


def read_off(weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Official class and arguments as far as tensors tell; what they do not is as in the official releases.

    Parameters
    ----------
    weights
        An official state dict.

    Returns
    -------
    name : str
        The official class.
    options : dict
        Its arguments.

    Raises
    ------
    UsageError
        If these are no weights of a flow of TRELLIS, or of its autoencoder of occupancy.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    if "t_embedder.mlp.0.weight" in shapes:
        return _flow(shapes)
    first, last = shapes.get("input_layer.weight", ()), shapes.get("out_layer.2.weight", ())
    if len(first) != 5 or len(last) != 5:
        raise UsageError("these are no weights of a flow of TRELLIS, nor of its autoencoder of occupancy")
    widths = [s[0] for k, s in sorted(shapes.items(), key=_number) if re.fullmatch(r"blocks\.\d+\.conv1\.weight", k)]
    channels = list(dict.fromkeys(widths))
    steps = {shapes[key][2] for key in shapes if re.fullmatch(r"blocks\.\d+\.conv\.weight", key)}
    options = {
        "channels": channels,
        "num_res_blocks": len(widths) // len(channels),
        "num_res_blocks_middle": _count(shapes, "middle_block"),
    }
    if steps == {2}:
        return "SparseStructureEncoder", options | {"in_channels": first[1], "latent_channels": last[0] // 2}
    return "SparseStructureDecoder", options | {"out_channels": last[0], "latent_channels": first[1]}


def _flow(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    width = shapes["t_embedder.mlp.2.weight"][0]
    gamma = shapes.get("blocks.0.self_attn.q_rms_norm.gamma")
    heads = gamma or shapes.get("blocks.0.cross_attn.q_rms_norm.gamma")
    stages = _count(shapes, "input_blocks")
    options: dict[str, Any] = {
        "model_channels": width,
        "cond_channels": shapes["blocks.0.cross_attn.to_kv.weight"][1],
        "num_blocks": _count(shapes, "blocks"),
        "num_heads": heads[0] if heads else width // 64,
        "mlp_ratio": shapes["blocks.0.mlp.mlp.0.weight"][0] / width,
        "qk_rms_norm": gamma is not None,
        "qk_rms_norm_cross": "blocks.0.cross_attn.q_rms_norm.gamma" in shapes,
        "share_mod": "adaLN_modulation.1.weight" in shapes,
    }
    incoming, outgoing = shapes["input_layer.weight"][1], shapes["out_layer.weight"][0]
    if stages or ("pos_emb" not in shapes and "adaLN_modulation.1.weight" not in shapes):
        widths = [shapes[f"input_blocks.{i}.conv1.conv.weight"][-1] for i in range(stages)]
        options |= {"resolution": 64, "in_channels": incoming, "out_channels": outgoing}
        if stages:
            if len(set(widths)) > 1:
                raise UsageError(f"several stages of convolutions ({widths}) need the model's JSON beside the file")
            skips = shapes["out_blocks.0.norm1.weight"][0] == 2 * width
            options |= {
                "io_block_channels": widths[:1], "num_io_res_blocks": stages, "use_skip_connection": skips,
            }  # fmt: skip
        return "SLatFlowModel", options
    patch = max(1, round((incoming / 8) ** (1 / 3)))
    places = shapes.get("pos_emb") or shapes.get("rope_phases") or (16**3,)
    return "SparseStructureFlowModel", options | {
        "resolution": round(places[0] ** (1 / 3)) * patch, "in_channels": incoming // patch**3,
        "out_channels": outgoing // patch**3, "pe_mode": "ape" if "pos_emb" in shapes else "rope",
    }  # fmt: skip


def _weights(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UsageError(f"{file} does not exist")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content: Any = load_file(file)
        except SafetensorError as error:
            raise UsageError(f"{file} is no safetensors file: {error}") from None
    else:
        content = load_weights_only(file)
    found = {re.sub(r"^(module\.)+", "", k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not found:
        raise UsageError(
            f"{file} holds no tensors at its top: give denoiser_ema*.pt of ckpts, not the trainer's misc_*"
        )
    return found


def _described(file: Path) -> tuple[str, dict[str, Any]] | None:
    beside = file.with_suffix(".json")
    if not beside.is_file():
        return None
    content = _json(beside)
    return _named(content), dict(content.get("args", {}))


def _named(content: Mapping[str, Any]) -> str:
    return str(content.get("name", "a model without a name")).removeprefix("Elastic")


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected a mapping, got a {type(content).__name__}")
    return content


def _settings(args: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What an official pipeline says about sampling, in our words."""
    if kind not in _SAMPLERS:
        return {}
    told = args.get(_SAMPLERS[kind], {}).get("params", {})
    as_read: dict[str, Callable[[Any], Any]] = {"steps": int, "rescale_t": float, "guidance_rescale": float}
    out = {key: read(told[key]) for key, read in as_read.items() if key in told}
    if "rescale_t" in out:
        out["shift"] = out.pop("rescale_t")
    if "cfg_strength" in told:
        out["guidance_scale"] = 1.0 + float(told["cfg_strength"])
    elif "guidance_strength" in told:
        out["guidance_scale"] = float(told["guidance_strength"])
    interval = told.get("cfg_interval", told.get("guidance_interval"))
    if interval is not None:
        out["interval"] = [float(t) for t in interval]
    if kind == "SLatFlowModel" and "slat_normalization" in args:
        out["normalisation"] = {key: [float(v) for v in args["slat_normalization"][key]] for key in ("mean", "std")}
    return out


def _count(names: Mapping[str, Any], prefix: str) -> int:
    return len({name.split(".")[1] for name in names if name.startswith(prefix + ".")})


def _number(item: tuple[str, Any]) -> int:
    parts = item[0].split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else -1
