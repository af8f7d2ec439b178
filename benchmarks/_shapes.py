"""A small transformer trained on drawn shapes, for the caches' benchmark: class-conditional flow matching.

loss = E |v(x_t, t, label) − (eps − x0)|²,  x_t = (1 − t) x0 + t eps       (Lipman et al. 2023, arXiv:2210.02747)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fewstep.core.nn.dit import DiT

SIZE, PATCH, LABELS = 16, 2, 4
"""Pixels, pixels per token, and classes; label LABELS is none."""


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
        net = DiT(size=SIZE, patch=PATCH, labels=LABELS)
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
