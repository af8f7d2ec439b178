"""Pictures of heads with random contrast: oblique slices through tissue maps, warped, in shells of skull and scalp.

The tissue maps are MNI ICBM152's (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033), from nilearn's package;
that every class gets a random grey follows SynthSeg (Billot et al. 2023, arXiv:2107.09559).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy import ndimage

from fewstep.core.errors import UsageError
from fewstep.mri.data import shapes
from fewstep.mri.data.fields import Array, smooth_field, step_up, warped_grid

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_T1 = {"csf": 0.15, "grey": 0.5, "white": 0.8, "bone": 0.05, "marrow": 0.7, "scalp": 0.95}


@dataclass(frozen=True)
class Atlas:
    """Tissue maps on a grid of 1 mm: grey and white matter and brain in [0, 1], detail of T1, mm from the brain."""

    grey: Array
    white: Array
    brain: Array
    detail: Array
    outside: Array


def mni152() -> Atlas | None:
    """The atlas in nilearn's package, or None where nilearn is not installed (it is needed for generating only)."""
    found = find_spec("nilearn")
    if found is None or found.origin is None:
        return None
    import nibabel

    folder = Path(found.origin).parent / "datasets" / "data"
    t1, grey, white = (
        np.asarray(nibabel.load(folder / _FILE.format(name)).dataobj, np.float32) / 255 for name in ("t1", "gm", "wm")
    )
    brain = ndimage.binary_fill_holes(t1 > 0)
    outside = ndimage.distance_transform_edt(~np.pad(brain, 50)).astype(np.float32)
    detail = (t1 - ndimage.gaussian_filter(t1, 3.0)) * ndimage.binary_erosion(brain, iterations=3)
    grey, white, inside, fine = (
        np.pad(volume, 50) for volume in (grey, white, brain.astype(np.float32), detail / detail.std())
    )
    return Atlas(grey, white, inside, fine, outside)


def draw(rng: np.random.Generator, size: int, atlas: Atlas) -> Array:
    """One slice of a head.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Rows and columns.
    atlas
        Tissue maps.

    Returns
    -------
    numpy.ndarray
        Magnitude, float32, [size, size], about 0 to 1.

    Raises
    ------
    UsageError
        If the picture is smaller than 32 pixels.
    """
    if size < 32:
        raise UsageError(f"expected at least 32 pixels for a head, got {size}")
    at = _plane(rng, size, atlas.brain.shape)
    grey, white, brain, detail, outside = (
        ndimage.map_coordinates(volume, at, order=1, mode="nearest")
        for volume in (atlas.grey, atlas.white, atlas.brain, atlas.detail, atlas.outside)
    )
    mean = _contrast(rng)
    fluid = np.clip(brain - grey - white, 0, 1)
    picture = grey * mean["grey"] + white * mean["white"] + fluid * mean["csf"]
    picture += rng.uniform(-1.2, 1.6) * 0.06 * detail * (mean["grey"] + mean["white"])
    picture += brain * rng.uniform(0, 0.05) * smooth_field(rng, size, cells=int(rng.integers(size // 8, size // 2)))
    for _ in range(rng.poisson(0.7)):
        spot = _lesion(rng, size)
        picture += brain * spot * (rng.uniform(0, 1.1) - picture)
    picture = np.clip(picture, 0, None) * step_up(0.9 - outside) + _shells(rng, size, outside, at, mean)
    return (picture * np.exp(0.35 * rng.uniform(0, 1) * smooth_field(rng, size, cells=2))).astype(np.float32)


def _plane(rng: np.random.Generator, size: int, shape: tuple[int, ...]) -> Array:
    axis = int(rng.integers(3))
    first, second = (i for i in range(3) if i != axis)
    grid = warped_grid(rng, size, amplitude=rng.uniform(0.5, 4)) * rng.uniform(0.75, 1.35)
    grid += rng.uniform(-0.15, 0.15, (2, 1, 1)) * size
    flat = np.zeros((3, size * size), np.float32)
    flat[first], flat[second] = grid[0].ravel(), grid[1].ravel()
    flat[axis] = rng.uniform(-0.75, 0.75) * (np.array([70, 88, 65])[axis])
    turned = _rotation(rng.normal(0, [0.12, 0.12, 0.12])) @ flat
    return (turned + np.array(shape)[:, None] / 2).reshape(3, size, size).astype(np.float32)


def _rotation(angles: Array) -> Array:
    x, y, z = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return (about_x @ about_y @ about_z).astype(np.float32)


def _contrast(rng: np.random.Generator) -> dict[str, float]:
    if rng.random() < 0.4:
        return {name: float(value * rng.uniform(0.75, 1.25)) for name, value in _T1.items()}
    mean = {name: float(rng.uniform(0.05, 1)) for name in _T1}
    return {**mean, "bone": float(rng.uniform(0, 0.2))}


def _shells(rng: np.random.Generator, size: int, outside: Array, at: Array, mean: dict[str, float]) -> Array:
    """Fluid, inner table, marrow, outer table, scalp and, below a random level, tissue of face and neck."""
    distance = outside + rng.uniform(0, 1.2) * smooth_field(rng, size, cells=int(rng.integers(4, 12)))
    thick = np.cumsum([rng.uniform(*t) for t in ((0.8, 5), (1, 3), (0.5, 5), (1, 2.5), (1, 4), (1.5, 8))])
    values = (
        mean["csf"],
        mean["bone"],
        mean["marrow"],
        mean["bone"],
        mean["scalp"] * rng.uniform(0.2, 1),
        mean["scalp"],
    )
    picture, start = np.zeros_like(outside), 0.9
    for value, edge in zip(values, thick + 0.9, strict=True):
        picture += value * step_up(distance - start) * step_up(edge - distance)
        start = edge
    if rng.random() < 0.6:
        below = step_up(rng.uniform(90, 125) - at[2] + 6 * smooth_field(rng, size, cells=4), width=3.0)
        reach = step_up(rng.uniform(20, 75) + 4 * smooth_field(rng, size, cells=3) - distance)
        picture += below * reach * step_up(distance - start) * shapes.tissue(rng, size)
    return picture


def _lesion(rng: np.random.Generator, size: int) -> Array:
    grid = warped_grid(rng, size, amplitude=2.0, cells=8)
    centre, half = rng.uniform(-0.3, 0.3, 2) * size, rng.uniform(1.0, 9.0, 2)
    radius = np.sqrt(((grid[0] - centre[0]) / half[0]) ** 2 + ((grid[1] - centre[1]) / half[1]) ** 2)
    return step_up((1 - radius) * half.min(), width=rng.uniform(1, 4)).astype(np.float32)
