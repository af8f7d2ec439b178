"""A net on complex images: real and imaginary part are two channels of a U-Net.

    F(x, c_noise, cond) = complex(UNet([Re x, Im x], c_noise, cond))

With `fewstep.core.nn.preconditioned.Preconditioned` around it, it is the prior of every diffusion method here; with a
condition (`fewstep.mri.models.condition`) it is the conditional net.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewstep.core.nn.unet import UNet


class ComplexUNet(nn.Module):
    """``net(x, c_noise, cond)`` on complex images of any size.

    Parameters
    ----------
    widths
        Channels per level, finest first.
    blocks
        Residual blocks per level and direction.
    unshuffle
        Pixels per side that are folded into channels.
    cond_channels
        Real channels of the condition; 0: none.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 96),
        blocks: int = 1,
        unshuffle: int = 2,
        cond_channels: int = 0,
    ):
        super().__init__()
        self.net = UNet(2, 2, widths=widths, blocks=blocks, unshuffle=unshuffle, cond_channels=cond_channels)

    def forward(self, x: Tensor, c_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Map complex images to complex images.

        Parameters
        ----------
        x
            Complex, [B, H, W].
        c_noise
            log(sigma)/4, [B] or scalar.
        cond
            Real, [B, cond_channels, H, W], if the net was made for one.

        Returns
        -------
        Tensor
            Complex, [B, H, W].
        """
        real = torch.view_as_real(x).permute(0, 3, 1, 2)
        out = self.net(real, c_noise, cond).float()
        return torch.view_as_complex(out.permute(0, 2, 3, 1).contiguous()).to(x.dtype)
