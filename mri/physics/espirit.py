"""ESPIRiT: coil maps as the eigenvectors of what the calibration region says about neighbouring samples, batched.

With W the projection onto the row space of the calibration matrix, the averaged projection of all patches is a
convolution, and at each pixel a matrix of coils by coils

    G(r) = 1/n sum_d w(d) exp(−2 pi i d r / N),     w(d) = sum over pairs of samples of a patch that are d apart of W

whose eigenvector of eigenvalue 1 is the coil map. Uecker et al. 2014, doi:10.1002/mrm.24751, section "ESPIRiT".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

SQUARINGS = 7
"""G is raised to the power 2**7, which leaves (second / first eigenvalue)**128 of the second eigenvector."""

CHUNK = 2**15
"""Pixels whose matrices are in memory at a time."""


def espirit(
    acs: Tensor,
    shape: tuple[int, int],
    *,
    kernel: tuple[int, int],
    threshold: float = 0.02,
    step: int = 1,
) -> tuple[Tensor, Tensor]:
    """Coil maps and their eigenvalues from calibration data.

    Parameters
    ----------
    acs
        Calibration region of k-space, complex [batch, coil, rows, columns].
    shape
        (y, x) of the maps.
    kernel
        (rows, columns) of a patch, no larger than the region; at most 1/2.5 of it gives good maps.
    threshold
        Singular values of the calibration matrix below `threshold` times the largest are noise.
    step
        Eigenvectors are found on a grid about so many pixels wide, and interpolated by cubics; maps are smooth.

    Returns
    -------
    maps
        complex [batch, coil, y, x], unit norm over coils; their phase is that of the strongest virtual coil.
    eigenvalues
        Real [batch, y, x], in [0, 1]; near 1 where there is signal.

    Raises
    ------
    UsageError
        If a patch is larger than the region, or the data are all zero.
    """
    rows, columns = acs.shape[-2:]
    if not (1 <= kernel[0] <= rows and 1 <= kernel[1] <= columns):
        raise UsageError(f"expected a kernel no larger than the calibration region [{rows}, {columns}], got {kernel}")
    if not bool((acs != 0).flatten(1).any(1).all()):
        raise UsageError("expected calibration data, got zeros only: the scan holds no signal")
    weights = _weights(acs, kernel, threshold)
    reference = _virtual_coil(acs)
    pairs = zip(weights.unbind(0), reference.unbind(0), strict=True)
    results = [_interpolated(*_maps(w, shape, kernel, by, step), shape) for w, by in pairs]
    return torch.stack([maps for maps, _ in results]), torch.stack([values for _, values in results])


def _weights(acs: Tensor, kernel: tuple[int, int], threshold: float) -> Tensor:
    """w(d), [batch, coil, coil, 2 rows − 1, 2 columns − 1] with d = 0 in the middle."""
    batch, coils = acs.shape[:2]
    height, width = kernel
    patches = acs.unfold(-2, height, 1).unfold(-2, width, 1)  # [batch, coil, i, j, height, width]
    matrix = patches.permute(0, 2, 3, 1, 4, 5).reshape(batch, -1, coils * height * width)
    values, vectors = torch.linalg.eigh(matrix.mT @ matrix.conj())
    kept = vectors * (values > threshold**2 * values[:, -1:]).unsqueeze(1)
    projection = (kept @ kept.mH).reshape(batch, coils, height, width, coils, height, width)
    out = acs.new_zeros(batch, coils, coils, 2 * height - 1, 2 * width - 1)
    for i in range(height):
        for j in range(width):
            rows = slice(height - 1 - i, 2 * height - 1 - i)
            columns = slice(width - 1 - j, 2 * width - 1 - j)
            out[..., rows, columns] += projection[:, :, i, j]
    return out / (height * width)


def _maps(
    weights: Tensor, shape: tuple[int, int], kernel: tuple[int, int], reference: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """Of one item: the principal eigenvector and its eigenvalue at every point of the grid, some rows at a time."""
    down, across = (_waves(n, size, step, weights) for n, size in zip(shape, kernel, strict=True))
    half = weights @ across.mT  # [coil, coil, rows of d, x]
    maps, values = [], []
    for some in down.split(max(1, CHUNK // len(across))):
        matrices = torch.einsum("yd,abdx->yxab", some, half)
        vector, value = _principal(matrices, reference)
        maps.append(vector.permute(2, 0, 1))
        values.append(value)
    return torch.cat(maps, 1), torch.cat(values, 0)


def _principal(matrices: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    power = matrices
    for _ in range(SQUARINGS):
        trace = power.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
        power = power / trace.clamp(min=torch.finfo(trace.dtype).tiny)
        power = power @ power
    column = power.diagonal(dim1=-2, dim2=-1).real.argmax(-1)[..., None, None]
    vector = power.gather(-1, column.expand(*power.shape[:-1], 1)).squeeze(-1)
    vector = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=1e-20)
    image = (matrices @ vector.unsqueeze(-1)).squeeze(-1)
    value = (vector.conj() * image).sum(-1).real.clamp(0, 1)
    phase = vector @ reference.conj()
    size = phase.abs()
    turn = torch.where(size > 0, phase.conj() / torch.where(size > 0, size, 1.0), torch.ones_like(phase))
    return vector * turn.unsqueeze(-1), value


def _virtual_coil(acs: Tensor) -> Tensor:
    """The combination of coils with most signal, [batch, coil]; the same for any scale and phase of the data."""
    flat = acs.flatten(2)
    return torch.linalg.eigh(flat @ flat.mH)[1][..., -1]


def _interpolated(maps: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """From the grid to all pixels; of unit norm again."""
    if values.shape == shape:
        return maps, values
    parts = torch.cat((maps.real, maps.imag, values.unsqueeze(0))).unsqueeze(0)
    parts = torch.nn.functional.interpolate(parts, size=shape, mode="bicubic", align_corners=True)[0]
    real, imaginary, value = parts.split((len(maps), len(maps), 1))
    maps = torch.complex(real, imaginary)
    norm = torch.linalg.vector_norm(maps, dim=0, keepdim=True).clamp(min=1e-20)
    return maps / norm, value[0].clamp(0, 1)


def _waves(n: int, size: int, step: int, like: Tensor) -> Tensor:
    """exp(−2 pi i (r − n//2) d / n) at ceil(n / step) points r from first to last pixel, [points, 2 size − 1]."""
    r = torch.linspace(0, n - 1, -(-n // step), dtype=torch.float64) - n // 2
    d = torch.arange(1 - size, size, dtype=torch.float64)
    return torch.polar(torch.ones((), dtype=torch.float64), -2 * math.pi / n * torch.outer(r, d)).to(like)
