"""Binary glTF 2.0 (Khronos, ISO/IEC 12113): one mesh in one file that Blender, Unity, Unreal and browsers open.

Metres, y up, front +z; opaque, single-sided; COLOR_0 is linear (section 3.7.2.1), from sRGB by IEC 61966-2-1.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.three_d.mesh.mesh import Mesh

FLOAT, USHORT, UINT = 5126, 5123, 5125
ARRAY, ELEMENTS = 34962, 34963
GREY = 0.5225  # 0.75 in sRGB
ROUGHNESS = 0.8


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light from sRGB, both from 0 to 1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def glb(mesh: Mesh, *, name: str = "shape", facts: Mapping[str, Any] | None = None) -> bytes:
    """A mesh as a GLB file.

    Parameters
    ----------
    mesh
        In metres.
    name
        Of the object.
    facts
        Plain values for `asset.extras`, such as the prompt.

    Returns
    -------
    bytes

    Raises
    ------
    UsageError
        If the mesh has no face: glTF has no empty meshes.

    References
    ----------
    https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html, sections 3.6, 3.7, 4.4.
    """
    if not len(mesh.faces):
        raise UsageError("the mesh has no faces: there is nothing to write")
    small = len(mesh.vertices) <= 65535  # 65535 itself is not allowed as an index
    parts: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("POSITION", mesh.vertices, {"componentType": FLOAT, "type": "VEC3"} | _range(mesh.vertices)),
        ("NORMAL", mesh.normals, {"componentType": FLOAT, "type": "VEC3"}),
    ]
    if mesh.colours is not None:
        parts.append(("COLOR_0", _colour(mesh.colours), {"componentType": USHORT, "type": "VEC4", "normalized": True}))
    indices = mesh.faces.ravel().astype("<u2" if small else "<u4")
    parts.append(("", indices, {"componentType": USHORT if small else UINT, "type": "SCALAR"}))
    body, views, accessors, attributes = b"", [], [], {}
    for number, (attribute, values, described) in enumerate(parts):
        content = np.ascontiguousarray(values).tobytes()
        views.append({"buffer": 0, "byteOffset": len(body), "byteLength": len(content)})
        views[-1]["target"] = ARRAY if attribute else ELEMENTS
        accessors.append({"bufferView": number, "count": len(values)} | described)
        if attribute:
            attributes[attribute] = number
        body += content + b"\0" * (-len(content) % 4)
    tree = {
        "asset": {"version": "2.0", "generator": f"fewstep {metadata.version('fewstep')}"}
        | ({"extras": dict(facts)} if facts else {}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [
            {"name": name, "primitives": [{"attributes": attributes, "indices": len(parts) - 1, "material": 0}]}
        ],
        "materials": [_material(mesh.colours is not None)],
        "buffers": [{"byteLength": len(body)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(body)
    header = struct.pack("<4sII", b"glTF", 2, total)
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body


def _range(points: np.ndarray) -> dict[str, list[float]]:
    return {"min": [float(v) for v in points.min(0)], "max": [float(v) for v in points.max(0)]}


def _colour(colours: np.ndarray) -> np.ndarray:
    """16 bits, for linear colours in 8 lose the dark ones; and alpha, so that each is 4-byte aligned (3.6.2.4)."""
    wide = np.full((len(colours), 4), 65535, "<u2")
    table = np.rint(linear(np.arange(256) / 255) * 65535).astype("<u2")
    wide[:, :3] = table[colours]
    return wide


def _material(coloured: bool) -> dict[str, Any]:
    base = [1.0, 1.0, 1.0, 1.0] if coloured else [GREY, GREY, GREY, 1.0]
    surface = {"baseColorFactor": base, "metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    return {"name": "colours", "pbrMetallicRoughness": surface, "alphaMode": "OPAQUE", "doubleSided": False}
