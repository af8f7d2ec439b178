"""Samples of student and teacher side by side, kept during training: arrays, and a picture where they are pictures."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

KEPT, SHOWN = 64, 8


def save_samples(folder: Path, iteration: int, found: Mapping[str, Tensor]) -> Path:
    """Write the first items of each set.

    Parameters
    ----------
    folder
        Where; made if absent.
    iteration
        Names the files.
    found
        Name -> samples [batch, ...].

    Returns
    -------
    pathlib.Path
        ``<iteration>.safetensors``; ``<iteration>.png`` beside it if the samples are pictures [batch, 1 or 3, rows,
        columns] in [-1, 1], one row for each name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{iteration:07d}.safetensors"
    part = file.with_name(f".{file.name}")
    save_file({name: items[:KEPT].detach().cpu().contiguous() for name, items in found.items()}, part)
    part.replace(file)
    if all(_is_picture(items) for items in found.values()):
        _draw(file.with_suffix(".png"), found)
    return file


def _is_picture(items: Tensor) -> bool:
    return items.ndim == 4 and items.shape[1] in (1, 3) and not items.is_complex()


def _draw(file: Path, found: Mapping[str, Tensor]) -> None:
    from matplotlib.image import imsave

    rows = [torch.cat(list(items[:SHOWN].detach().float().cpu()), dim=-1) for items in found.values()]
    sheet = torch.cat(rows, dim=-2).expand(3, -1, -1).permute(1, 2, 0).clamp(-1, 1) * 0.5 + 0.5
    part = file.with_name(f".{file.name}")
    imsave(part, sheet.numpy(), format="png")
    part.replace(file)
