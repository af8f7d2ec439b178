"""Models of others, read with care: what a file refers to is only taken from beside it, sizes are limited, and every
part of the scene becomes one list of triangles with coloured samples on them.

Colours: textures and vertex colours times the material's factor; glTF 2.0, 3.9.2 (factors are linear, textures sRGB).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from fewstep.core.errors import UsageError

SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl")
MOST_BYTES, MOST_FACES = 256 << 20, 500_000
SAMPLES = 40_000
PLAIN = (0.7, 0.7, 0.7)


@dataclass(frozen=True)
class Model:
    """Triangles with samples of their surface.

    Parameters
    ----------
    triangles
        Corners, float32 [t, 3, 3], in the file's units.
    points, colours, owners
        Samples: float32 [s, 3], sRGB uint8 [s, 3], and the triangles they lie on, int32 [s].
    digest
        Of the bytes of all files.
    """

    triangles: np.ndarray
    points: np.ndarray
    colours: np.ndarray
    owners: np.ndarray
    digest: str


def read_model(file: str | Path) -> Model:
    """Read a model.

    Parameters
    ----------
    file
        glTF, GLB, OBJ, PLY or STL.

    Returns
    -------
    Model

    Raises
    ------
    UsageError
        With the file's name and the reason why it cannot be used: not there, of another kind, damaged, too large,
        empty, without extent, or referring to something that is not beside it.
    """
    file = Path(file)
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{file.name}: expected one of {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise UsageError(f"{file.name}: no such file")
    source = Beside(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", _bomb())
            parts = _parts(file, source)
            triangles = _triangles(file, [corners for corners, _ in parts])
            samples = _samples(parts, [np.isfinite(corners).all((1, 2)) for corners, _ in parts])
    except UsageError:
        raise
    except Exception as error:  # a reader of other people's files may fail in any way
        first = " ".join(str(error).split())[:160] or type(error).__name__
        raise UsageError(f"{file.name}: cannot be read: {first}") from None
    return Model(triangles, *samples, source.digest.hexdigest())


class Beside:
    """The bytes of a file and of those beside it that it refers to: no absolute paths, no parents, no addresses."""

    def __init__(self, file: Path):
        self.file, self.folder, self.left = file, file.parent.resolve(), MOST_BYTES
        self.digest = hashlib.sha256()

    def whole(self) -> bytes:
        """The file itself."""
        return self._read(self.file)

    def get(self, name: str) -> bytes:
        """A file that it names."""
        path = PurePosixPath(unquote(name).replace("\\", "/"))
        if "://" in name or path.is_absolute() or ".." in path.parts or ":" in str(path) or not path.parts:
            raise UsageError(f"{self.file.name}: refers to {name[:80]!r}, which is not beside it")
        found = (self.folder / path).resolve()
        if not found.is_relative_to(self.folder):
            raise UsageError(f"{self.file.name}: refers to {name[:80]!r}, which is not beside it")
        if not found.is_file():
            raise UsageError(f"{self.file.name}: refers to {name[:80]!r}, which is missing")
        return self._read(found)

    __getitem__ = get

    def keys(self) -> list[str]:
        """Nothing is listed: readers ask by name."""
        return []

    def namespaced(self, namespace: str) -> Beside:
        """The same."""
        return self

    def _read(self, path: Path) -> bytes:
        size = path.stat().st_size
        self.left -= size
        if self.left < 0:
            raise UsageError(f"{self.file.name}: larger than {MOST_BYTES >> 20} MiB with all it refers to")
        data = path.read_bytes()
        self.digest.update(len(data).to_bytes(8, "little") + data)
        return data


def _parts(file: Path, source: Beside) -> list[tuple[np.ndarray, Any]]:
    """Corners in the scene's frame and the geometry they come from."""
    import io

    import trimesh

    kind = file.suffix.lower()[1:]
    loaded = trimesh.load(io.BytesIO(source.whole()), file_type=kind, resolver=source, process=False)
    if isinstance(loaded, trimesh.Trimesh):
        return [(loaded.vertices[loaded.faces], loaded)]
    if not isinstance(loaded, trimesh.Scene):
        return []
    parts, total = [], 0
    for node in loaded.graph.nodes_geometry:
        matrix, name = loaded.graph[node]
        geometry = loaded.geometry[name]
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        total += len(geometry.faces)
        if total > MOST_FACES:
            raise UsageError(f"{file.name}: more than {MOST_FACES} triangles")
        corners = (geometry.vertices @ matrix[:3, :3].T + matrix[:3, 3])[geometry.faces]
        parts.append((corners[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else corners, geometry))
    return parts


def _triangles(file: Path, parts: list[np.ndarray]) -> np.ndarray:
    found = np.concatenate(parts) if parts else np.zeros((0, 3, 3))
    if len(found) > MOST_FACES:
        raise UsageError(f"{file.name}: more than {MOST_FACES} triangles")
    found = found[np.isfinite(found).all((1, 2))]
    if not len(found):
        raise UsageError(f"{file.name}: has no triangle")
    if not np.ptp(found.reshape(-1, 3), axis=0).max() > 0 or not _areas(found).sum() > 0:
        raise UsageError(f"{file.name}: has no extent")
    return found.astype(np.float32)


def _areas(corners: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def _samples(parts: list[tuple[np.ndarray, Any]], good: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points all over the surface, at least one per triangle, with their colours and triangles."""
    total = sum(float(_areas(corners[ok]).sum()) for (corners, _), ok in zip(parts, good, strict=True))
    generator = np.random.default_rng(0)
    points, colours, owners, first = [], [], [], 0
    for (corners, geometry), ok in zip(parts, good, strict=True):
        kept = np.flatnonzero(ok)
        size = _areas(corners[kept])
        number = 1 + np.floor(size / total * SAMPLES + generator.random(len(kept))).astype(np.int64)
        which = np.repeat(np.arange(len(kept)), number)
        u, v = generator.random((2, len(which), 1))
        weights = np.concatenate([1 - np.sqrt(u), np.sqrt(u) * (1 - v), np.sqrt(u) * v], 1)
        points.append(np.einsum("nk,nkd->nd", weights, corners[kept[which]]))
        colours.append(_colours(geometry, kept[which], weights))
        owners.append(which + first)
        first += len(kept)
    return (
        np.concatenate(points).astype(np.float32),
        np.rint(np.clip(np.concatenate(colours), 0, 1) * 255).astype(np.uint8),
        np.concatenate(owners).astype(np.int32),
    )


def _colours(geometry: Any, faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of points on faces, by barycentric weights."""
    visual, corners = geometry.visual, geometry.faces[faces]
    if visual.kind == "face":
        return visual.face_colors[faces, :3] / 255
    if visual.kind == "vertex":
        return np.einsum("nk,nkd->nd", weights, visual.vertex_colors[corners, :3] / 255)
    material = getattr(visual, "material", None)
    factor, image = _material(material)
    uv = getattr(visual, "uv", None)
    if image is None or uv is None or len(uv) != len(geometry.vertices):
        return np.broadcast_to(_to_srgb(factor), (len(faces), 3))
    place = np.einsum("nk,nkd->nd", weights, uv[corners]) % 1.0
    texture = np.asarray(image.convert("RGB"))
    rows, columns = texture.shape[:2]
    row = np.minimum(((1 - place[:, 1]) * rows).astype(np.int64), rows - 1)
    column = np.minimum((place[:, 0] * columns).astype(np.int64), columns - 1)
    return _to_srgb(_to_linear(texture[row, column] / 255) * factor)


def _material(material: Any) -> tuple[np.ndarray, Any]:
    """Linear factor [3] and texture, or None."""
    if material is None:
        return _to_linear(np.array(PLAIN)), None
    image = getattr(material, "baseColorTexture", None)
    if hasattr(material, "baseColorFactor"):
        factor = material.baseColorFactor
        scaled = (
            None
            if factor is None
            else np.asarray(factor, float)[:3] / (255 if np.asarray(factor).dtype.kind in "iu" else 1)
        )
        plain = np.ones(3) if image is not None or factor is not None else _to_linear(np.array(PLAIN))
        return plain if scaled is None else scaled, image
    image = getattr(material, "image", None)
    diffuse = getattr(material, "diffuse", None)
    if image is not None or diffuse is None:
        return np.ones(3) if image is not None else _to_linear(np.array(PLAIN)), image
    return _to_linear(np.asarray(diffuse, float)[:3] / 255), None


def _to_linear(srgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _bomb() -> type[Warning]:
    from PIL import Image

    return Image.DecompressionBombWarning


__all__ = ["MOST_FACES", "SUFFIXES", "Beside", "Model", "read_model"]
