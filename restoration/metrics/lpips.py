"""LPIPS with AlexNet, for those who have its weights: nothing of it ships, and nothing is fetched.

    d = sum_l mean_{h, w} w_l · (f_l(x) − f_l(x0))²,   f_l: activations of unit length over their channels

Zhang et al. 2018, arXiv:1801.03924, eq. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError
from fewstep.restoration.metrics.luma import paired

LAYERS = (
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
"""Number in torchvision's ``features``, channels in and out, kernel, stride, padding."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True, eq=False)
class Lpips:
    """The distance, ready to be called.

    Parameters
    ----------
    convolutions
        AlexNet's five.
    heads
        Weights per channel of each, [channels].
    """

    convolutions: list[nn.Conv2d]
    heads: list[Tensor]

    @classmethod
    def load(cls, files: Sequence[str | Path]) -> Lpips:
        """Read weights.

        Parameters
        ----------
        files
            ``.safetensors``, or ``.pth`` that hold tensors only: together torchvision's AlexNet (``features.0.weight``,
            ...) and LPIPS's heads (``lin0.model.1.weight``, ...).

        Raises
        ------
        UsageError
            If a file is missing or weights are.
        """
        state: dict[str, Tensor] = {}
        for file in map(Path, files):
            if not file.is_file():
                raise UsageError(f"{file}: there is no such file")
            if file.suffix == ".safetensors":
                from safetensors.torch import load_file

                state |= load_file(file)
            else:
                state |= torch.load(file, map_location="cpu", weights_only=True)
        convolutions, heads = [], []
        for k, (number, inside, outside, kernel, stride, pad) in enumerate(LAYERS):
            names = [f"features.{number}.weight", f"features.{number}.bias", f"lin{k}.model.1.weight"]
            missing = [name for name in names if name not in state]
            if missing:
                raise UsageError(
                    f"LPIPS needs torchvision's AlexNet and LPIPS's heads, {', '.join(missing)} is not in the files"
                )
            layer = nn.Conv2d(inside, outside, kernel, stride, pad)
            layer.load_state_dict({"weight": state[names[0]], "bias": state[names[1]]})
            convolutions.append(layer.requires_grad_(False))
            heads.append(state[names[2]].flatten().float())
        return cls(convolutions, heads)

    def __call__(self, x: np.ndarray, reference: np.ndarray, *, data_range: float) -> float:
        """The distance of two pictures [rows, columns, 1 or 3]; 0 for equal ones.

        Raises
        ------
        UsageError
            If the shapes differ or a side is shorter than 35 pixels.
        """
        a, b = paired(x, reference)
        if min(a.shape[:2]) < 35:
            raise UsageError(f"expected at least 35 pixels a side for LPIPS, got {list(a.shape[:2])}")
        with torch.inference_mode():
            pair = torch.cat([_prepared(p, data_range) for p in (a, b)])
            total = 0.0
            for k, (layer, head) in enumerate(zip(self.convolutions, self.heads, strict=True)):
                pair = functional.max_pool2d(pair, 3, 2) if k in (1, 2) else pair
                pair = functional.relu(layer(pair))
                unit = pair / (pair.norm(dim=1, keepdim=True) + 1e-10)
                total += float(((unit[0] - unit[1]).square() * head[:, None, None]).sum(0).mean())
        return total


def _prepared(x: np.ndarray, data_range: float) -> Tensor:
    values = torch.from_numpy(x.transpose(2, 0, 1).copy()).float()[None] * (2 / data_range) - 1
    shift, scale = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (SHIFT, SCALE))
    return (values.expand(1, 3, -1, -1) - shift) / scale
