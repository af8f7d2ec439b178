"""A strict reader of GLB files: the rules of glTF 2.0 that a static mesh must keep, clause by clause."""

import json
import struct

import numpy as np

SIZES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
KEYS = {
    "asset": {"version", "generator", "extras", "copyright", "minVersion"},
    "accessors": {"bufferView", "byteOffset", "componentType", "normalized", "count", "type", "min", "max", "name"},
    "bufferViews": {"buffer", "byteOffset", "byteLength", "byteStride", "target", "name"},
}


def read(content):
    """Attributes and indices [F, 3] of the one primitive, and the JSON tree; AssertionError names the clause."""
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content)), "4.4.1 header"
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON", "4.4.3.2 the first chunk is JSON"
    assert size % 4 == 0, "4.4.3.1 chunks are aligned"
    text = content[20 : 20 + size]
    assert not text.rstrip(b" ").endswith(b"\0"), "4.4.3.2 JSON is padded with spaces"
    tree = json.loads(text)
    body_size, kind = struct.unpack_from("<I4s", content, 20 + size)
    assert kind == b"BIN\0", "4.4.3.3 the second chunk is BIN"
    assert body_size % 4 == 0
    assert 28 + size + body_size == len(content)
    body = content[28 + size :]
    assert tree["asset"]["version"] == "2.0", "3.2"
    assert set(tree["asset"]) <= KEYS["asset"]
    assert len(tree["buffers"]) == 1
    assert "uri" not in tree["buffers"][0]
    assert 0 <= body_size - tree["buffers"][0]["byteLength"] <= 3, "4.4.3.3 the buffer is the chunk without padding"
    for view in tree["bufferViews"]:
        assert set(view) <= KEYS["bufferViews"]
        assert view["byteLength"] >= 1
        assert view.get("byteOffset", 0) + view["byteLength"] <= tree["buffers"][0]["byteLength"], "3.6.1"
    (primitive,) = tree["meshes"][0]["primitives"]
    assert primitive.get("mode", 4) == 4
    arrays = {name: _accessor(tree, body, n, name) for name, n in primitive["attributes"].items()}
    count = len(arrays["POSITION"])
    assert all(len(values) == count for values in arrays.values()), "3.7.2.1 all attributes have one count"
    indices = _accessor(tree, body, primitive["indices"], None).ravel()
    kind = tree["accessors"][primitive["indices"]]["componentType"]
    assert kind in (5121, 5123, 5125), "3.7.2.1 indices are unsigned"
    assert indices.max() < count, "3.7.2.1 indices are in range"
    assert indices.max() < 2 ** (8 * SIZES[kind]) - 1, "3.7.2.1 the largest value restarts primitives"
    assert len(indices) % 3 == 0
    faces = indices.reshape(-1, 3).astype(np.int64)
    assert ((faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])).all()
    _materials(tree, primitive)
    _scene(tree)
    used = {*primitive["attributes"].values(), primitive["indices"]}
    assert used == set(range(len(tree["accessors"]))), "nothing is left over"
    return arrays, faces, tree


def _accessor(tree, body, number, attribute):
    a = tree["accessors"][number]
    assert set(a) <= KEYS["accessors"]
    view = tree["bufferViews"][a["bufferView"]]
    part, width = SIZES[a["componentType"]], WIDTHS[a["type"]]
    offset = view.get("byteOffset", 0) + a.get("byteOffset", 0)
    stride = view.get("byteStride", part * width)
    assert offset % part == 0, "3.6.2.4 an accessor is aligned to its component"
    assert view.get("byteOffset", 0) % 4 == 0
    assert a["count"] >= 1
    assert a.get("byteOffset", 0) + stride * (a["count"] - 1) + part * width <= view["byteLength"], "3.6.2.4 it fits"
    if attribute is None:
        assert view["target"] == 34963, "3.6.1 indices"
        assert a["type"] == "SCALAR"
        assert "byteStride" not in view
    else:
        assert view["target"] == 34962, "3.6.1 vertices"
        assert stride % 4 == 0, "3.6.2.4 vertex attributes are 4-byte aligned"
    values = np.frombuffer(body, KINDS[a["componentType"]], a["count"] * width, offset).reshape(-1, width)
    if attribute == "POSITION":
        assert a["componentType"] == 5126
        assert a["type"] == "VEC3"
        assert np.float32(a["min"]).tolist() == values.min(0).tolist(), "3.6.2.5 exact bounds"
        assert np.float32(a["max"]).tolist() == values.max(0).tolist()
    if attribute == "NORMAL":
        assert a["type"] == "VEC3"
        assert np.abs(np.linalg.norm(values, axis=1) - 1).max() < 5e-4, "3.7.2.1 normals are unit vectors"
    if attribute == "COLOR_0":
        assert a["type"] in ("VEC3", "VEC4")
        assert a["componentType"] == 5126 or (a["componentType"] in (5121, 5123) and a["normalized"]), "3.7.2.1"
        values = values / (1.0 if a["componentType"] == 5126 else 2.0 ** (8 * part) - 1)
        assert values.min() >= 0
        assert values.max() <= 1
    assert np.isfinite(values.astype(float)).all()
    return values


def _materials(tree, primitive):
    material = tree["materials"][primitive["material"]]
    surface = material["pbrMetallicRoughness"]
    assert all(
        0 <= v <= 1 for v in (*surface["baseColorFactor"], surface["metallicFactor"], surface["roughnessFactor"])
    )
    assert material.get("alphaMode", "OPAQUE") in ("OPAQUE", "MASK", "BLEND")


def _scene(tree):
    roots = tree["scenes"][tree["scene"]]["nodes"]
    assert roots
    assert all(0 <= node < len(tree["nodes"]) for node in roots)
    assert tree["nodes"][roots[0]]["mesh"] == 0
