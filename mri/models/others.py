"""Nets of other packages as regressors: fastMRI's U-Net and VarNet, and MONAI's image nets; imported when made.

    U-Net, MONAI: x_start + net(x_start)        VarNet: k <- k − w mask (k − y) − F S net(S.H F.H k)

Zbontar et al. 2018, arXiv:1811.08839; Sriram et al. 2020, arXiv:2004.06688. Coil maps are ours, the output is complex.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.core.operators import Fourier
from fewstep.mri.models.consistency import cplx, real
from fewstep.mri.problem import Problem


class FastMriUnet(nn.Module):
    """fastMRI's U-Net on the complex start image: ``net(problem, start) -> image``.

    Parameters
    ----------
    chans, pools
        Channels of the first level and number of halvings; 256 and 4 in fastMRI's baseline.
    """

    def __init__(self, *, chans: int = 32, pools: int = 4):
        super().__init__()
        self.net, self.pools = _fastmri().Unet(2, 2, chans=chans, num_pool_layers=pools), pools

    def forward(self, problem: Problem, start: Tensor) -> Tensor:
        """Complex64 [batch, y, x] -> the same."""
        return start + _on_multiple(self.net, start, 2**self.pools)


class FastMriVarNet(nn.Module):
    """fastMRI's VarNet with given coil maps: ``net(problem, start) -> image``.

    Parameters
    ----------
    cascades, chans, pools
        Of the variational net; 12, 18 and 4 in fastMRI's baseline.
    """

    def __init__(self, *, cascades: int = 4, chans: int = 12, pools: int = 3):
        super().__init__()
        from fastmri.models.varnet import NormUnet, VarNetBlock

        self.cascades = nn.ModuleList(VarNetBlock(NormUnet(chans, pools)) for _ in range(cascades))

    def forward(self, problem: Problem, start: Tensor) -> Tensor:
        """Complex64 [batch, y, x] -> the same; the start is not used."""
        k = y = torch.view_as_real(problem.kspace)
        maps = torch.view_as_real(problem.coil_maps)
        mask = problem.mask.expand(len(y), *y.shape[2:4])[:, None, :, :, None]
        for cascade in self.cascades:
            k = cascade(k, y, mask, maps)
        shape = tuple(problem.kspace.shape[1:])
        images = Fourier(shape, (-2, -1)).apply_adjoint(torch.view_as_complex(k.contiguous()))
        return (problem.coil_maps.conj() * images).sum(1)


class MonaiNet(nn.Module):
    """A two-dimensional image net of MONAI on the complex start image: ``net(problem, start) -> image``.

    Parameters
    ----------
    name
        Of a class in `monai.networks.nets` that takes ``spatial_dims``, ``in_channels`` and ``out_channels``.
    options
        Further arguments of it.
    multiple
        Images are extended to a multiple of this.

    Raises
    ------
    UsageError
        If MONAI is not installed or has no such net.
    """

    def __init__(self, *, name: str = "BasicUNet", options: Mapping[str, Any] | None = None, multiple: int = 16):
        super().__init__()
        try:
            from monai.networks import nets
        except ImportError:
            raise UsageError("MONAI is not installed: pip install 'fewstep[monai]'") from None
        if not hasattr(nets, name):
            raise UsageError(f"expected a net of monai.networks.nets such as BasicUNet, got {name!r}")
        self.multiple = multiple
        self.net = getattr(nets, name)(spatial_dims=2, in_channels=2, out_channels=2, **(options or {}))

    def forward(self, problem: Problem, start: Tensor) -> Tensor:
        """Complex64 [batch, y, x] -> the same."""
        return start + _on_multiple(self.net, start, self.multiple)


def _on_multiple(net: nn.Module, x: Tensor, multiple: int) -> Tensor:
    """The net's answer, its input extended to a multiple by repeating the border."""
    height, width = x.shape[-2:]
    padded = functional.pad(real(x), (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return cplx(net(padded)[..., :height, :width]).squeeze(1)


def _fastmri() -> Any:
    try:
        from fastmri import models
    except ImportError:
        raise UsageError("fastmri is not installed: pip install 'fewstep[fastmri]'") from None
    return models
