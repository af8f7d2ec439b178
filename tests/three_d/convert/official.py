"""Tiny nets of official shapes, and values that need no random numbers: what `make_golden.py` and tests share.

``golden.npz`` holds answers of the official code (microsoft/TRELLIS 6b0d64751ad54d9c32d7b05fec482eb29178f56f and
microsoft/TRELLIS.2 5565d240c4a494caaf9ece7a554542b76ffa36d3, both MIT), ``golden.json`` names and shapes of its state
dicts. ``python make_golden.py TRELLIS TRELLIS.2`` made both, on copies of these repositories.
"""

import zlib

import numpy as np
import torch

SMALL = {
    "resolution": 4, "in_channels": 8, "model_channels": 64, "cond_channels": 24, "out_channels": 8, "num_blocks": 2,
    "num_heads": 4,
}  # fmt: skip
NETS = {
    "structure": ("SparseStructureFlowModel", SMALL | {"mlp_ratio": 4, "patch_size": 1, "qk_rms_norm": True}),
    "patches": ("SparseStructureFlowModel", SMALL | {"mlp_ratio": 2, "patch_size": 2, "qk_rms_norm_cross": True}),
    "rotated": (
        "SparseStructureFlowModel",
        SMALL | {"mlp_ratio": 5.3334, "pe_mode": "rope", "share_mod": True, "qk_rms_norm": True}
        | {"qk_rms_norm_cross": True},
    ),
    "slat": (
        "SLatFlowModel",
        SMALL | {"resolution": 8, "mlp_ratio": 4, "patch_size": 2, "io_block_channels": [16], "qk_rms_norm": True},
    ),
    "encoder": (
        "SparseStructureEncoder",
        {"in_channels": 1, "latent_channels": 8, "num_res_blocks": 2, "channels": [8, 16], "num_res_blocks_middle": 2},
    ),
    "decoder": (
        "SparseStructureDecoder",
        {"out_channels": 1, "latent_channels": 8, "num_res_blocks": 2, "channels": [16, 8], "num_res_blocks_middle": 2},
    ),
}  # fmt: skip
TRAJECTORY = {"steps": 25, "rescale_t": 3.0, "cfg_strength": 7.5, "cfg_interval": (0.5, 1.0)}


def values(name, *shape):
    """Float32 in (-1, 1), of a name and a shape, the same on every machine."""
    start = zlib.crc32(name.encode()) % 9973
    turns = np.sin((np.arange(int(np.prod(shape))) + start).astype(np.float64) * 12.9898) * 43758.5453
    return torch.from_numpy((2 * (turns - np.floor(turns)) - 1).astype(np.float32)).reshape(shape)


def weights(shapes):
    """A state dict; places of tokens are not weights and are left out."""
    return {
        key: values(key, *shape) * (0.5 if "gamma" in key else 0.1) + (2.0 if "gamma" in key else 0.0)
        for key, shape in shapes.items()
        if key not in ("pos_emb", "rope_phases")
    }


def cells():
    """Coords [2, 60, 3] on an 8^3 grid, close together, and mask; the second item has 37 cells."""
    grid = torch.cartesian_prod(*[torch.arange(8)] * 3)
    coords = torch.zeros(2, 60, 3, dtype=torch.long)
    mask = torch.arange(60) < torch.tensor([60, 37])[:, None]
    for item, (centre, n) in enumerate(((3.4, 60), (5.2, 37))):
        order = ((grid - centre).pow(2) * torch.tensor([1.0, 1.3, 1.7])).sum(1).argsort(stable=True)
        coords[item, :n] = grid[order[: 2 * n : 2]]
    return coords, mask


def told(name, size=2):
    """Time [size], condition [size, 5, 24]."""
    return values(f"{name} t", size) * 0.4 + 0.5, 2 * values(f"{name} cond", size, 5, 24)
