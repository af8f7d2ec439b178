"""Pictures in, the same kind out: Pillow images, NumPy arrays, torch tensors and `Picture`, all as rasters between.

A raster is [rows, columns, 1 or 3] with its transparency beside it, uint8, uint16, or float32 where white is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fewstep.core.errors import UsageError
from fewstep.restoration.picture.picture import Picture, of_pil, to_pil

LOWEST, HIGHEST = -4.0, 5.0
"""Floats beyond are no picture in [0, 1], however noisy."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels [rows, columns, 1 or 3] and transparency [rows, columns] of the same dtype, or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None

    @property
    def top(self) -> float:
        """The value of white."""
        return float(np.iinfo(self.pixels.dtype).max) if self.pixels.dtype.kind == "u" else 1.0


Close = Callable[[list[Raster]], Any]


def opened(image: Any) -> tuple[list[Raster], Close]:
    """Rasters of any kind of picture, and how to make the same kind of rasters.

    Parameters
    ----------
    image
        A Pillow image; an array [rows, columns] or [rows, columns, 1 to 4], uint8, uint16 or float in [0, 1]; a tensor
        [1 to 4, rows, columns] or with a batch before, uint8 or float in [0, 1]; a `Picture`. Two and four channels are
        gray and RGB with transparency.

    Returns
    -------
    rasters : list of Raster
    close : callable
        ``close(rasters)``: floats are clipped to [0, 1].

    Raises
    ------
    UsageError
        If it is no such thing, or floats are not finite or far from [0, 1].
    """
    if isinstance(image, Picture):
        return [Raster(image.pixels, image.alpha)], lambda made: replace(
            image, pixels=made[0].pixels, alpha=made[0].alpha
        )
    if isinstance(image, np.ndarray):
        return _array(image)
    if isinstance(image, torch.Tensor):
        return _tensor(image)
    if hasattr(image, "getbands"):
        return _pil(image)
    raise UsageError(
        f"expected a Pillow image, an array or a tensor, got {type(image).__name__}: "
        "read files with fewstep.restoration.picture.read"
    )


def mask_of(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """bool [rows, columns], True is to be filled.

    Parameters
    ----------
    mask
        As `opened` takes pictures, or bool; above half white is True. Any channel, and transparency does not count.
    size
        Rows and columns of the picture.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    UsageError
        If it has another size than the picture, or several items.
    """
    if isinstance(mask, (np.ndarray, torch.Tensor)) and mask.dtype in (np.bool_, torch.bool):
        mask = (mask.astype(np.uint8) if isinstance(mask, np.ndarray) else mask.to(torch.uint8)) * 255
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        mask = mask[None]
    rasters, _ = opened(mask)
    if len(rasters) != 1:
        raise UsageError(f"expected one mask, got {len(rasters)}")
    found = (rasters[0].pixels.astype(np.float32) / rasters[0].top).max(2) > 0.5
    if found.shape != size:
        raise UsageError(
            f"the mask is {found.shape[1]} x {found.shape[0]} pixels, the picture {size[1]} x {size[0]}: "
            "they must be equal (a mask is not resized; white is filled)"
        )
    return found


def numbers(image: Any) -> torch.Tensor:
    """Numbers [rows, columns] as they are, or of a picture: the mean of its colours, transparency does not count.

    Parameters
    ----------
    image
        A two-dimensional array or tensor of any numbers, or as `opened` takes pictures.

    Returns
    -------
    Tensor
        float64, [rows, columns].

    Raises
    ------
    UsageError
        If it is no such thing, or several pictures.
    """
    if isinstance(image, (np.ndarray, torch.Tensor)) and image.ndim == 2:
        values = torch.as_tensor(image)
        if values.is_complex():
            raise UsageError("expected real numbers, got complex ones")
        return values.detach().cpu().double()
    rasters, _ = opened(image)
    if len(rasters) != 1:
        raise UsageError(f"expected one picture, got {len(rasters)}")
    return torch.from_numpy(rasters[0].pixels.astype(np.float64).mean(2))


def _pil(image: Any) -> tuple[list[Raster], Close]:
    picture = of_pil(image)
    keys = ("exif", "dpi") if picture.warnings else ("exif", "dpi", "icc_profile")  # a new colour space has no profile
    told = {key: image.info[key] for key in keys if key in image.info}

    def close(made: list[Raster]) -> Any:
        out = to_pil(Picture(made[0].pixels, made[0].alpha))
        out.info.update(told)
        return out

    return [Raster(picture.pixels, picture.alpha)], close


def _array(image: np.ndarray) -> tuple[list[Raster], Close]:
    values = image[:, :, None] if image.ndim == 2 else image
    if values.ndim != 3 or 0 in values.shape or values.shape[2] > 4:
        raise UsageError(f"expected an array [rows, columns] or [rows, columns, 1 to 4], got {list(image.shape)}")
    raster, dtype, flat = _split(values), image.dtype, image.ndim == 2

    def close(made: list[Raster]) -> np.ndarray:
        joined = _joined(made[0]).astype(dtype, copy=False)
        return joined[:, :, 0] if flat else joined

    return [raster], close


def _tensor(image: torch.Tensor) -> tuple[list[Raster], Close]:
    batch = image if image.ndim == 4 else image[None]
    if image.ndim not in (3, 4) or 0 in image.shape or batch.shape[1] > 4:
        raise UsageError(f"expected a tensor [1 to 4, rows, columns] or with a batch before, got {list(image.shape)}")
    if not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UsageError(f"expected a tensor of uint8 or floats in [0, 1], got {image.dtype}")
    plain = batch.detach().cpu()
    plain = plain if image.dtype == torch.uint8 else plain.float()
    rasters = [_split(item.permute(1, 2, 0).numpy()) for item in plain]

    def close(made: list[Raster]) -> torch.Tensor:
        items = [torch.from_numpy(np.ascontiguousarray(_joined(raster).transpose(2, 0, 1))) for raster in made]
        joined = torch.stack(items).to(image.device, image.dtype)
        return joined if image.ndim == 4 else joined[0]

    return rasters, close


def _split(values: np.ndarray) -> Raster:
    if values.dtype not in (np.uint8, np.uint16):
        if values.dtype.kind != "f":
            raise UsageError(f"expected uint8, uint16 or floats in [0, 1], got {values.dtype}")
        values = values.astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise UsageError("some values are not finite (NaN or infinite)")
        low, high = float(values.min()), float(values.max())
        if low < LOWEST or high > HIGHEST:
            raise UsageError(f"expected floats in [0, 1], got {low:g} to {high:g}: divide by the value of white")
    colours = 1 if values.shape[2] < 3 else 3
    alpha = values[:, :, colours] if values.shape[2] > colours else None
    return Raster(values[:, :, :colours], alpha)


def _joined(raster: Raster) -> np.ndarray:
    if raster.alpha is None:
        return raster.pixels
    return np.concatenate([raster.pixels, raster.alpha[:, :, None]], axis=2)
