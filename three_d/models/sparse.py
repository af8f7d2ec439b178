"""Layers on scattered cells of a grid in plain PyTorch: submanifold convolution, pooling by two, and the way back.

Submanifold convolution: Graham et al. 2018, arXiv:1711.10275; weights are laid out as in spconv, [out, k, k, k, in].

Letters: T cells of all items together, B batch, N cells of the longest item, C channels, k kernel size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.three_d.models.blocks import plain_norm


@dataclass(frozen=True)
class Cells:
    """Where cells lie; neighbours are looked up once per kernel size.

    Parameters
    ----------
    item
        int64 [T], which item of the batch; not falling.
    coords
        int64 [T, 3], at least 0; no two cells of an item share them.
    """

    item: Tensor
    coords: Tensor

    @classmethod
    def of(cls, coords: Tensor, mask: Tensor) -> Cells:
        """From padded coords [B, N, 3] and mask bool [B, N]; values of a padded tensor are packed by ``x[mask]``."""
        item = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)
        return cls(item[mask], coords[mask].long())

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """For each of 27 offsets, first axis slowest: cells that have a neighbour there, and which it is."""
        side = int(self.coords.max()) + 3 if len(self.coords) else 1
        steps = torch.tensor([side * side, side, 1], device=self.coords.device)
        code = self.item * side**3 + ((self.coords + 1) * steps).sum(1)
        code, order = code.sort()
        found = []
        for offset in product((-1, 0, 1), repeat=3):
            wanted = code + int((torch.tensor(offset, device=steps.device) * steps).sum())
            place = torch.searchsorted(code, wanted).clamp(max=len(code) - 1)
            there = code[place] == wanted
            found.append((order[there], order[place[there]]))
        return found

    def halved(self) -> tuple[Cells, Tensor]:
        """The cells of a grid of half the resolution, and int64 [T], in which of them each cell lies."""
        coarse = self.coords // 2
        side = int(coarse.max()) + 1 if len(coarse) else 1
        code = ((self.item * side + coarse[:, 0]) * side + coarse[:, 1]) * side + coarse[:, 2]
        code, parent = code.unique(return_inverse=True)
        coords = torch.stack([code // side**2 % side, code // side % side, code % side], 1)
        return Cells(code // side**3, coords), parent

    def padded(self, values: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Values [T, C] -> [B, N, C] and mask bool [B, N]; what is padded is 0."""
        counts = torch.bincount(self.item, minlength=batch)
        longest = int(counts.max()) if len(counts) else 0
        mask = torch.arange(longest, device=values.device) < counts[:, None]
        return values.new_zeros(batch, longest, values.shape[1]).index_put((mask,), values), mask


class SubMConv3d(nn.Module):
    """A 3^3 convolution whose output lives on the cells of its input; what is not a cell counts as 0."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, 3, 3, 3, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.uniform_(self.weight, -1, 1)
        self.weight.data.mul_((27 * in_channels) ** -0.5)

    def forward(self, x: Tensor, cells: Cells) -> Tensor:
        """x [T, in] -> [T, out]."""
        kernel = self.weight.flatten(1, 3).permute(1, 2, 0)
        out = functional.linear(x, kernel[13].T, self.bias)
        for number, (here, there) in enumerate(cells.pairs):
            if number != 13 and len(here):
                out = out.index_add(0, here, (x[there] @ kernel[number]).to(out.dtype))
        return out


class SparseConv3d(nn.Module):
    """`SubMConv3d` under the name that it has in the official checkpoints."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = SubMConv3d(in_channels, out_channels)

    def forward(self, x: Tensor, cells: Cells) -> Tensor:
        """x [T, in] -> [T, out]."""
        return self.conv(x, cells)


def pooled(x: Tensor, parent: Tensor, n: int) -> Tensor:
    """Sum over the cells of each parent, divided by one more than their number.

    The official layer averages so, the 0 that its sum starts from among the values, and its weights have learnt it.

    Parameters
    ----------
    x, parent
        [T, C], and int64 [T] of `Cells.halved`.
    n
        Number of parents.

    Returns
    -------
    Tensor
        [n, C].
    """
    counts = torch.bincount(parent, minlength=n)[:, None] + 1
    return x.new_zeros(n, x.shape[1]).index_add(0, parent, x) / counts.to(x.dtype)


class SparseResBlock(nn.Module):
    """Two modulated convolutions beside a skip, on cells that were halved or restored by the caller before.

    Parameters
    ----------
    channels, out_channels
        Of what goes in and comes out.
    told_channels
        Width of the time's embedding.
    """

    def __init__(self, channels: int, told_channels: int, out_channels: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.conv1, self.conv2 = SparseConv3d(channels, out_channels), SparseConv3d(out_channels, out_channels)
        nn.init.zeros_(self.conv2.conv.weight)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(told_channels, 2 * out_channels))
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Linear(channels, out_channels)

    def forward(self, x: Tensor, told: Tensor, cells: Cells) -> Tensor:
        """x [T, channels], told [B, W] -> [T, out_channels]."""
        scale, shift = self.emb_layers(told)[cells.item].chunk(2, 1)
        h = self.conv1(functional.silu(self.norm1(x)), cells)
        h = functional.silu(plain_norm(h) * (1 + scale) + shift)
        return self.conv2(h, cells) + self.skip_connection(x)
