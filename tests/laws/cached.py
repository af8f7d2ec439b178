"""Two tiny nets that count their blocks' calls, and how they are sampled."""

import torch
from torch import nn

from fewstep.core import parameterize, paths, sample, solvers, times


class Block(nn.Module):
    """Attention-free stand-in: x + mlp(norm(x) * (1 + scale(t)))."""

    def __init__(self, width):
        super().__init__()
        self.attn = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale = nn.Linear(1, width)
        self.calls = 0
        self.in_place = False

    def forward(self, x, emb):
        """x [batch, token, width], emb [batch, 1]."""
        self.calls += 1
        h = self.attn(x)
        if self.in_place:
            h += x
        else:
            h = h + x
        return h + self.mlp(h * (1 + self.scale(emb)[:, None]))


class DiT(nn.Module):
    """`depth` blocks over tokens, told t; a condition is added to the embedding."""

    def __init__(self, depth=5, width=8):
        super().__init__()
        self.embed, self.head = nn.Linear(3, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.fail_at = None

    def forward(self, x, t, cond=None):
        """x [batch, token, 3], t [batch]."""
        if self.fail_at is not None and float(t[0]) < self.fail_at:
            raise RuntimeError("stop")
        emb = t[:, None].to(x.dtype) * 3
        emb = emb if cond is None else emb + cond
        h = self.embed(x)
        for block in self.blocks:
            h = block(h, emb)
        return self.head(h) + x

    @property
    def calls(self):
        return [block.calls for block in self.blocks]

    def zero(self):
        for block in self.blocks:
            block.calls = 0


class Down(nn.Module):
    """A convolution that counts."""

    def __init__(self, inner, outer):
        super().__init__()
        self.conv, self.calls = nn.Conv1d(inner, outer, 3, padding=1), 0

    def forward(self, x):
        """x [batch, channel, length]."""
        self.calls += 1
        return torch.nn.functional.silu(self.conv(x))


class UNet(nn.Module):
    """Three levels over [batch, 1, length]."""

    def __init__(self, width=6):
        super().__init__()
        self.down = nn.ModuleList([Down(2, width), Down(width, width), Down(width, width)])
        self.mid = Down(width, width)
        self.up = nn.ModuleList([Down(2 * width, width) for _ in range(3)])
        self.out = nn.Conv1d(width, 1, 1)

    def _begin(self, x, t):
        return torch.cat([x, t[:, None, None].to(x).expand(-1, 1, x.shape[2])], 1)

    def full(self, x, t, branch):
        """The net, and what comes from below `branch`."""
        h, skips = self._begin(x, t), []
        for level in self.down:
            h = level(h)
            skips.append(h)
            h = torch.nn.functional.avg_pool1d(h, 2)
        h = self.mid(h)
        for m in (2, 1, 0):
            h = h.repeat_interleave(2, -1)
            if m == branch:
                deep = h
            h = self.up[m](torch.cat([h, skips[m]], 1))
        return self.out(h), deep

    def shallow(self, deep, x, t, branch):
        """What is left above `branch`."""
        h, skips = self._begin(x, t), []
        for level in self.down[: branch + 1]:
            h = level(h)
            skips.append(h)
            h = torch.nn.functional.avg_pool1d(h, 2)
        h = deep
        for m in range(branch, -1, -1):
            h = h if m == branch else h.repeat_interleave(2, -1)
            h = self.up[m](torch.cat([h, skips[m]], 1))
        return self.out(h)

    def forward(self, x, t):
        """x [batch, 1, length], t [batch]."""
        return self.full(x, t, 0)[0]


PATH = paths.rectified_flow()


def dit(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DiT(**options).eval()


def unet(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet().eval()


def grid(steps=8):
    return times.uniform(PATH, steps)


def draw(net, steps=8, batch=2, tokens=4, solver=None, seed=0, denoise=None, **options):
    """Sample from a net as a flow."""
    denoise = parameterize.flow(net, PATH) if denoise is None else denoise
    if "x" not in options:
        options["shape"] = (batch, 1, 16) if isinstance(net, UNet) else (batch, tokens, 3)
    solver = solvers.ddim() if solver is None else solver
    return sample(denoise, PATH, times=grid(steps), solver=solver, generator=seed, **options)
