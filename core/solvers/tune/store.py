"""A tuned table beside the weights that it was tuned for: ``<name>.tableau.safetensors`` with the net's fingerprint."""

import hashlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import nn

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.tableau import Tableau

SUFFIX = ".tableau.safetensors"


def fingerprint(net: nn.Module) -> str:
    """A digest of the net's weights and their names.

    Parameters
    ----------
    net
        Any.

    Returns
    -------
    str
        16 hexadecimal digits; the same on every device.
    """
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(f"{name} {list(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save(table: Tableau, file: str | Path, *, net: nn.Module | str) -> Path:
    """Write a table for one net.

    Parameters
    ----------
    table
        Any.
    file
        Ends in ``.tableau.safetensors``.
    net
        What it was tuned for, or its `fingerprint`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        If the name ends otherwise.
    """
    file = Path(file)
    if not file.name.endswith(SUFFIX):
        raise UsageError(f"expected a file that ends in {SUFFIX}, got {file.name}")
    table.save(file)
    metadata = _metadata(file) | {"net": net if isinstance(net, str) else fingerprint(net)}
    save_file(load_file(file), file, metadata)
    return file


def load(file: str | Path, *, net: nn.Module | str, path: AffinePath, steps: int | None = None) -> Tableau:
    """Read a table, for the net and the path that it was tuned for only.

    Parameters
    ----------
    file
        What `save` wrote.
    net
        What is to be sampled, or its `fingerprint`.
    path
        Its process.
    steps
        How many steps are wanted; default whatever the table has.

    Returns
    -------
    Tableau

    Raises
    ------
    UsageError
        If the file is no table, or was tuned for another net, path or number of steps.
    FileNotFoundError
        If there is no such file.
    """
    table = Tableau.load(file)
    ours, theirs = net if isinstance(net, str) else fingerprint(net), _metadata(Path(file)).get("net")
    if ours != theirs:
        raise UsageError(f"{file} was tuned for the net {theirs}, not for {ours}: tune again with solvers.tune")
    if steps not in (None, table.steps):
        raise UsageError(f"{file} was tuned for {table.steps} steps, not for {steps}: tune again with solvers.tune")
    return table.tableau(path)


def _metadata(file: Path) -> dict[str, str]:
    with safe_open(str(file), framework="numpy") as stored:
        return dict(stored.metadata() or {})
