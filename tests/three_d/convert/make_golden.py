"""Write golden.npz and golden.json beside this file: ``python make_golden.py TRELLIS TRELLIS.2`` (copies of the two).

The official nets run as they are; packages that they import and that need a GPU are replaced: flash_attn by PyTorch's
attention item by item, spconv by a dense convolution on the grid that the cells lie on.
"""

import json
import os
import sys
import types
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import official  # noqa: E402


def attention(q, k, v, starts, k_starts, *_):
    out = []
    for a, b, c, d in zip(starts, starts[1:], k_starts, k_starts[1:], strict=False):
        parts = (part.transpose(0, 1)[None] for part in (q[a:b], k[c:d], v[c:d]))
        out.append(functional.scaled_dot_product_attention(*parts)[0].transpose(0, 1))
    return torch.cat(out)


class SparseConvTensor:
    def __init__(self, features, indices, spatial_shape, batch_size, *_, **__):
        self._features, self.indices = features, indices
        self.spatial_shape, self.batch_size, self.indice_dict = spatial_shape, batch_size, {}
        self.grid = self.voxel_num = self.benchmark = self.benchmark_record = self.thrust_allocator = None
        self._timer = self.force_algo = self.int8_scale = None

    features = property(lambda self: self._features)


class SubMConv3d(nn.Module):
    def __init__(self, channels, out_channels, size, **_):
        super().__init__()
        self.out_channels = out_channels
        self.weight = nn.Parameter(torch.zeros(out_channels, size, size, size, channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x):
        at = x.indices.long()
        dense = torch.zeros(*(at.amax(0) + 1).tolist(), x.features.shape[1])
        dense[tuple(at.T)] = x.features
        out = functional.conv3d(dense.movedim(-1, 1), self.weight.movedim(-1, 1), self.bias, padding=1)
        return SparseConvTensor(out.movedim(1, -1)[tuple(at.T)], x.indices, x.spatial_shape, x.batch_size)


def module(name, **content):
    made = types.ModuleType(name)
    for key, value in content.items():
        setattr(made, key, value)
    sys.modules[name] = made
    return made


class EasyDict(dict):
    __getattr__ = dict.__getitem__


def prepare(trellis, trellis2):
    os.environ |= {"ATTN_BACKEND": "sdpa", "SPARSE_ATTN_BACKEND": "flash_attn"}
    module(
        "flash_attn", flash_attn_varlen_func=attention,
        flash_attn_varlen_qkvpacked_func=lambda qkv, s, m: attention(*qkv.unbind(1), s, s),
        flash_attn_varlen_kvpacked_func=lambda q, kv, s, k, *m: attention(q, *kv.unbind(1), s, k),
    )  # fmt: skip
    parts = {"SparseConvTensor": SparseConvTensor, "SubMConv3d": SubMConv3d}
    module("spconv", pytorch=module("spconv.pytorch", ConvAlgo=types.SimpleNamespace(), **parts))
    module("easydict", EasyDict=EasyDict)
    for root, name in ((trellis, "trellis"), (trellis2, "trellis2")):
        for part in (name, f"{name}.models", f"{name}.pipelines"):
            module(part, __path__=[str(Path(root, *part.split(".")))])
    if "trellis2.modules.sparse" not in sys.modules:  # only names are asked of it
        names = {key: type(key, (nn.Module,), {}) for key in ("SparseConv3d", "SparseInverseConv3d", "SparseLinear")}
        module("trellis2.modules", __path__=[str(Path(trellis2, "trellis2", "modules"))])
        sys.modules["trellis2.modules"].sparse = module("trellis2.modules.sparse", **names)


FILES = {
    "SparseStructureFlowModel": "sparse_structure_flow", "SLatFlowModel": "structured_latent_flow",
    "SparseStructureEncoder": "sparse_structure_vae", "SparseStructureDecoder": "sparse_structure_vae",
}  # fmt: skip


def built(key):
    name, options = official.NETS[key]
    package = "trellis2" if key == "rotated" else "trellis"
    net = getattr(import_module(f"{package}.models.{FILES[name]}"), name)(**options)
    shapes = {k: list(v.shape) for k, v in net.state_dict().items()}
    missing = net.load_state_dict(official.weights(shapes), strict=False).missing_keys
    assert set(missing) <= {"pos_emb", "rope_phases"}, missing
    return net.eval(), shapes


@torch.no_grad()
def main(trellis, trellis2):
    prepare(trellis, trellis2)
    answers, names = {}, {}
    for key in official.NETS:
        net, names[key] = built(key)
        t, cond = official.told(key)
        if key == "slat":
            coords, mask = official.cells()
            tensor = import_module("trellis.modules.sparse").SparseTensor
            item = torch.arange(2)[:, None].expand_as(mask)[mask]
            x = tensor(official.values("x", 2, 60, 8)[mask], torch.cat([item[:, None], coords[mask]], 1).int())
            answers[key] = net(x, 1000 * t, cond).feats
        elif key == "encoder":
            _, *both = net((official.values("x", 1, 1, 8, 8, 8) > 0).float(), return_raw=True)
            answers[key] = torch.cat(both)
        elif key == "decoder":
            answers[key] = net(official.values("x", 1, 8, 4, 4, 4))
        else:
            x = official.values("x", 2, 8, 4, 4, 4)
            answers[key] = net(x, 1000 * t, cond)
            if key == "structure":
                sampler = import_module("trellis.pipelines.samplers").FlowEulerGuidanceIntervalSampler(1e-5)
                more = {"verbose": False, "neg_cond": torch.zeros_like(cond)}
                answers["trajectory"] = sampler.sample(net, 3 * x, cond=cond, **more, **official.TRAJECTORY).samples
    np.savez_compressed(HERE / "golden.npz", **{key: value.numpy() for key, value in answers.items()})
    (HERE / "golden.json").write_text(json.dumps(names, separators=(",", ":")) + "\n")
    print({key: (list(value.shape), value.abs().max().item()) for key, value in answers.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
