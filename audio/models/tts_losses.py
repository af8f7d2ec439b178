"""The losses of ProDiff: mel (L1 and SSIM), durations of phones, words and sentences, pitch, voicing and energy.

Huang et al. 2022 (arXiv:2207.06389) §4.2 and its code's weights. All means are over real frames or tokens only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fewstep.audio.models.condition import Condition
from fewstep.audio.text.symbols import INDEX, SEPARATORS


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where the broadcast `mask` is 1."""
    return (values * mask).sum() / mask.expand_as(values).sum().clamp(min=1)


def ssim(x: Tensor, y: Tensor, *, data_range: float, window: int = 11) -> Tensor:
    """Structural similarity map of two images [B, H, W] (Wang et al. 2004), Gaussian window of sigma 1.5."""
    steps = torch.arange(window, dtype=x.dtype, device=x.device) - window // 2
    kernel = torch.exp(-steps.square() / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def blur(image: Tensor) -> Tensor:
        image = F.conv2d(image[:, None], kernel[None, None, :, None], padding=(window // 2, 0))
        return F.conv2d(image, kernel[None, None, None, :], padding=(0, window // 2))[:, 0]

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (var_x + var_y + c2)


def mel_losses(x0: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """L1 and 1 - SSIM of standardised mels [B, M, T], half of each; the offset makes values positive for SSIM."""
    offset = 3.0
    similarity = ssim((x0 + offset) * mask, (target + offset) * mask, data_range=2 * offset)
    return {
        "l1": 0.5 * masked_mean((x0 - target).abs(), mask),
        "ssim": 0.5 * masked_mean(1 - similarity, mask),
    }


def duration_losses(log_durations: Tensor, durations: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Squared errors of log(d + 1) per phone (weight 0.1), per word and per sentence (weight 1 each)."""
    mask = (tokens != 0).float()
    phone = masked_mean((log_durations - (durations + 1).float().log()).square(), mask)
    predicted = (log_durations.exp() - 1).clamp(min=0) * mask
    separators = torch.tensor([INDEX[s] for s in SEPARATORS], device=tokens.device)
    words = torch.isin(tokens, separators).long().cumsum(dim=1)
    sums = [
        torch.zeros_like(predicted).scatter_add(1, words - 1 + (words == 0), d * mask)
        for d in (predicted, durations.float())
    ]
    used = (sums[1] > 0).float()
    word = masked_mean(((sums[0] + 1).log() - (sums[1] + 1).log()).square(), used)
    sentence = [d.sum(dim=1) for d in (predicted, durations.float() * mask)]
    total = ((sentence[0] + 1).log() - (sentence[1] + 1).log()).square().mean()
    return {"phone": 0.1 * phone, "word": word, "sentence": total}


def prosody_losses(condition: Condition, pitch: Tensor, voiced: Tensor, energy: Tensor) -> dict[str, Tensor]:
    """L1 of standardised log-F0 where voiced, cross-entropy of voicing, 0.1 squared error of energy."""
    mask = condition.mask[:, 0]
    voicing = F.binary_cross_entropy_with_logits(condition.voiced, voiced, reduction="none")
    return {
        "pitch": masked_mean((condition.pitch - pitch).abs(), mask * voiced),
        "voiced": masked_mean(voicing, mask),
        "energy": 0.1 * masked_mean((condition.energy - energy).square(), mask),
    }
