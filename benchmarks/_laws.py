"""How far two sets of pictures are apart as laws: sliced Wasserstein in pixels, Fréchet on features of a random net."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fewstep.core.distill.features import RandomFeatures

FEATURES = RandomFeatures(seed=101, widths=(24, 48), kernel=3)
"""Not those that any recipe trains on."""


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 256) -> float:
    """Root of the mean squared 2-Wasserstein distance along random directions in pixel space, for sets of one size.

    Scaled so that a change of every pixel by c, the same everywhere, along a direction's sign counts c at most.
    """
    generator = torch.Generator().manual_seed(7)
    d = x[0].numel()
    along = torch.randn(d, directions, generator=generator)
    along = along / along.norm(dim=0)
    left, right = ((items.flatten(1) @ along).sort(dim=0).values for items in (x, y))
    return float((left - right).square().mean().sqrt())


def frechet(x: Tensor, y: Tensor) -> float:
    """Fréchet distance (Dowson & Landau 1982) of the features' Gaussian fits, its root: [n, ...], [m, ...]."""
    from scipy.linalg import sqrtm

    stats = []
    for items in (x, y):
        features = torch.cat([FEATURES(part) for part in items.split(256)]).double().numpy()
        stats.append((features.mean(axis=0), np.cov(features, rowvar=False)))
    (mean_x, cov_x), (mean_y, cov_y) = stats
    root = np.real(sqrtm(cov_x @ cov_y))
    square = ((mean_x - mean_y) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root)
    return float(max(square, 0.0) ** 0.5)
