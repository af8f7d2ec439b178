"""Detail, agreement with the input, and seams: what PSNR does not see."""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.restoration.metrics.fidelity import psnr
from fewstep.restoration.metrics.luma import luma, paired, pictured


def hf_ratio(x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
    """Energy of the Laplacian of the luma over that of the reference: 1 is as much detail, below 1 is smoother.

    Parameters
    ----------
    x, reference
        [rows, columns] or [rows, columns, 1 or 3], at least 3 pixels a side.
    data_range
        The value of white.

    Raises
    ------
    UsageError
        If the shapes differ or the reference is flat.
    """
    a, b = paired(x, reference)
    energies = [float(np.square(_laplacian(luma(p, data_range=data_range))).sum()) for p in (a, b)]
    if energies[1] == 0:
        raise UsageError("the reference has no detail to compare with")
    return energies[0] / energies[1]


def lr_consistency(x: np.ndarray, lq: np.ndarray, *, data_range: float) -> float:
    """PSNR in dB of the input and the result shrunk to it by MATLAB's bicubic.

    Parameters
    ----------
    x
        [scale * rows, scale * columns, ...].
    lq
        [rows, columns, ...].
    data_range
        The value of white.

    Raises
    ------
    UsageError
        If `x` is not a whole number of times as large.
    """
    import torch

    from fewstep.restoration.degrade.imresize import imresize

    a, b = pictured(x), pictured(lq)
    scale = a.shape[0] // b.shape[0]
    if a.shape != (b.shape[0] * scale, b.shape[1] * scale, b.shape[2]):
        raise UsageError(f"expected a whole multiple of the input's size {list(b.shape)}, got {list(a.shape)}")
    small = imresize(torch.from_numpy(a.transpose(2, 0, 1).copy()), size=(b.shape[0], b.shape[1]))
    return psnr(small.numpy().transpose(1, 2, 0), b, data_range=data_range)


def seam_index(x: np.ndarray, *, tile: int) -> float:
    """Mean difference of neighbours across tile lines over that of all other neighbours; 1 where there is no seam.

    Parameters
    ----------
    x
        [rows, columns] or [rows, columns, channels].
    tile
        Lines lie between pixels k·tile − 1 and k·tile.

    Raises
    ------
    UsageError
        If no line lies inside, or the picture is flat.
    """
    a = pictured(x)
    on: list[np.ndarray] = []
    off: list[np.ndarray] = []
    for axis in (0, 1):
        steps = np.abs(np.diff(a, axis=axis)).mean((1 - axis, 2))
        line = (np.arange(len(steps)) + 1) % tile == 0
        on.append(steps[line])
        off.append(steps[~line])
    lines, others = np.concatenate(on), np.concatenate(off)
    if not len(lines) or not len(others) or others.mean() == 0:
        raise UsageError(
            f"no line of tiles of {tile} pixels lies inside of {list(a.shape[:2])}, or the picture is flat"
        )
    return float(lines.mean() / others.mean())


def _laplacian(y: np.ndarray) -> np.ndarray:
    if min(y.shape) < 3:
        raise UsageError(f"expected at least 3 pixels a side, got {list(y.shape)}")
    return y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]
