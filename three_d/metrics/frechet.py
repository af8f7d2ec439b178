"""Fréchet distance of two sets of features, each taken as a normal law.

d² = |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½)     (Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500)
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The squared distance, as FID has it.

    Parameters
    ----------
    a, b
        Features [n, d], [m, d], n and m at least 2; with fewer items than d the distance is biased upwards.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    UsageError
        If the features do not fit, or a set has fewer than two.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UsageError(f"expected features [n, d] and [m, d] of at least two items, got {a.shape} and {b.shape}")
    first, second = np.cov(a, rowvar=False, ddof=1), np.cov(b, rowvar=False, ddof=1)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    root = _root(first)
    both = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    apart = float(np.square(a.mean(0) - b.mean(0)).sum())
    return max(apart + float(np.trace(first) + np.trace(second)) - 2 * float(both), 0.0)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
