"""A small image net for the samplers' benchmark: 32 x 32 crops of photographs, eps-prediction on DDPM's table.

    loss = E |eps − net(a x0 + s eps, 1000 t − 1)|²       (Ho et al. 2020, arXiv:2006.11239, equation 14)

Train it with ``python -m fewstep.benchmarks._image32 IMAGES OUT MINUTES``; IMAGES is a folder of PNG files.
"""

from __future__ import annotations

import math
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core import paths

SIZE = 32
ALPHAS_CUMPROD = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
"""Of Ho et al. 2020, section 4."""


class Block(nn.Module):
    """Two convolutions with the time in between, and a shortcut."""

    def __init__(self, channels: int, out: int, embedded: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.time = nn.Linear(embedded, out)
        self.second = nn.Sequential(nn.GroupNorm(8, out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        nn.init.zeros_(self.second[-1].weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, out, H, W]."""
        h = self.first(x) + self.time(embedding)[:, :, None, None]
        return self.shortcut(x) + self.second(h)


class UNet(nn.Module):
    """Three levels, 16 x 16 to 4 x 4, over 2 x 2 pixels at a time.

    Parameters
    ----------
    width
        Channels of the finest level; twice as many below.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        w, e = width, 4 * width
        self.width = width
        self.embed = nn.Sequential(nn.Linear(w, e), nn.SiLU(), nn.Linear(e, e), nn.SiLU())
        self.enter = nn.Conv2d(12, w, 3, padding=1)
        self.down = nn.ModuleList([Block(w, w, e), Block(w, 2 * w, e), Block(2 * w, 2 * w, e)])
        self.middle = nn.ModuleList([Block(2 * w, 2 * w, e), Block(2 * w, 2 * w, e)])
        self.up = nn.ModuleList([Block(4 * w, 2 * w, e), Block(4 * w, w, e), Block(2 * w, w, e)])
        self.leave = nn.Sequential(nn.GroupNorm(8, w), nn.SiLU(), nn.Conv2d(w, 12, 3, padding=1))

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """The noise in x [B, 3, 32, 32] at timesteps [B], fractions allowed."""
        rates = torch.exp(-math.log(1e4) * torch.arange(self.width // 2, device=x.device) / (self.width // 2))
        angles = timestep.to(x.dtype)[:, None] * rates
        embedding = self.embed(torch.cat([angles.sin(), angles.cos()], 1))
        h, kept = self.enter(functional.pixel_unshuffle(x, 2)), []
        for level, block in enumerate(self.down):
            h = block(functional.avg_pool2d(h, 2) if level else h, embedding)
            kept.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for level, block in enumerate(self.up):
            h = functional.interpolate(h, scale_factor=2) if level else h
            h = block(torch.cat([h, kept.pop()], 1), embedding)
        return functional.pixel_shuffle(self.leave(h), 2)


def photographs(folder: Path) -> list[Tensor]:
    """The PNG files of a folder, at half and at a quarter of their size, [3, H, W] in [−1, 1]."""
    from matplotlib.image import imread

    found = []
    for file in sorted(folder.glob("*.png")):
        image = torch.from_numpy(imread(file)[..., :3].copy()).permute(2, 0, 1)[None] * 2 - 1
        found += [functional.avg_pool2d(image, k)[0] for k in (4, 8)]
    return found


def crops(images: list[Tensor], n: int, generator: torch.Generator) -> Tensor:
    """Random crops, half of them mirrored, [n, 3, 32, 32]."""
    out = torch.empty(n, 3, SIZE, SIZE)
    for item in out:
        pick, flip = torch.randint(len(images), (1,), generator=generator), torch.rand(1, generator=generator) < 0.5
        image = images[int(pick)]
        top, left = (int(torch.randint(size - SIZE + 1, (1,), generator=generator)) for size in image.shape[1:])
        crop = image[:, top : top + SIZE, left : left + SIZE]
        item.copy_(crop.flip(-1) if flip else crop)
    return out


def load(file: Path) -> UNet:
    """The net of a file that `train` wrote."""
    weights = load_file(file)
    net = UNet(len(weights["enter.bias"]))
    net.load_state_dict({name: value.float() for name, value in weights.items()})
    return net.eval().requires_grad_(False)


def train(images: list[Tensor], out: Path, minutes: float, *, width: int = 48, batch: int = 32) -> None:
    """Adam with a cosine over wall time; the weights' running mean goes to `out` in half precision now and then."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, path = UNet(width), paths.vp_table(ALPHAS_CUMPROD)
    mean = deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    begin, losses, step = time.monotonic(), 0.0, 0
    while (part := (time.monotonic() - begin) / 60 / minutes) < 1:
        optimizer.param_groups[0]["lr"] = 1e-3 * min((step + 1) / 200, math.cos(part * math.pi / 2))
        x0 = crops(images, batch, generator)
        t = 1e-3 + (1 - 1e-3) * torch.rand(batch, generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        loss = (eps - net(path.sample(x0, eps, t), 1000 * t - 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step, losses = step + 1, losses + float(loss.detach())
        with torch.no_grad():
            for kept, new in zip(mean.parameters(), net.parameters(), strict=True):
                kept.lerp_(new, max(1 / (step + 1), 1 / 500))
        if step % 200 == 0:
            print(f"step {step}, {part:.3f} of the time, loss {losses / 200:.4f}", flush=True)
            losses = 0.0
            save(mean, out)
    save(mean, out)


def save(net: UNet, out: Path) -> None:
    """Write the weights in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in net.state_dict().items()}, out / "model.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(photographs(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3]))
