"""DiffIR: a transformer whose every block is modulated by a prior vector, and a tiny diffusion that guesses the vector.

Xia et al. 2023, arXiv:2303.09472. Stage 1 reads the vector off (lq, ground truth) by CPEN (eq. 2); stage 2 draws it in
T = 4 reverse steps without noise from what CPEN reads off lq alone (eq. 9-12), all unrolled in training. The
body is Restormer (Zamir et al. 2022, arXiv:2111.09881) with x k1 + k2 in front of both sublayers.

Sizes: `SIZES`. Pictures are [batch, 3, rows, columns] in [0, 1], as the official weights expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core import rng
from fewstep.core.errors import UsageError

SIZES: Mapping[str, Mapping[str, Any]] = {
    "sr-x4": {
        "scale": 4, "dim": 64, "blocks": (13, 1, 1, 1), "refinement": 13, "expansion": 2.2, "norm_bias": False,
        "extractor_blocks": 9,
    },
    "deblur": {
        "scale": 1, "dim": 48, "blocks": (3, 5, 6, 6), "refinement": 4, "expansion": 2.0, "norm_bias": True,
        "extractor_blocks": 5, "unfolded": False,
    },
    "small": {
        "scale": 4, "dim": 32, "blocks": (2, 2, 2, 2), "refinement": 2, "expansion": 2.0, "norm_bias": False,
        "extractor_blocks": 4, "features": 32, "bounded": True,
    },
}  # fmt: skip
"""The published nets, and one that a CPU can train."""


class LayerNorm(nn.Module):
    """Over channels; without bias the mean stays, as in Restormer."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        scale = self.weight[:, None, None] / torch.sqrt(variance + 1e-5)
        return x * scale if self.bias is None else (x - mean) * scale + self.bias[:, None, None]


class _Modulated(nn.Module):
    """x k1 + k2 with (k1, k2) linear in the vector; `bounded`: x (1 + k1) + k2, which no small vector can silence."""

    def __init__(self, dim: int, vector: int, bounded: bool):
        super().__init__()
        self.kernel = nn.Linear(vector, 2 * dim, bias=False)
        self.bounded = bounded

    def modulated(self, x: Tensor, vector: Tensor) -> Tensor:
        k1, k2 = self.kernel(vector)[:, :, None, None].chunk(2, 1)
        return x * (1 + k1 if self.bounded else k1) + k2


class Attention(_Modulated):
    """Transposed attention: channels attend to channels, over all pixels of what is shown."""

    def __init__(self, dim: int, heads: int, vector: int, bounded: bool):
        super().__init__(dim, vector, bounded)
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.local = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=False)
        self.out = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        batch, dim, rows, columns = x.shape
        parts = self.local(self.qkv(self.modulated(x, vector)))
        q, k, v = parts.reshape(batch, 3, self.heads, dim // self.heads, rows * columns).unbind(1)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        weights = torch.softmax(q @ k.transpose(-2, -1) * self.temperature, -1)
        return self.out((weights @ v).reshape(batch, dim, rows, columns))


class FeedForward(_Modulated):
    """Gated: gelu(a) b of two halves, with a depthwise convolution before."""

    def __init__(self, dim: int, expansion: float, vector: int, bounded: bool):
        super().__init__(dim, vector, bounded)
        hidden = int(dim * expansion)
        self.enter = nn.Conv2d(dim, 2 * hidden, 1, bias=False)
        self.local = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.out = nn.Conv2d(hidden, dim, 1, bias=False)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        gate, value = self.local(self.enter(self.modulated(x, vector))).chunk(2, 1)
        return self.out(functional.gelu(gate) * value)


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and with a skip."""

    def __init__(self, dim: int, heads: int, expansion: float, norm_bias: bool, vector: int, bounded: bool):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(dim, norm_bias), LayerNorm(dim, norm_bias)
        self.attention = Attention(dim, heads, vector, bounded)
        self.feed_forward = FeedForward(dim, expansion, vector, bounded)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """[batch, dim, rows, columns], the same shape."""
        x = x + self.attention(self.norm1(x), vector)
        return x + self.feed_forward(self.norm2(x), vector)


class DIRformer(nn.Module):
    """``net(lq, vector) -> picture``: four levels, finest twice as wide on the way up.

    Parameters
    ----------
    scale
        Canvas pixels per input pixel. With `unfolded` the body runs at a quarter of the canvas for 1, 2 and 4.
    dim, blocks, refinement, heads, expansion, norm_bias
        Width, blocks per level and at the end, heads per level, width of the feed-forward, bias of the norms.
    vector
        Length of the prior vector.
    unfolded
        Fold pixels in and let the tail unfold them by 4; False: work at full size, for scale 1.
    bounded
        See `_Modulated`.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        dim: int = 64,
        blocks: Sequence[int] = (13, 1, 1, 1),
        refinement: int = 13,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.2,
        norm_bias: bool = False,
        vector: int = 256,
        unfolded: bool = True,
        bounded: bool = False,
    ):
        super().__init__()
        self.scale, self.fold = scale, (4 // scale if unfolded else 1)

        def level(i: int, width: int, n: int) -> nn.ModuleList:
            shape = (width, heads[i], expansion, norm_bias, vector, bounded)
            return nn.ModuleList(Block(*shape) for _ in range(n))

        widths = [dim * 2**i for i in range(4)]
        self.enter = nn.Conv2d(3 * self.fold**2, dim, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(level(i, widths[i], blocks[i]) for i in range(4))
        self.down = nn.ModuleList(nn.Conv2d(w, w // 2, 3, padding=1, bias=False) for w in widths[:3])
        self.up = nn.ModuleList(nn.Conv2d(w, 2 * w, 3, padding=1, bias=False) for w in widths[1:])
        self.reduce = nn.ModuleList(nn.Conv2d(2 * w, w, 1, bias=False) for w in widths[1:3])
        self.decoder = nn.ModuleList([level(0, 2 * dim, blocks[0]), *(level(i, widths[i], blocks[i]) for i in (1, 2))])
        self.refinement = level(0, 2 * dim, refinement)
        n = 2 * dim
        self.tail = nn.ModuleList(nn.Conv2d(n, 4 * n, 3, padding=1) for _ in range(2 if unfolded else 0))
        self.last = nn.Conv2d(n, 3, 3, padding=1, bias=unfolded)

    def forward(self, lq: Tensor, vector: Tensor) -> Tensor:
        """[batch, 3, rows, columns], the sides multiples of 8 `fold` -> [batch, 3, scale * rows, scale * columns]."""
        x = self.enter(functional.pixel_unshuffle(lq, self.fold))
        skips = []
        for i, stage in enumerate(self.encoder):
            for block in stage:
                x = block(x, vector)
            if i < 3:
                skips.append(x)
                x = functional.pixel_unshuffle(self.down[i](x), 2)
        for i in (2, 1, 0):
            x = torch.cat([functional.pixel_shuffle(self.up[i](x), 2), skips[i]], 1)
            x = self.reduce[i - 1](x) if i else x
            for block in self.decoder[i]:
                x = block(x, vector)
        for block in self.refinement:
            x = block(x, vector)
        for convolution in self.tail:
            x = functional.pixel_shuffle(convolution(x), 2)
        return self.last(x) + functional.interpolate(lq, scale_factor=float(self.scale), mode="nearest")


class CPEN(nn.Module):
    """Compact prior extraction: folded pictures -> a vector of 4 `features`.

    Parameters
    ----------
    planes
        Channels of the folded picture; with the folded ground truth beside it 48 more.
    features
        Channels inside.
    blocks
        Residual blocks.
    """

    def __init__(self, planes: int, *, features: int = 64, blocks: int = 9):
        super().__init__()
        self.enter = nn.Conv2d(planes, features, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(2)) for _ in range(blocks)
        )
        widths = (features, 2 * features, 2 * features, 4 * features)
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.mix = nn.ModuleList(nn.Linear(4 * features, 4 * features) for _ in range(2))

    def forward(self, planes: Tensor) -> Tensor:
        """[batch, planes, rows, columns] -> [batch, 4 features]."""
        x = functional.leaky_relu(self.enter(planes), 0.1)
        blocks: Any = self.blocks
        for first, second in blocks:
            x = x + second(functional.leaky_relu(first(x), 0.1))
        for convolution in self.widen:
            x = functional.leaky_relu(convolution(x), 0.1)
        vector = x.mean((2, 3))
        for linear in self.mix:
            vector = functional.leaky_relu(linear(vector), 0.1)
        return vector


class VectorChain(nn.Module):
    """The diffusion of the vector: x0-prediction by an MLP, T reverse steps that keep the posterior's mean.

    Parameters
    ----------
    vector
        Length.
    layers
        Residual-free hidden layers after the first.
    steps
        T.
    """

    def __init__(self, vector: int = 256, *, layers: int = 1, steps: int = 4):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2 * vector + 1, vector)])
        self.layers.extend(nn.Linear(vector, vector) for _ in range(layers))
        self.steps = steps
        low, high = 0.1**0.5, 0.99**0.5
        self.kept = [1.0]
        for i in range(steps):
            self.kept.append(self.kept[-1] * (1 - (low + (high - low) * i / max(1, steps - 1)) ** 2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """All reverse steps from x_T, [batch, vector]."""
        for i in range(self.steps, 0, -1):
            x = self.step(x, condition, i)
        return x

    def step(self, x: Tensor, condition: Tensor, i: int) -> Tensor:
        """The posterior's mean at step i - 1, i counted from 1."""
        told = torch.full_like(x[:, :1], (i - 1) / (10 * self.steps))
        x0 = torch.cat([condition, told, x], 1)
        for linear in self.layers:
            x0 = functional.leaky_relu(linear(x0), 0.1)
        before, after = self.kept[i - 1], self.kept[i]
        beta = 1 - after / before
        return (before**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - before) * x) / (1 - after)

    def noised(self, x0: Tensor, eps: Tensor) -> Tensor:
        """x_T from x0, for training."""
        return self.kept[-1] ** 0.5 * x0 + (1 - self.kept[-1]) ** 0.5 * eps


class DiffIR(nn.Module):
    """Both stages of one model.

    Parameters
    ----------
    size
        One of `SIZES`, or a mapping like its values.
    stage
        1: the vector comes from the ground truth; 2: it is drawn.

    Raises
    ------
    UsageError
        If the size or the stage is unknown.
    """

    def __init__(self, *, size: str | Mapping[str, Any] = "small", stage: int = 2):
        super().__init__()
        if (isinstance(size, str) and size not in SIZES) or stage not in (1, 2):
            raise UsageError(f"expected stage 1 or 2 and a size of {', '.join(SIZES)}, got {stage=}, {size=}")
        options = dict(SIZES[size] if isinstance(size, str) else size)
        blocks, features = options.pop("extractor_blocks"), options.pop("features", 64)
        self.scale, self.stage, self.vector = int(options["scale"]), stage, 4 * features
        self.fold = 4 // self.scale
        self.body = DIRformer(vector=self.vector, **options)
        planes = 3 * self.fold**2
        self.extractor = CPEN(planes + 48 * (stage == 1), features=features, blocks=blocks)
        self.chain = VectorChain(self.vector) if stage == 2 else None
        self.multiple = 8 * 4 if self.body.fold * self.scale == 4 else 8
        self.margin = 64 * self.multiple // 8

    def prior(self, lq: Tensor, x0: Tensor | None = None, *, eps: Tensor | None = None) -> Tensor:
        """The vector of whole pictures.

        Parameters
        ----------
        lq
            [batch, 3, rows, columns] in [0, 1].
        x0
            Ground truth on the canvas, for stage 1.
        eps
            Noise that the vector's chain starts from, [batch, vector]; for stage 2.

        Returns
        -------
        Tensor
            [batch, vector].

        Raises
        ------
        UsageError
            If the stage's other argument is missing.
        """
        planes = functional.pixel_unshuffle(lq, self.fold)
        if self.stage == 1:
            if x0 is None:
                raise UsageError("stage 1 of DiffIR reads its vector off the ground truth: give x0")
            return self.extractor(torch.cat([planes, functional.pixel_unshuffle(x0, 4)], 1))
        if eps is None or self.chain is None:
            raise UsageError("stage 2 of DiffIR draws its vector: give eps, [batch, vector]")
        return self.chain(eps, self.extractor(planes))

    def told(self, lq: Tensor, mask: Tensor | None = None, *, seed: int = 0) -> Tensor:
        """The vector of whole pictures in [-1, 1], its noise drawn from `seed`, [batch, vector]."""
        eps = torch.randn(1, self.vector, generator=rng.generator(seed)).to(lq).expand(len(lq), -1)
        return self.prior((lq + 1) / 2, eps=eps)

    def forward(self, lq: Tensor, mask: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """Restore pictures in [-1, 1]; `told` is what `told` gave, by default from what is here with seed 0."""
        vector = self.told(lq) if told is None else told
        return self.body((lq + 1) / 2, vector) * 2 - 1
