"""Meshes as files: GLB, OBJ, PLY and STL, each whole or not at all; the suffix says which.

GLB, OBJ and PLY are in metres with y up. STL, which knows neither units nor colours and goes to printers, is in
millimetres with z up, as slicers read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.three_d.mesh.glb import glb
from fewstep.three_d.mesh.mesh import Mesh

MILLIMETRES = 1000.0


def save(mesh: Mesh, path: str | Path, *, size: float | None = None, facts: Mapping[str, Any] | None = None) -> Path:
    """Write a mesh.

    Parameters
    ----------
    mesh
        At least one face.
    path
        Its suffix is one of `FORMATS`.
    size
        Metres of the longest side; None leaves the coordinates as they are.
    facts
        Kept in GLB (`asset.extras`), and as comments in OBJ and PLY.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        If the suffix is unknown, the size is not positive, or the mesh has no face.
    OSError
        If it cannot be written; nothing is left then.
    """
    path = Path(path)
    make = FORMATS[format_of(path)]
    if not len(mesh.faces):
        raise UsageError(f"{path.name}: the mesh has no faces, there is nothing to write")
    content = make(sized(mesh, size), path.stem, facts or {})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def format_of(path: str | Path) -> str:
    """The key of `FORMATS` that a name ends in.

    Raises
    ------
    UsageError
        If it ends in none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
    return suffix


def sized(mesh: Mesh, size: float | None) -> Mesh:
    """The mesh with its longest side `size` metres long; None: as it is.

    Raises
    ------
    UsageError
        If the size is not a positive number.
    """
    if size is None:
        return mesh
    if not 0 < size < np.inf:
        raise UsageError(f"size is a positive number of metres, got {size}")
    return mesh.scaled(size / float(mesh.extents.max()))


def obj(mesh: Mesh, name: str, facts: Mapping[str, Any]) -> bytes:
    """Wavefront OBJ, colours after the coordinates as MeshLab and Blender read them (sRGB)."""
    lines = [f"# {key}: {' '.join(str(value).split())}" for key, value in facts.items()]
    lines.append(f"o {''.join(c if c.isalnum() else '_' for c in name) or 'shape'}")
    points = mesh.vertices.tolist()
    if mesh.colours is None:
        lines += [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in points]
    else:
        colours = (mesh.colours / 255).tolist()
        both = zip(points, colours, strict=True)
        lines += [f"v {x:.7g} {y:.7g} {z:.7g} {r:.4f} {g:.4f} {b:.4f}" for (x, y, z), (r, g, b) in both]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals.tolist()]
    lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode()


def ply(mesh: Mesh, name: str, facts: Mapping[str, Any]) -> bytes:
    """Stanford PLY, binary, with normals and sRGB colours."""
    kinds = [(axis, "<f4") for axis in ("x", "y", "z", "nx", "ny", "nz")]
    columns = [*mesh.vertices.T, *mesh.normals.T]
    if mesh.colours is not None:
        kinds += [(channel, "u1") for channel in ("red", "green", "blue")]
        columns += list(mesh.colours.T)
    faces = np.empty(len(mesh.faces), [("n", "u1"), ("corners", "<i4", 3)])
    faces["n"], faces["corners"] = 3, mesh.faces
    end = f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
    return header(kinds, len(mesh.vertices), facts, end) + table(kinds, columns) + faces.tobytes()


def stl(mesh: Mesh, name: str, facts: Mapping[str, Any]) -> bytes:
    """Binary STL in millimetres, z up."""
    points = mesh.vertices[:, [0, 2, 1]] * np.array([1, -1, 1], np.float32) * np.float32(MILLIMETRES)
    turned = Mesh(points, mesh.faces)
    vectors = turned.face_vectors
    faces = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    faces["normal"] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    faces["corners"] = points[mesh.faces]
    return b"made by fewstep, millimetres".ljust(80) + np.uint32(len(faces)).tobytes() + faces.tobytes()


def header(kinds: list[tuple[str, str]], count: int, facts: Mapping[str, Any], end: str = "") -> bytes:
    """The head of a binary PLY file whose vertices have float and uchar properties."""
    words = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", "comment made by fewstep"]
    for key, value in facts.items():
        told = f"{key}: {' '.join(str(value).split())}".encode("ascii", "replace").decode()
        lines.append(f"comment {told}")
    lines += [f"element vertex {count}", *[f"property {words[kind]} {name}" for name, kind in kinds]]
    return ("\n".join(lines) + "\n" + end + "end_header\n").encode()


def table(kinds: list[tuple[str, str]], columns: list[np.ndarray]) -> bytes:
    """Rows of a binary PLY file."""
    rows = np.empty(len(columns[0]), kinds)
    for (name, _), column in zip(kinds, columns, strict=True):
        rows[name] = column
    return rows.tobytes()


FORMATS: dict[str, Callable[[Mesh, str, Mapping[str, Any]], bytes]] = {
    ".glb": lambda mesh, name, facts: glb(mesh, name=name, facts=facts),
    ".obj": obj,
    ".ply": ply,
    ".stl": stl,
}
"""Suffix -> how to write."""
