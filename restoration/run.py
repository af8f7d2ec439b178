"""One restoration on the canvas: padding, mean and sample, fidelity, agreement with the input; block by block if large.

    out = P(f · mean + (1 − f) · sample),     f the fidelity, P: x <- clip(x + up(lq − down(x))) a few times, for `sr`

Between the mean (least error) and a posterior sample (most likeness), the straight line is optimal (Freirich et al.
2021, arXiv:2107.02555, theorem 2 and 4). P: `fewstep.restoration.project`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fewstep.core import times
from fewstep.core.errors import UsageError
from fewstep.core.sample import sample
from fewstep.restoration.deconvolve import deconvolved
from fewstep.restoration.model import Restoration
from fewstep.restoration.models.denoiser import means_once
from fewstep.restoration.noise import Positioned
from fewstep.restoration.project import ROUNDS, back_projected, padded
from fewstep.restoration.tile import auto_size, tiled, windows

WHOLE = 1 << 24
"""Canvases of more pixels are worked on in blocks."""

BLOCK, SMALLEST = 3072, 1024
"""Side of a block with its surroundings, and the least that is kept of one: many steps need wide surroundings."""

REMEMBERED = 1 << 22
"""Canvases of up to so many pixels keep the mean and its features from step to step: up to 80 bytes a pixel."""

Progress = Callable[[float], None]
"""Called with the part that is done, 0 to 1."""


@dataclass(frozen=True)
class How:
    """What is asked of a model.

    Parameters
    ----------
    steps
        Of a sample; 1 is the student's call where there is one.
    fidelity
        1 is the mean (one call), 0 a sample, between them a blend.
    seed
        Of the noise.
    samples
        Numbers of the samples that are averaged.
    origin
        Row and column of the first input pixel on the plane of noise, in input pixels.
    tile
        Side of a tile on the canvas in pixels, 0: no tiles; None: by the memory that is free.
    consistent
        Make the result of ``"sr"`` agree with its input at the end.
    solver
        Another one than `Restoration.solver_of`'s.
    kernel
        Take this blur out, with a model for ``"denoise"``; see `fewstep.restoration.deconvolve`.
    noise
        Beside the blur: its standard deviation in units of [-1, 1]; None: measured.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    steps: int = 4
    fidelity: float = 1.0
    seed: int = 0
    samples: Sequence[int] = (0,)
    origin: tuple[int, int] = (0, 0)
    tile: int | None = None
    consistent: bool = True
    solver: Any = None
    kernel: Tensor | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.fidelity <= 1 and self.steps >= 1 and self.seed >= 0 and len(self.samples) >= 1):
            raise UsageError(
                "expected fidelity from 0 to 1, steps and samples of at least 1 and a seed of at least 0, got "
                f"{self.fidelity}, {self.steps}, {len(self.samples)}, {self.seed}"
            )
        if min(self.origin) < 0 or (self.tile is not None and self.tile < 0):
            raise UsageError(f"expected an origin and a tile of at least 0, got {self.origin}, {self.tile}")

    @property
    def calls(self) -> int:
        """Network calls for one pixel."""
        if self.kernel is not None:
            return self.steps
        return (self.fidelity > 0) + (self.steps * len(self.samples) if self.fidelity < 1 else 0)


class Block(NamedTuple):
    """A part of the result: where it lies on the canvas, and its values [batch, 3, rows, columns] in [-1, 1]."""

    rows: slice
    columns: slice
    mean: Tensor
    std: Tensor | None
    """Over the samples, shaped like `mean`; None for one sample."""


def blocks(
    model: Restoration, lq: Tensor, how: How, *, mask: Tensor | None = None, progress: Progress | None = None
) -> Iterator[Block]:
    """Restore a picture; each pixel of the canvas comes once.

    Parameters
    ----------
    model
        The checkpoint.
    lq
        Float32 [batch, 3, rows, columns] in [-1, 1].
    how
        What is asked.
    mask
        Float [batch, 1, rows, columns], 1 is unknown; for inpainting.
    progress
        Told the part that is done.

    Yields
    ------
    Block
        On ``model.device``.

    Raises
    ------
    UsageError
        If the model gives no samples and they are asked for, or a mask is missing.
    """
    if how.fidelity < 1 and model.method == "regression":
        raise UsageError("this model knows the mean only: leave out steps and samples, or take another model")
    if how.kernel is not None:
        yield _deblurred(model, lq, how, progress)
        return
    size = (lq.shape[-2] * model.scale, lq.shape[-1] * model.scale)
    grid = math.lcm(model.multiple, model.scale)
    lq, mask = padded(lq, grid // model.scale), None if mask is None else padded(mask, grid // model.scale)
    canvas = (lq.shape[-2] * model.scale, lq.shape[-1] * model.scale)
    with torch.inference_mode():
        told = model.told(lq, mask, seed=how.seed)
    large = canvas[0] * canvas[1] > WHOLE
    context = (model.margin * max(1, how.steps if how.fidelity < 1 else 1)) + 5 * model.scale * ROUNDS
    side = max(BLOCK - 2 * context, SMALLEST) if large else max(canvas)
    pieces = list(windows(canvas, side, margin=context, multiple=grid))
    meter = _Meter(progress, len(pieces) * how.calls)
    for piece in pieces:
        rows, columns = (slice(o.start // model.scale, o.stop // model.scale) for o in piece.outer)
        corner = (how.origin[0] + rows.start, how.origin[1] + columns.start)
        mean, std = _block(
            model,
            lq[..., rows, columns],
            how,
            None if mask is None else mask[..., rows, columns],
            told,
            (corner[0] * model.scale, corner[1] * model.scale),
            meter,
        )
        keep = [slice(k.start, min(k.stop, n)) for k, n in zip(piece.keep, size, strict=True)]
        if min(k.stop - k.start for k in keep) > 0:
            inner = [slice(i.start, i.start + k.stop - k.start) for i, k in zip(piece.inner, keep, strict=True)]
            cut = (..., inner[0], inner[1])
            yield Block(keep[0], keep[1], mean[cut], None if std is None else std[cut])


def whole(
    model: Restoration, lq: Tensor, how: How, *, mask: Tensor | None = None, progress: Progress | None = None
) -> Tensor:
    """The result of `blocks` in one tensor, float32 [batch, 3, scale * rows, scale * columns]."""
    out = lq.new_empty(lq.shape[0], 3, lq.shape[-2] * model.scale, lq.shape[-1] * model.scale)
    for block in blocks(model, lq, how, mask=mask, progress=progress):
        out[..., block.rows, block.columns] = block.mean
    return out


def _deblurred(model: Restoration, lq: Tensor, how: How, progress: Progress | None) -> Block:
    assert how.kernel is not None
    size = auto_size(min(model.multiple, 4)) if how.tile is None else how.tile
    mean = tiled(
        lambda x, t, lq, mask, told: model.mean(lq), scale=1, size=size, margin=model.margin, multiple=model.multiple
    )
    with torch.inference_mode():
        made = deconvolved(
            lambda x: mean(None, None, x, None, None), lq, how.kernel, noise=how.noise, steps=how.steps,
            multiple=model.multiple, progress=progress,
        )  # fmt: skip
    return Block(slice(0, lq.shape[-2]), slice(0, lq.shape[-1]), made, None)


def _block(
    model: Restoration,
    lq: Tensor,
    how: How,
    mask: Tensor | None,
    told: Any,
    corner: tuple[int, int],
    meter: _Meter,
) -> tuple[Tensor, Tensor | None]:
    options: dict[str, Any] = {
        "scale": model.scale,
        "size": auto_size(min(model.multiple, 4)) if how.tile is None else how.tile,
        "margin": model.margin,
        "multiple": model.multiple,
        "tick": meter.within,
    }
    small = lq.shape[-2] * lq.shape[-1] * model.scale**2 <= REMEMBERED
    with torch.inference_mode(), means_once() if small else nullcontext():
        mean = None
        if how.fidelity > 0:
            call = tiled(lambda x, t, lq, mask, told: model.mean(lq, mask, told), **options)
            mean = meter.call(call, None, None, lq, mask, told)
        if how.fidelity == 1:
            assert mean is not None
            return _agreeing(model, mean, lq, how), None
        total = square = None
        for number in how.samples:
            one = _sample(model, lq, how, mask, told, Positioned(how.seed, number, corner), options, meter)
            one = one if mean is None else one.lerp_(mean, how.fidelity)
            one = _agreeing(model, one, lq, how)
            if len(how.samples) == 1:
                return one, None
            total = one.clone() if total is None else total.add_(one)
            square = one.square_() if square is None else square.addcmul_(one, one)
        assert total is not None
        assert square is not None
        n = len(how.samples)
        average = total.div_(n)
        return average, square.div_(n).sub_(average.square()).clamp_(min=0).mul_(n / (n - 1)).sqrt_()


def _sample(
    model: Restoration,
    lq: Tensor,
    how: How,
    mask: Tensor | None,
    told: Any,
    noise: Positioned,
    options: dict[str, Any],
    meter: _Meter,
) -> Tensor:
    if how.steps == 1 and how.solver is None and model.has_student:
        call = tiled(lambda x, t, lq, mask, told: model.one(x, lq, mask, told), **options)
        eps = noise.fill(lq.new_empty(len(lq), 3, lq.shape[-2] * model.scale, lq.shape[-1] * model.scale), 0)
        return meter.call(call, eps, None, lq, mask, told)
    forward = tiled(model.forward, **options)
    start = model.start(lq, mask)
    solver = how.solver or model.solver_of(how.steps)
    return sample(
        lambda x, t: meter.call(forward, x, t, lq, mask, told),
        model.path,
        times=grid(model, how.steps),
        solver=solver,
        x=noise.prior(model.path, start),
        y=start,
        noise=noise,
        generator=0,
    ).x


def grid(model: Restoration, steps: int) -> Tensor:
    """Times of a chain, float64 [steps + 1], falling to 0.

    ResShift's last step starts from its smallest trained noise, however many steps there are; others have even steps.
    With ``first_sigma`` in the config, chains of more steps than the model was made for go there in one step, and from
    there evenly in log sigma.
    """
    path = model.path
    first = model.first_sigma
    if first is not None and steps > max(2, model.steps):
        later = times.uniform_logsnr(path, steps - 1, start=float(path.inverse(-math.log(first))))
        return torch.cat([torch.tensor([path.t_max], dtype=later.dtype), later])
    if not path.key.startswith("resshift") or steps == 1:
        return times.uniform(path, steps)
    return torch.cat([times.uniform(path, steps - 1, end=path.t_min), torch.zeros(1, dtype=torch.float64)])


def _agreeing(model: Restoration, x: Tensor, lq: Tensor, how: How) -> Tensor:
    x = x.clamp_(-1, 1)
    return back_projected(x, lq, model.scale) if how.consistent and model.task == "sr" else x


class _Meter:
    """Counts calls, and tiles within them, for a progress bar."""

    def __init__(self, progress: Progress | None, calls: int) -> None:
        self.progress, self.calls, self.done = progress, calls, 0

    def within(self, tiles: int, of: int) -> None:
        if self.progress is not None:
            self.progress(min(1.0, (self.done + tiles / of) / self.calls))

    def call(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        answer = function(*arguments)
        self.done += 1
        return answer
