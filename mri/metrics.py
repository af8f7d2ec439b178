"""How far an image is from a reference: fastMRI's definitions per volume, and what they do not see (the phase).

    NMSE = |x − r|²/|r|²     PSNR = 20 log10(max r / rmse)     SSIM: 7 x 7 uniform window, range = max of the volume

Zbontar et al. 2018, arXiv:1811.08839, section 5.1; magnitudes, over the whole field, slices averaged for SSIM.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def nmse(image: Tensor, reference: Tensor) -> float:
    """Squared error of the magnitude over the reference's energy.

    Parameters
    ----------
    image, reference
        Real or complex, [slice, y, x].

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If the shapes differ or the reference is all zero.
    """
    x, r = _magnitudes(image, reference)
    return float((x - r).square().sum() / r.square().sum())


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio, dB, the peak being the largest magnitude of the reference volume; see `nmse`."""
    x, r = _magnitudes(image, reference)
    return 10 * math.log10(float(r.max() ** 2 / (x - r).square().mean().clamp(min=1e-30)))


def ssim(image: Tensor, reference: Tensor) -> float:
    """Structural similarity, the mean over slices, with the largest magnitude of the volume as range; see `nmse`."""
    from skimage.metrics import structural_similarity

    x, r = (part.cpu().numpy() for part in _magnitudes(image, reference))
    span = float(r.max())
    scores = [structural_similarity(b, a, data_range=span) for a, b in zip(x, r, strict=True)]
    return float(sum(scores) / len(scores))


def phase_error(image: Tensor, reference: Tensor, *, level: float = 0.1) -> float:
    """Root mean square of the phase's error where there is signal, after one constant phase per slice is removed.

    Parameters
    ----------
    image, reference
        Complex, [slice, y, x].
    level
        Signal is where the reference's magnitude is above this part of its largest.

    Returns
    -------
    float
        Radians.

    Raises
    ------
    UsageError
        If one is not complex or the shapes differ.
    """
    if not (image.is_complex() and reference.is_complex()):
        raise UsageError("expected complex images to compare phases, got a real one")
    _magnitudes(image, reference)
    product = image * reference.conj()
    turn = product.sum((-2, -1), keepdim=True)
    inside = reference.abs() > level * reference.abs().max()
    return float((product * turn.conj())[inside].angle().square().mean().sqrt())


def coverage(error: Tensor, std: Tensor, *, bins: int = 10) -> list[tuple[float, float]]:
    """Calibration of a standard deviation: pairs (mean std, root mean square error) of equally many pixels.

    Parameters
    ----------
    error
        image − reference, real or complex, any shape.
    std
        What was said about it, of the same shape.
    bins
        Number of groups, by std.

    Returns
    -------
    list of (float, float)
        Equal pairs mean a calibrated std; increasing errors mean that it points at the right places.

    Raises
    ------
    UsageError
        If the shapes differ or there are fewer pixels than bins.
    """
    if error.shape != std.shape or std.numel() < bins:
        raise UsageError(
            f"expected error and std of one shape with at least {bins} pixels, got {list(error.shape)} and "
            f"{list(std.shape)}"
        )
    order = std.flatten().argsort()
    pairs = zip(std.flatten()[order].chunk(bins), error.flatten()[order].chunk(bins), strict=True)
    return [(float(s.mean()), float(e.abs().square().mean().sqrt())) for s, e in pairs]


def _magnitudes(image: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if image.shape != reference.shape or image.ndim != 3:
        raise UsageError(
            f"expected image and reference [slice, y, x] of one shape, got {list(image.shape)} and "
            f"{list(reference.shape)}"
        )
    r = reference.abs()
    if not bool((r > 0).any()):
        raise UsageError("expected a reference with signal, got zeros only")
    return torch.nan_to_num(image.abs()), r
