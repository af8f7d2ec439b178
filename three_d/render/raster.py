"""Pictures of a mesh, by numpy alone: perspective camera, depth buffer, smooth shading with three lights.

Each face is tested at the pixel centres of its bounding box, all faces at once, so many small faces cost little; depth
and attributes are interpolated in perspective (1/w is linear on the screen).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.mesh import Mesh

GREY = (0.75, 0.75, 0.75)
CHUNK = 4_000_000
"""Pixel tests at a time."""


@dataclass(frozen=True)
class Camera:
    """Where pictures are taken from: the camera looks at the origin.

    Parameters
    ----------
    azimuth
        Degrees around +y: 0 looks at the front (from +z), 90 at the side +x.
    elevation
        Degrees above the horizon, -90 to 90.
    distance
        From the origin; at the default nothing within 0.9 of the unit cube is cut off.
    fov
        Degrees from the lower to the upper edge of the picture.
    """

    azimuth: float = 30.0
    elevation: float = 20.0
    distance: float = 3.0
    fov: float = 30.0

    def __post_init__(self) -> None:
        if not -90 <= self.elevation <= 90:
            raise UsageError(f"elevation is from -90 to 90 degrees, got {self.elevation}")
        if not 0 < self.fov < 180 or self.distance <= 0:
            raise UsageError(f"expected 0 < fov < 180 and a positive distance, got {self.fov} and {self.distance}")

    @property
    def axes(self) -> np.ndarray:
        """Right, up and backward (to the camera) in object space, float64 [3, 3], one a row."""
        a, e = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        right = [np.cos(a), 0.0, -np.sin(a)]
        up = [-np.sin(a) * np.sin(e), np.cos(e), -np.cos(a) * np.sin(e)]
        back = [np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)]
        return np.array([right, up, back])


@dataclass(frozen=True)
class Lights:
    """Lambert shading by a key light and a fill light, directions to them in the camera's axes, and ambient light."""

    key: tuple[float, float, float] = (-0.45, 0.7, 0.65)
    fill: tuple[float, float, float] = (0.8, 0.1, 0.5)
    strength: tuple[float, float, float] = (0.62, 0.18, 0.42)

    def amount(self, normals: np.ndarray) -> np.ndarray:
        """Light on surfaces, [n, 1], from their unit normals [n, 3] in the camera's axes."""
        key, fill, ambient = self.strength
        total = np.full(len(normals), ambient, np.float32)
        for strength, direction in ((key, self.key), (fill, self.fill)):
            towards = np.array(direction) / np.linalg.norm(direction)
            total += strength * np.maximum(normals @ towards.astype(np.float32), 0)
        return total[:, None]


def render(
    mesh: Mesh,
    *,
    azimuth: float = 30.0,
    elevation: float = 20.0,
    size: int = 256,
    background: tuple[float, float, float] | None = None,
    distance: float = 3.0,
    fov: float = 30.0,
    supersample: int = 1,
    two_sided: bool = False,
    lights: Lights | None = None,
) -> np.ndarray:
    """Draw a mesh.

    Parameters
    ----------
    mesh
        Around the origin; without colours it is grey.
    azimuth, elevation, distance, fov
        See `Camera`.
    size
        Pixels a side.
    background
        sRGB from 0 to 1; None: transparent.
    supersample
        n^2 samples a pixel.
    two_sided
        Draw the backs of faces too, for meshes that are open; otherwise they are not seen.
    lights
        None: `Lights()`.

    Returns
    -------
    numpy.ndarray
        uint8 [size, size, 4], sRGB and coverage (255 throughout if there is a background), not premultiplied.

    Raises
    ------
    UsageError
        If a size is not positive, or the camera is impossible.
    """
    if size < 1 or supersample < 1:
        raise UsageError(f"size and supersample are at least 1, got {size} and {supersample}")
    camera, n = Camera(azimuth, elevation, distance, fov), size * supersample
    face, weights = visible(mesh, camera, n, two_sided=two_sided)
    hit = face >= 0
    picture = np.zeros((n * n, 4), np.float32)  # premultiplied
    corners = mesh.faces[face[hit]]
    normals = _blend(mesh.normals @ camera.axes.T.astype(np.float32), corners, weights[hit])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    if two_sided:
        normals *= np.where(normals[:, 2:] < 0, -1, 1)
    picture[hit, :3] = np.array(GREY) if mesh.colours is None else _blend(mesh.colours, corners, weights[hit]) / 255
    picture[hit, :3] = np.minimum(picture[hit, :3] * (lights or Lights()).amount(normals), 1)
    picture[hit, 3] = 1
    small = picture.reshape(size, supersample, size, supersample, 4).mean((1, 3)) if supersample > 1 else picture
    return _bytes(small.reshape(size, size, 4), background)


def visible(mesh: Mesh, camera: Camera, n: int, *, two_sided: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Which face each pixel sees.

    Parameters
    ----------
    mesh, camera
        What, and from where.
    n
        Pixels a side.
    two_sided
        Whether backs count.

    Returns
    -------
    face : numpy.ndarray
        int64 [n * n], row by row from the top; -1: none.
    weights : numpy.ndarray
        Of its three corners there, float32 [n * n, 3].
    """
    x, y, depth = _project(mesh.vertices, camera, n)
    face, weights = np.full(n * n, -1), np.zeros((n * n, 3), np.float32)
    nearest = np.zeros(n * n)  # 1 / depth: large is near
    fx, fy, fw = (value[mesh.faces] for value in (x, y, 1 / np.maximum(depth, 1e-6)))
    double = _area(fx[:, 0], fy[:, 0], fx[:, 1], fy[:, 1], fx[:, 2], fy[:, 2])
    drawn = (double != 0 if two_sided else double < 0) & (depth[mesh.faces] > 1e-3).all(1)
    low = [np.clip(np.ceil(f.min(1)), 0, n).astype(np.int64) for f in (fx, fy)]
    high = [np.clip(np.floor(f.max(1)) + 1, 0, n).astype(np.int64) for f in (fx, fy)]
    wide, tall = (np.maximum(b - a, 0) for a, b in zip(low, high, strict=True))
    tests = np.where(drawn, wide * tall, 0)
    chosen = np.flatnonzero(tests)
    ends = np.cumsum(tests[chosen])
    start = 0
    while start < len(chosen):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + CHUNK, "right")), start + 1)
        part = chosen[start:stop]
        start = stop
        which = np.repeat(part, tests[part])
        offset = np.arange(len(which)) - np.repeat(np.cumsum(tests[part]) - tests[part], tests[part])
        column = low[0][which] + offset % wide[which]
        row = low[1][which] + offset // wide[which]
        bary = _barycentric(fx[which], fy[which], double[which], column, row)
        inside = (bary >= -1e-9).all(1)
        which, bary, pixel = which[inside], bary[inside], (row * n + column)[inside]
        bary *= fw[which]
        near = bary.sum(1)
        order = np.argsort(near, kind="stable")
        order = order[near[order] > nearest[pixel[order]]]
        at = pixel[order]  # of repeated pixels the last, nearest one stays
        nearest[at], face[at], weights[at] = near[order], which[order], bary[order] / near[order, None]
    return face, weights


def _project(points: np.ndarray, camera: Camera, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and row, whole numbers at pixel centres, and depth, each float64 [V]."""
    right, up, back = (points.astype(np.float64) @ camera.axes.T).T
    depth = camera.distance - back
    scale = n / 2 / np.tan(np.deg2rad(camera.fov) / 2) / np.maximum(depth, 1e-6)
    return right * scale + (n - 1) / 2, (n - 1) / 2 - up * scale, depth


def _area(ax: np.ndarray, ay: np.ndarray, bx: np.ndarray, by: np.ndarray, cx: np.ndarray, cy: np.ndarray) -> np.ndarray:
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def _barycentric(fx: np.ndarray, fy: np.ndarray, double: np.ndarray, px: np.ndarray, py: np.ndarray) -> np.ndarray:
    (ax, bx, cx), (ay, by, cy) = fx.T, fy.T
    first = _area(px, py, bx, by, cx, cy) / double
    second = _area(ax, ay, px, py, cx, cy) / double
    return np.stack([first, second, 1 - first - second], 1)


def _blend(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("nk,nkc->nc", weights, values[corners].astype(np.float32))


def _bytes(premultiplied: np.ndarray, background: tuple[float, float, float] | None) -> np.ndarray:
    alpha = premultiplied[..., 3:]
    if background is not None:
        colour, alpha = premultiplied[..., :3] + (1 - alpha) * np.array(background), np.ones_like(alpha)
    else:
        colour = premultiplied[..., :3] / np.maximum(alpha, 1e-6)
    return np.rint(np.concatenate([colour, alpha], -1).clip(0, 1) * 255).astype(np.uint8)
