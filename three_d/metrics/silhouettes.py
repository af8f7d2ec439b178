"""Silhouettes from all around as features: 12 views, each averaged over a coarse grid, then the main directions of the
references: a Fréchet distance that sees outlines and nothing else (after the light-field descriptor, Chen et al. 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.metrics.frechet import frechet

AZIMUTHS, ELEVATIONS = (0, 60, 120, 180, 240, 300), (0, 35)
SIZE, GRID, DIRECTIONS = 48, 8, 32


def silhouette_features(mesh: Any) -> np.ndarray:
    """What 12 views of a mesh cover.

    Parameters
    ----------
    mesh
        `fewstep.three_d.mesh.mesh.Mesh`.

    Returns
    -------
    numpy.ndarray
        float32 [12 * 8 * 8], shares in [0, 1].
    """
    from fewstep.three_d.render.raster import render

    views = [render(mesh, azimuth=a, elevation=e, size=SIZE)[..., 3] for e in ELEVATIONS for a in AZIMUTHS]
    coarse = np.stack(views).reshape(len(views), GRID, SIZE // GRID, GRID, SIZE // GRID).mean((2, 4)) / 255
    return coarse.astype(np.float32).ravel()


def silhouette_distance(generated: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> float:
    """Fréchet distance of silhouette features along the references' main directions.

    Parameters
    ----------
    generated, references
        Of `silhouette_features`, at least two each.

    Returns
    -------
    float
        At least 0, lower is better.

    Raises
    ------
    UsageError
        If there are fewer than two of either.
    """
    a, b = np.asarray(generated, np.float64), np.asarray(references, np.float64)
    if a.ndim != 2 or b.ndim != 2 or min(len(a), len(b)) < 2:
        raise UsageError(f"expected at least two shapes in each set, got {len(a)} and {len(b)}")
    _, _, rows = np.linalg.svd(b - b.mean(0), full_matrices=False)
    kept = rows[: min(DIRECTIONS, len(b) - 1)].T
    return frechet(a @ kept, b @ kept)
