"""How a set of generated shapes compares with a set of references, from the distances between them.

MMD = mean_r min_g d(g, r),  COV = |{argmin_r d(g, r) : g}| / |R|         (Achlioptas et al. 2018, arXiv:1707.02392)
1-NNA = share of G ∪ R whose nearest other one is of its own set          (Yang et al. 2019, arXiv:1906.12320, eq. 15;
Lopez-Paz and Oquab 2017): 1/2 where the sets cannot be told apart.
"""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError


def minimum_matching_distance(across: np.ndarray) -> float:
    """How near the nearest generated shape is to a reference, on the mean.

    Parameters
    ----------
    across
        Distances [generated, references].

    Returns
    -------
    float
        In the distances' unit, lower is better.
    """
    return float(_matrix(across).min(0).mean())


def coverage(across: np.ndarray) -> float:
    """The share of references that are the nearest one of some generated shape.

    Parameters
    ----------
    across
        Distances [generated, references].

    Returns
    -------
    float
        In (0, 1], higher is better; at most generated / references.
    """
    return len(np.unique(_matrix(across).argmin(1))) / across.shape[1]


def nearest_neighbour_accuracy(within: np.ndarray, across: np.ndarray, references: np.ndarray) -> float:
    """1-NNA: how well the nearest neighbour tells the two sets apart.

    Parameters
    ----------
    within, references
        Distances among the generated [g, g], and among the references [r, r]; the diagonal is not looked at.
    across
        Distances [g, r].

    Returns
    -------
    float
        From 0 to 1; 1/2 is best, 1 tells apart, below 1/2 one set copies the other.

    Raises
    ------
    UsageError
        If the shapes do not fit, or the sets have not the same size.
    """
    g, r = _matrix(across).shape
    if within.shape != (g, g) or references.shape != (r, r) or g != r:
        raise UsageError(
            f"expected distances [n, n] thrice for sets of the same size, got {list(np.shape(within))}, "
            f"{list(np.shape(across))} and {list(np.shape(references))}"
        )
    whole = np.block([[within, across], [across.T, references]]).astype(np.float64)
    np.fill_diagonal(whole, np.inf)
    generated = np.arange(g + r) < g
    return float((generated[whole.argmin(1)] == generated).mean())


def _matrix(values: np.ndarray) -> np.ndarray:
    if np.ndim(values) != 2 or not np.size(values):
        raise UsageError(f"expected a matrix of distances, got {list(np.shape(values))}")
    return values
