"""A trained model on disk: a folder with `model.safetensors` and `config.yaml`, never a pickle.

`config.yaml` holds `kind` (what the model is for), `model` (a buildable config, see `fewstep.core.build`), `sha256` of
the weights, and whatever else its kind needs. Weights are stored in half precision, or in eight bits with a scale per
row, and used in single precision.
"""

import hashlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fewstep.core.build import TARGET, build, locate
from fewstep.core.errors import UsageError
from fewstep.core.hub import CONFIG, WEIGHTS, read_config

_SCALE = "#scale"
_MATRIX = 4096


def export(
    folder: str | Path,
    module: nn.Module,
    config: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float16,
    bits: int | None = None,
) -> Path:
    """Write a module and the config that rebuilds it.

    Both files are written under a temporary name and renamed, the config last: a folder with a new config is whole.

    Parameters
    ----------
    folder
        Where to write; made if absent, its `model.safetensors` and `config.yaml` are replaced.
    module
        The model; all of its `state_dict()` is stored.
    config
        Plain mapping with ``kind`` and ``model`` (with ``_target_``); further keys are kept as they are.
    dtype
        Storage type of floating-point tensors.
    bits
        8: matrices and kernels of at least 4,096 numbers are stored as int8 with a scale per row (of the first axis),
        an error of at most 1/254 of the row's largest number. None: as the rest.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If ``kind`` or ``model`` is missing, a stored value would overflow in `dtype`, or `bits` is neither 8 nor None.
    """
    if not isinstance(config.get("kind"), str) or not isinstance(config.get("model"), Mapping):
        raise UsageError(f"a checkpoint config needs 'kind' (a name) and 'model' (a config), got keys {sorted(config)}")
    if bits not in (None, 8):
        raise UsageError(f"bits is 8 or None, got {bits}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in module.state_dict().items():
        if bits == 8 and value.is_floating_point() and value.ndim > 1 and value.numel() >= _MATRIX:
            tensors |= _in_bytes(name, value)
        else:
            tensors[name] = _stored(name, value, dtype)
    part = folder / f".{WEIGHTS}.{os.getpid()}"
    save_file(tensors, part)
    digest = sha256(part)
    part.replace(folder / WEIGHTS)
    text = yaml.safe_dump({**config, "sha256": digest}, sort_keys=False, allow_unicode=True)
    part = folder / f".{CONFIG}.{os.getpid()}"
    part.write_text(text, encoding="utf-8")
    part.replace(folder / CONFIG)
    return folder


def load(
    folder: str | Path,
    *,
    kind: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild an exported module.

    Parameters
    ----------
    folder
        What `export` wrote.
    kind
        The kind that the caller can use; None takes any.
    device, dtype
        Where the module goes and its floating-point type.

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode, with gradients off.
    config : dict
        The whole `config.yaml`.

    Raises
    ------
    UsageError
        If a file is missing or is not what its name says, the kind differs, or the tensors do not fit the model.
    """
    folder = Path(folder)
    config = read_config(folder)
    if kind is not None and config["kind"] != kind:
        raise UsageError(f"{folder}: expected a checkpoint of kind {kind!r}, this one is of kind {config['kind']!r}")
    tensors = _read_weights(folder)
    module = _build_module(folder / CONFIG, config["model"])
    _require_match(folder / WEIGHTS, "the model of its config", module.state_dict(), tensors)
    module.load_state_dict(tensors)
    return module.to(device=device, dtype=dtype).eval().requires_grad_(False), config


def start_from(net: nn.Module, trained: nn.Module, source: Any) -> None:
    """Give a net the weights of a trained one of the same shape.

    Parameters
    ----------
    net
        Gets the weights.
    trained
        Has them.
    source
        Where they are from, for the message.

    Raises
    ------
    UsageError
        If they do not fit; it says which.
    """
    weights = trained.state_dict()
    _require_match(source, "this net", net.state_dict(), weights)
    net.load_state_dict(weights)


def load_weights_only(file: str | Path, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a `.ckpt` or `.pt` of tensors and plain values without running anything that it may contain.

    Parameters
    ----------
    file
        What a trainer or `torch.save` wrote.
    device
        Where its tensors go.

    Returns
    -------
    dict
        The stored mapping, for a Lightning checkpoint with the key ``state_dict``.

    Raises
    ------
    UsageError
        If the file is missing, is damaged, holds objects other than tensors and plain values, or is no mapping.
    """
    file = Path(file)
    if not file.is_file():
        raise UsageError(f"{file} does not exist")
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{file} is not a checkpoint of plain tensors: {first[:200]}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file} holds a {type(content).__name__}, expected a mapping of tensors")
    return content


def sha256(file: str | Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits.

    Parameters
    ----------
    file
        The file, read in blocks.

    Returns
    -------
    str
        The digest.
    """
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _build_module(file: Path, model: Any) -> nn.Module:
    target = locate(model.get(TARGET, "")) if isinstance(model, Mapping) else None
    if not (inspect.isclass(target) and issubclass(target, nn.Module)):
        raise UsageError(f"{file}: 'model' names {target!r}, expected the class of a torch module")
    return build(model)


def _stored(name: str, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    value = value.detach().cpu()
    if not value.is_floating_point():
        return value.clone().contiguous()
    small = value.to(dtype)
    if bool((value.isfinite() & ~small.isfinite()).any()):
        raise UsageError(
            f"{name} overflows in {dtype}: its largest magnitude is {value.abs().max():g}; give a wider dtype"
        )
    return small.clone().contiguous()


def _in_bytes(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = value.detach().cpu().float()
    if not bool(rows.isfinite().all()):
        raise UsageError(f"{name} is not finite: it cannot be stored in eight bits")
    scale = rows.abs().amax(tuple(range(1, rows.ndim)), keepdim=True) / 127
    whole = (rows / torch.where(scale > 0, scale, 1)).round().to(torch.int8)
    return {name: whole.contiguous(), name + _SCALE: scale.contiguous()}


def _from_bytes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    scales = {name.removesuffix(_SCALE): tensors[name] for name in tensors if name.endswith(_SCALE)}
    plain = {name: value for name, value in tensors.items() if not name.endswith(_SCALE)}
    return plain | {name: plain[name] * scale for name, scale in scales.items() if name in plain}


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        pickles = [item.name for item in sorted(folder.glob("*")) if item.suffix in {".pt", ".pth", ".ckpt", ".bin"}]
        hint = f"; {pickles[0]} is a pickle, which is not read: convert it first" if pickles else ""
        raise UsageError(f"{file} does not exist{hint}")
    with open(file, "rb") as stream:
        head = stream.read(9)
    is_safetensors = head[8:] == b"{"  # eight bytes of length may look like anything
    if not is_safetensors and (head[:2] == b"PK" or head[:1] == b"\x80"):
        raise UsageError(f"{file} is a pickle under another name: it is not read, convert it to safetensors first")
    try:
        return _from_bytes(load_file(file))
    except SafetensorError as error:
        raise UsageError(f"{file} is not a whole safetensors file: {error}") from None


def _require_match(
    source: Any, what: str, expected: Mapping[str, torch.Tensor], got: Mapping[str, torch.Tensor]
) -> None:
    faults = [f"missing {name}" for name in expected if name not in got]
    faults += [f"unexpected {name}" for name in got if name not in expected]
    faults += [
        f"{name} has shape {list(got[name].shape)}, expected {list(value.shape)}"
        for name, value in expected.items()
        if name in got and got[name].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise UsageError(f"{source} does not fit {what}: {'; '.join(faults[:5])}{more}")
