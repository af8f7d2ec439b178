"""Restore pictures of any kind and size: the mean in one call, samples in a few, or anything between them.

>>> from fewstep.restoration import Restorer
>>> restorer = Restorer.load("sr-x4")
>>> large = restorer(image)  # a Pillow image, an array or a tensor; the same kind comes back
>>> lively = restorer(image, steps=4, seed=1)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.restoration import deconvolve, kinds, pretrained, run
from fewstep.restoration.kinds import Raster
from fewstep.restoration.model import Restoration
from fewstep.restoration.picture.alpha import bled
from fewstep.restoration.results import Draws, Restored, statistics
from fewstep.restoration.run import How, Progress

MODES = ("mean", "sample")

EXACT = ("resize", "quantize")
"""Steps of a recipe that back-projection inverts."""


@dataclass(frozen=True)
class Restorer:
    """A checkpoint, ready to be called.

    Parameters
    ----------
    model
        See `fewstep.restoration.model`.
    seed
        Default of the calls.
    name
        Of the model, for reports.
    """

    model: Restoration
    seed: int = 0
    name: str = "model"

    @classmethod
    def load(cls, name: str | Path = "sr-x4", *, device: str | torch.device = "auto", seed: int = 0) -> Restorer:
        """Load by name.

        Parameters
        ----------
        name
            ``"sr-x4"``, ``"denoise"``, ``"deblur"``, ``"inpaint"``, a folder or a hub id.
        device
            Where the net runs; ``"auto"``: a GPU if there is one.
        seed
            Default of the calls.

        Returns
        -------
        Restorer

        Raises
        ------
        UsageError
            If there is no such model, or the device cannot be used.
        """
        where = ("cuda" if torch.cuda.is_available() else "cpu") if str(device) == "auto" else device
        try:
            torch.empty(1, device=where)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {where} cannot be used here: {str(error).splitlines()[0]}") from None
        return cls(pretrained.load(name, device=where), seed, Path(name).name)

    def __call__(self, image: Any, **options: Any) -> Any:
        """Restore; options as for `restore`, of which only the picture is returned."""
        return self.restore(image, **options).image

    def restore(
        self,
        image: Any,
        *,
        mode: str | None = None,
        steps: int | None = None,
        fidelity: float | None = None,
        mask: Any = None,
        seed: int | None = None,
        samples: int = 1,
        tile: int | str = "auto",
        consistent: bool | None = None,
        origin: tuple[int, int] = (0, 0),
        kernel: Any = None,
        noise: float | None = None,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a picture, or each of a batch.

        Parameters
        ----------
        image
            See `fewstep.restoration.kinds.opened`. Gray stays gray. Transparency is enlarged by the same net for
            ``"sr"`` and kept for other tasks.
        mode
            ``"mean"``: least error, one call; ``"sample"``: one of the likely pictures, `steps` calls. Default: a
            sample if steps, samples or a fidelity below 1 are asked for, else the mean.
        steps
            Of a sample; default the checkpoint's. 1 is the student's call where there is one.
        fidelity
            1 is the mean, 0 a sample; between them, a blend of both.
        mask
            For inpainting: white is filled; of the picture's size.
        seed
            Equal seeds give equal pictures, in any batch and with any tile; default the restorer's.
        samples
            Average so many samples.
        tile
            Side in pixels of the result, 0 for none, ``"auto"`` by the memory that is free. It does not show.
        consistent
            Make the result of super-resolution agree with its input; default: if the checkpoint was trained on
            bicubic shrinking alone.
        origin
            Row and column at which the picture lies in a larger one of which it is a part: the noise of that place.
        kernel
            Take this known blur out, with a model for ``"denoise"``: how the picture of a point looks, an array or
            tensor of numbers [rows, columns], or a picture of it; see `fewstep.restoration.deconvolve`. `steps`
            (default 3) network calls.
        noise
            Beside a known blur: its standard deviation in levels of 255; default: measured.
        progress
            Called with the part that is done.

        Returns
        -------
        Restored

        Raises
        ------
        UsageError
            If the picture, the mask or an option is not as described.
        """
        how = self.how(
            mode=mode, steps=steps, fidelity=fidelity, seed=seed, samples=samples, tile=tile, consistent=consistent,
            origin=origin, kernel=kernel, noise=noise,
        )  # fmt: skip
        rasters, close = kinds.opened(image)
        hole, warnings = self._hole(mask, rasters)
        made = [self._one(raster, hole, how, progress)[0] for raster in rasters]
        return Restored(close(made), how.calls, warnings)

    def draw(self, image: Any, n: int = 8, **options: Any) -> Draws:
        """Draw several samples of a picture.

        Parameters
        ----------
        image
            One picture.
        n
            How many, at least 2.
        options
            As for `restore`.

        Returns
        -------
        Draws

        Raises
        ------
        UsageError
            If there are fewer than two samples, or several pictures.
        """
        how, progress, hole, raster, close, warnings = self._drawing(image, n, options)
        drawn = []
        for k in range(n):
            part = None if progress is None else _part(progress, k, n)
            drawn.append(self._one(raster, hole, replace(how, samples=(k,)), part)[0])
        mean, std = statistics(drawn)
        return Draws([close([one]) for one in drawn], close([mean]), _like(image, std), how.calls * n, warnings)

    def uncertainty(self, image: Any, n: int = 8, **options: Any) -> Any:
        """Standard deviation over `n` samples: where the picture leaves open what was there.

        Parameters
        ----------
        image, n, options
            As for `draw`.

        Returns
        -------
        numpy.ndarray or Tensor
            float32 [rows, columns], white being 1, root mean square over the colours.
        """
        how, progress, hole, raster, _, _ = self._drawing(image, n, options)
        _, std = self._one(raster, hole, replace(how, samples=tuple(range(n))), progress)
        assert std is not None  # there are at least two samples
        return _like(image, std)

    def _drawing(self, image: Any, n: int, options: dict[str, Any]) -> tuple:
        if n < 2:
            raise UsageError(f"expected at least 2 samples, got {n}")
        options = ({"mode": "sample"} if options.get("fidelity") is None else {}) | options
        progress, mask = options.pop("progress", None), options.pop("mask", None)
        known = ("mode", "steps", "fidelity", "seed", "tile", "consistent", "origin")
        unknown = set(options) - set(known)
        if unknown:
            raise UsageError(f"no such option: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
        how = self.how(**options, samples=1)
        if how.fidelity == 1:
            raise UsageError("the mean takes one call: samples are for mode 'sample', or a fidelity below 1")
        rasters, close = kinds.opened(image)
        if len(rasters) != 1:
            raise UsageError(f"expected one picture, got a batch of {len(rasters)}")
        hole, warnings = self._hole(mask, rasters)
        return how, progress, hole, rasters[0], close, warnings

    def how(
        self,
        *,
        mode: str | None = None,
        steps: int | None = None,
        fidelity: float | None = None,
        seed: int | None = None,
        samples: int = 1,
        tile: int | str = "auto",
        consistent: bool | None = None,
        origin: tuple[int, int] = (0, 0),
        kernel: Any = None,
        noise: float | None = None,
    ) -> How:
        """What the options of `restore` mean for this checkpoint.

        Raises
        ------
        UsageError
            If one is not as described, or two exclude each other.
        """
        if mode is not None and mode not in MODES:
            raise UsageError(f"mode is one of {', '.join(MODES)}, got {mode!r}")
        if samples < 1:
            raise UsageError(f"samples is at least 1, got {samples}")
        if tile != "auto" and not (isinstance(tile, int) and tile >= 0):
            raise UsageError(f"tile is 'auto', 0 or a number of pixels, got {tile!r}")
        if kernel is not None or noise is not None:
            return self._deblurring(
                kernel, noise, steps, tile, plain=mode != "sample" and fidelity in (None, 1.0) and samples == 1
            )
        if fidelity is None:
            asked = steps is not None or samples > 1 or self.model.method == "ir-sde"  # whose nets know no mean
            drawn = mode == "sample" or (mode is None and asked)
            fidelity = 0.0 if drawn else 1.0
        elif mode is not None and fidelity != (1.0 if mode == "mean" else 0.0):
            raise UsageError(f"mode {mode} is fidelity {1 if mode == 'mean' else 0}, got both it and {fidelity}")
        if fidelity == 1 and (steps is not None or samples > 1):
            raise UsageError("the mean takes one call: steps and samples are for mode 'sample', or a fidelity below 1")
        exact = all(step["op"] in EXACT for step in self.model.recipe.get("steps", ()))
        return How(
            steps=self.model.steps if steps is None else steps,
            fidelity=fidelity,
            seed=self.seed if seed is None else seed,
            samples=tuple(range(samples)),
            origin=origin,
            tile=None if isinstance(tile, str) else tile,
            consistent=exact if consistent is None else consistent,
        )

    def _deblurring(self, kernel: Any, noise: float | None, steps: int | None, tile: int | str, *, plain: bool) -> How:
        if kernel is None:
            raise UsageError("noise is told beside a kernel: blind models measure it")
        if self.model.task != "denoise" or self.model.method == "ir-sde":
            raise UsageError(
                f"a known kernel is taken out with a denoiser that has a mean, this model is for {self.model.task}: "
                'load "denoise"'
            )
        if not plain:
            raise UsageError("with a kernel there is one answer: leave out mode 'sample', fidelity and samples")
        if noise is not None and not 0 <= noise <= 255:
            raise UsageError(f"noise is from 0 to 255 levels, got {noise}")
        return How(
            steps=deconvolve.STEPS if steps is None else steps,
            tile=None if isinstance(tile, str) else tile,
            kernel=deconvolve.kernel_of(kinds.numbers(kernel)),
            noise=None if noise is None else noise / 127.5,
        )

    def _hole(self, mask: Any, rasters: list[Raster]) -> tuple[np.ndarray | None, tuple[str, ...]]:
        if self.model.task != "inpaint":
            if mask is not None:
                raise UsageError(f"a mask is for inpainting, this model is for {self.model.task}")
            return None, ()
        if mask is None:
            raise UsageError("inpainting needs a mask: white is filled")
        sizes = {raster.pixels.shape[:2] for raster in rasters}
        hole = kinds.mask_of(mask, next(iter(sizes)))
        if hole.all():
            raise UsageError("the mask is white throughout: nothing is left to fill from (white is filled)")
        return hole, () if hole.any() else ("the mask is black throughout: nothing was filled (white is filled)",)

    def _one(
        self, raster: Raster, hole: np.ndarray | None, how: How, progress: Progress | None
    ) -> tuple[Raster, np.ndarray | None]:
        if hole is not None and not hole.any():
            return raster, None if len(how.samples) == 1 else np.zeros(hole.shape, np.float32)
        pixels = raster.pixels if raster.alpha is None else bled(raster.pixels, raster.alpha)
        made, std = self._planes(pixels, hole, how, progress)
        alpha = raster.alpha
        if alpha is not None and self.model.scale > 1:
            if (alpha == alpha.flat[0]).all():
                alpha = np.full(made.shape[:2], alpha.flat[0], alpha.dtype)
            else:
                alpha = self._planes(alpha[:, :, None], None, replace(how, fidelity=1.0), None)[0][:, :, 0]
        return Raster(made, alpha), std

    def _planes(
        self, pixels: np.ndarray, hole: np.ndarray | None, how: How, progress: Progress | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Restore [rows, columns, 1 or 3]; the standard deviation too if there are several samples."""
        top = Raster(pixels).top
        values = torch.from_numpy(np.ascontiguousarray(pixels).astype(np.float32))
        lq = values.mul_(2 / top).sub_(1).permute(2, 0, 1)[None].to(self.model.device)
        lq = lq.expand(1, 3, -1, -1).contiguous()
        mask = None if hole is None else torch.from_numpy(hole).to(lq)[None, None]
        size = (pixels.shape[0] * self.model.scale, pixels.shape[1] * self.model.scale)
        out = np.empty((*size, pixels.shape[2]), pixels.dtype)
        std = np.empty(size, np.float32) if len(how.samples) > 1 and how.fidelity < 1 else None
        for block in run.blocks(self.model, lq, how, mask=mask, progress=progress):
            out[block.rows, block.columns] = _values(block.mean[0], pixels.shape[2], out.dtype, top)
            if std is not None and block.std is not None:
                std[block.rows, block.columns] = block.std[0].square().mean(0).sqrt().cpu().numpy() / 2
        if hole is not None:
            out[~hole] = pixels[~hole]
        return out, std


def _values(x: Tensor, channels: int, dtype: np.dtype, top: float) -> np.ndarray:
    """[3, rows, columns] in [-1, 1] as [rows, columns, channels] of a dtype whose white is `top`."""
    x = x.mean(0, keepdim=True) if channels == 1 else x
    values = x.add(1).mul_(top / 2).clamp_(0, top).permute(1, 2, 0).cpu().numpy()
    return (np.rint(values) if dtype.kind == "u" else values).astype(dtype)


def _like(image: Any, std: np.ndarray) -> Any:
    return torch.from_numpy(std).to(image.device) if isinstance(image, torch.Tensor) else std


def _part(progress: Progress, k: int, n: int) -> Progress:
    return lambda done: progress((k + done) / n)
