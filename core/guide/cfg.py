"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), in the x0 form, on an interval of noise levels.

The interval is Kynkäänniemi et al. 2024, arXiv:2404.07724.
"""

import math

import torch
from torch import Tensor

from fewstep.core import nfe
from fewstep.core.errors import UsageError
from fewstep.core.types import Denoise


def cfg(
    denoise_cond: Denoise,
    denoise_uncond: Denoise,
    guidance_scale: float,
    *,
    interval: tuple[float, float] = (0.0, math.inf),
) -> Denoise:
    """x0_u + w (x0_c − x0_u); w = 1 is off and costs one call, otherwise two.

    Parameters
    ----------
    denoise_cond, denoise_uncond
        With and without the condition.
    guidance_scale
        w.
    interval
        Times (lowest, highest) at which guidance is on; elsewhere the conditional answer is taken. The default is
        always, and only another interval reads the time back from the device.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``.

    Raises
    ------
    UsageError
        If the scale is not finite, or the interval is empty.
    """
    low, high = interval
    if not math.isfinite(guidance_scale):
        raise UsageError(f"expected a finite guidance_scale, got {guidance_scale}")
    if not low <= high:
        raise UsageError(f"expected an interval (lowest, highest) of times, got {interval}")
    if guidance_scale == 1:
        return denoise_cond
    always = low <= 0 and high == math.inf

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        answer = nfe.call(denoise_cond, x, t)
        if not always and not low <= float(t) <= high:
            return answer
        return torch.lerp(nfe.call(denoise_uncond, x, t), answer, guidance_scale)

    return denoise
