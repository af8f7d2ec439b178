"""A small transformer trained on drawn shapes, for the caches' benchmark: class-conditional flow matching.

    loss = E |v(x_t, t, label) − (eps − x0)|²,  x_t = (1 − t) x0 + t eps       (Lipman et al. 2023, arXiv:2210.02747)

The blocks are those of DiT (Peebles & Xie 2023, arXiv:2212.09748) with their shift, scale and gate from time and label.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE, PATCH, LABELS = 16, 2, 4
"""Pixels, pixels per token, and classes; label LABELS is none."""


class Block(nn.Module):
    """Attention and a feed-forward layer over tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attn, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.told = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """h [batch, token, width], embedding [batch, width]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.told(embedding)[:, None].chunk(6, -1)
        n = functional.layer_norm(h, h.shape[-1:]) * (1 + scale1) + shift1
        q, k, v = self.attn(n).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + gate1 * self.join(mixed)
        return h + gate2 * self.mlp(functional.layer_norm(h, h.shape[-1:]) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Velocity of x [batch, 1, SIZE, SIZE] at t [batch], told labels [batch]."""

    def __init__(self, depth: int = 8, width: int = 64, heads: int = 4):
        super().__init__()
        self.enter = nn.Linear(PATCH * PATCH, width)
        self.place = nn.Parameter(torch.randn(1, (SIZE // PATCH) ** 2, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(LABELS + 1, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.leave = nn.Linear(width, PATCH * PATCH)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The velocity, shaped like x."""
        half = self.leave.in_features // 2
        angles = 1000 * t.to(x.dtype)[:, None] * torch.exp(-math.log(1e4) * torch.arange(half) / half)
        embedding = functional.silu(self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.label(label))
        h = self.enter(functional.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)) + self.place
        for block in self.blocks:
            h = block(h, embedding)
        out = self.leave(functional.layer_norm(h, h.shape[-1:])).transpose(1, 2)
        return functional.pixel_shuffle(out.unflatten(-1, (SIZE // PATCH, SIZE // PATCH)), PATCH)


def shapes(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Discs, squares, rings and crosses of random size, place and tone, [n, 1, SIZE, SIZE] in [−1, 1], and labels."""
    label = torch.randint(LABELS, (n,), generator=generator)
    place = (torch.rand(n, 2, 1, 1, generator=generator) - 0.5) * 0.8
    radius = 0.25 + 0.35 * torch.rand(n, 1, 1, generator=generator)
    tone = 0.3 + 0.7 * torch.rand(n, 1, 1, generator=generator)
    line = torch.linspace(-1, 1, SIZE)
    dy, dx = line[:, None] - place[:, 0], line[None, :] - place[:, 1]
    round_, square = (dx**2 + dy**2).sqrt(), torch.maximum(dx.abs(), dy.abs())
    ring, cross = (round_ - radius * 0.75).abs() + radius * 0.7, torch.minimum(dx.abs(), dy.abs()) + radius * 0.7
    distance = torch.stack([round_, square, ring, torch.maximum(cross, square)])[label, torch.arange(n)]
    return (2 * tone * torch.sigmoid((radius - distance) * 20) - 1)[:, None], label


def trained(iterations: int, *, batch: int = 16, progress: Callable[[str], None] = print) -> DiT:
    """The net after so many steps of Adam, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DiT()
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(iterations):
        rate = min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / iterations)))
        optimizer.param_groups[0]["lr"] = 2e-3 * rate
        x0, label = shapes(batch, generator)
        label = torch.where(torch.rand(batch, generator=generator) < 0.1, LABELS, label)
        eps, t = torch.randn(x0.shape, generator=generator), torch.rand(batch, generator=generator)
        x = torch.lerp(x0, eps, t.view(-1, 1, 1, 1))
        loss = (net(x, t, label) - (eps - x0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            progress(f"trained {step + 1} of {iterations}, loss {float(loss.detach()):.3f}")
    return net.eval().requires_grad_(False)
