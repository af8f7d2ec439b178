"""Coil maps where the calibration region is too small for ESPIRiT: local covariances of the low-resolution coil images.

The map of a pixel is the principal eigenvector of sum over its neighbourhood of c c^H, c the coil images.
Walsh et al. 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fewstep.core.operators import Fourier
from fewstep.mri.physics.acs import Region
from fewstep.mri.physics.espirit import _principal, _virtual_coil


def low_resolution(kspace: Tensor, region: Region) -> Tensor:
    """Coil images of the calibration region alone, under a Hann window so that they do not ring.

    Parameters
    ----------
    kspace
        complex [batch, coil, y, x].
    region
        What of it is fully sampled.

    Returns
    -------
    Tensor
        complex [batch, coil, y, x].
    """
    acs = region.of(kspace)
    window = torch.outer(
        *(_window(*part) for part in zip((region.rows, region.columns), kspace.shape[-2:], strict=True))
    )
    centre = torch.zeros_like(kspace)
    region.of(centre).copy_(acs * window.to(acs.real))
    return Fourier(tuple(kspace.shape[1:]), (-2, -1)).apply_adjoint(centre)


def walsh(images: Tensor, acs: Tensor, *, width: int = 7) -> Tensor:
    """Coil maps from low-resolution coil images.

    Parameters
    ----------
    images
        complex [batch, coil, y, x].
    acs
        The data they come from, [batch, coil, rows, columns], for the phase of the maps.
    width
        Of the neighbourhood, pixels, odd.

    Returns
    -------
    Tensor
        complex [batch, coil, y, x], unit norm over coils.
    """
    maps = [_of_item(item, by, width) for item, by in zip(images, _virtual_coil(acs), strict=True)]
    return torch.stack(maps)


def _of_item(images: Tensor, reference: Tensor, width: int) -> Tensor:
    coils, height, breadth = images.shape
    scale = images.abs().amax().clamp(min=torch.finfo(images.real.dtype).tiny)
    images = images / scale
    covariance = torch.view_as_real(images.unsqueeze(1) * images.conj().unsqueeze(0))
    flat = covariance.permute(0, 1, 4, 2, 3).reshape(1, -1, height, breadth)
    mean = torch.nn.functional.avg_pool2d(flat, width, 1, width // 2, count_include_pad=False)
    mean = mean.reshape(coils, coils, 2, height, breadth).permute(3, 4, 0, 1, 2).contiguous()
    return _principal(torch.view_as_complex(mean), reference)[0].permute(2, 0, 1)


def _window(interval: tuple[int, int], n: int) -> Tensor:
    """A Hann window over an interval, 1 at the centre n//2 of k-space and 0 just outside of the farther end."""
    first, last = interval
    if last - first == n:
        return torch.ones(n)
    k = torch.arange(first, last, dtype=torch.float64) - n // 2
    reach = max(n // 2 - first, last - 1 - n // 2) + 1
    return (0.5 + 0.5 * torch.cos(torch.pi * k / reach)).float()
