"""NCSN++ on complex spectrograms, as SGMSE+ and StoRM use it, for weights of theirs and for training.

    h = conv(x) -> down blocks, the input's pyramid joining each level -> middle with attention -> up blocks with skips,
    each level adding to an output pyramid -> 1 x 1 convolution,         score = −h/t

Song et al. 2021, arXiv:2011.13456, appendix H (blocks of Brock et al. 2019 with FIR resampling); Richter et al. 2023,
arXiv:2208.05830, section IV; Lemercier et al. 2023, arXiv:2212.11851, section IV.

Notation: B batch, S signals, F bins, T frames, C channels, E width of the embedded time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.core.errors import UsageError

SAYS = ("score", "x0")
SIZES: dict[str, dict] = {
    "65M": {"width": 128, "multipliers": (1, 1, 2, 2, 2, 2, 2), "blocks": 2, "attention": (16,)},
    "28M": {"width": 128, "multipliers": (1, 2, 2, 2), "blocks": 1, "attention": ()},
    "12M": {"width": 96, "multipliers": (1, 2, 2, 1), "blocks": 1, "attention": ()},
    "6M": {"width": 96, "multipliers": (1, 1, 1, 1), "blocks": 1, "attention": ()},
}
"""The sizes of the papers: SGMSE+'s, and StoRM's three."""


class NCSNpp(nn.Module):
    """``net(x, t, cond)``, or ``net(y)`` for a predictive net that is told no time.

    Parameters
    ----------
    size
        A name out of `SIZES`, whose numbers the next four replace one by one; None: those of ``"65M"``.
    width, multipliers, blocks, attention
        Channels of the first level, their multiples per level, residual blocks per level, and the heights F at which
        there is attention (beside the middle).
    signals
        S: the state and its conditions, or the noisy spectrum alone.
    bins
        F; a multiple of 2^(levels - 1).
    told
        Whether there is a time.
    says
        ``"score"``: −h/t; ``"x0"``: h. Without a time always h.
    shift
        Read 2 x − 1 instead of x, as StoRM's nets do.
    frames
        T is padded with zeros to a multiple of this.

    Raises
    ------
    UsageError
        If a size is unknown or not as described.
    """

    def __init__(
        self,
        *,
        size: str | None = None,
        width: int | None = None,
        multipliers: Sequence[int] | None = None,
        blocks: int | None = None,
        attention: Sequence[int] | None = None,
        signals: int = 2,
        bins: int = 256,
        told: bool = True,
        says: str = "score",
        shift: bool = False,
        frames: int = 64,
    ):
        super().__init__()
        if size is not None and size not in SIZES:
            raise UsageError(f"expected a size out of {', '.join(SIZES)}, got {size!r}")
        numbers = SIZES[size or "65M"]
        width = numbers["width"] if width is None else width
        blocks = numbers["blocks"] if blocks is None else blocks
        heights = set(numbers["attention"] if attention is None else attention)
        wide = [width * m for m in (numbers["multipliers"] if multipliers is None else multipliers)]
        multiple = 2 ** (len(wide) - 1)
        if not wide or min(blocks, signals, *wide) < 1 or width % 4 or bins % multiple or frames % multiple:
            raise UsageError(
                f"expected positive sizes, a width divisible by 4 and bins and frames divisible by {multiple}, got "
                f"{width=}, {blocks=}, {signals=}, {bins=}, {frames=}"
            )
        if says not in SAYS:
            raise UsageError(f"expected says out of {', '.join(SAYS)}, got {says!r}")
        self.signals, self.bins, self.frames, self.says, self.shift = signals, bins, frames, says, shift
        read, embedded = 2 * signals, 4 * width
        self.rates = nn.Parameter(16 * torch.randn(width), requires_grad=False)
        self.time = nn.Sequential(nn.Linear(2 * width, embedded), nn.SiLU(), nn.Linear(embedded, embedded))
        self.time = self.time if told else None
        self.enter = nn.Conv2d(read, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, channels = [width], width
        for level, out in enumerate(wide):
            attends = bins >> level in heights
            stage = Stage(attends=attends, blocks=blocks, channels=out)
            for _ in range(blocks):
                stage.blocks.append(Block(channels, out, embedded))
                channels = out
                kept.append(channels)
            if level < len(wide) - 1:
                stage.resample, stage.join = (
                    Block(channels, channels, embedded, resample="down"),
                    nn.Conv2d(read, channels, 1),
                )
                kept.append(channels)
            self.down.append(stage)
        self.middle = nn.ModuleList(
            [Block(channels, channels, embedded), Attention(channels), Block(channels, channels, embedded)]
        )
        for level, out in reversed(list(enumerate(wide))):
            stage = Stage(attends=bins >> level in heights, blocks=1, channels=out)
            for _ in range(blocks + 1):
                stage.blocks.append(Block(channels + kept.pop(), out, embedded))
                channels = out
            stage.norm, stage.say = norm(channels), nn.Conv2d(channels, read, 3, padding=1)
            if level:
                stage.resample = Block(channels, channels, embedded, resample="up")
            self.up.append(stage)
        self.leave = nn.Conv2d(read, 2, 1)
        self.apply(_initialise)
        for part in self.modules():
            if isinstance(part, Stage) and part.say is not None:
                nn.init.zeros_(part.say.weight)
            elif isinstance(part, Block):
                nn.init.zeros_(part.second.weight)
            elif isinstance(part, Attention):
                nn.init.zeros_(part.leave.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, x: Tensor, t: Tensor | None = None, cond: Tensor | None = None) -> Tensor:
        """Map spectra to a score or a spectrum.

        Parameters
        ----------
        x
            Complex [B, F, T].
        t
            Times [B] above 0, for a net that is told one.
        cond
            Complex [B, S - 1, F, T].

        Returns
        -------
        Tensor
            Complex [B, F, T].

        Raises
        ------
        UsageError
            If there are not as many signals as the net was made for, or a time is missing.
        """
        spectra = x[:, None] if cond is None else torch.cat([x[:, None], cond], 1)
        if spectra.shape[1] != self.signals or spectra.shape[2] != self.bins:
            raise UsageError(f"expected {self.signals} spectra of {self.bins} bins, got {list(spectra.shape[1:3])}")
        if (t is None) != (self.time is None):
            raise UsageError(f"expected {'no time' if self.time is None else 'times [batch]'}, got {t}")
        length = x.shape[-1]
        pyramid = torch.stack([spectra.real, spectra.imag], 2).flatten(1, 2)  # [B, 2 S, F, T]
        pyramid = functional.pad(pyramid, (0, -length % self.frames))
        pyramid = (2 * pyramid - 1 if self.shift else pyramid).contiguous(memory_format=torch.channels_last)
        said = self._unet(pyramid, None if t is None else functional.silu(self.time(self._embedded(t))))
        said = self.leave(said) if t is None or self.says == "x0" else -self.leave(said / t[:, None, None, None])
        real, imag = said[..., :length].float().unbind(1)
        return torch.complex(real, imag)

    def _embedded(self, t: Tensor) -> Tensor:
        angles = t.log()[:, None] * self.rates * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], 1)

    def _unet(self, pyramid: Tensor, told: Tensor | None) -> Tensor:
        h = self.enter(pyramid)
        kept = [h]
        for stage in self.down:
            for i, block in enumerate(stage.blocks):
                h = block(h, told)
                if len(stage.attention):
                    h = stage.attention[i](h)
                kept.append(h)
            if stage.resample is not None:
                h, pyramid = stage.resample(h, told), halve(pyramid)
                h = h + stage.join(pyramid)
                kept.append(h)
        first, attention, second = self.middle
        h = second(attention(first(h, told)), told)
        answer: Tensor | None = None
        for stage in self.up:
            for block in stage.blocks:
                h = block(torch.cat([h, kept.pop()], 1), told)
            if len(stage.attention):
                h = stage.attention[0](h)
            here = stage.say(functional.silu(stage.norm(h)))
            answer = here if answer is None else double(answer) + here
            if stage.resample is not None:
                h = stage.resample(h, told)
        return answer  # type: ignore[return-value]

    def in_order(self) -> Iterator[tuple[str, Any]]:
        """Name and module of each part, in the order in which published code numbers its own (without the time's)."""
        yield "enter", self.enter
        for i, stage in enumerate(self.down):
            for j, block in enumerate(stage.blocks):
                yield f"down.{i}.blocks.{j}", block
                if len(stage.attention):
                    yield f"down.{i}.attention.{j}", stage.attention[j]
            if stage.resample is not None:
                yield from ((f"down.{i}.resample", stage.resample), (f"down.{i}.join", stage.join))
        yield from ((f"middle.{i}", part) for i, part in enumerate(self.middle))
        for i, stage in enumerate(self.up):
            yield from ((f"up.{i}.blocks.{j}", block) for j, block in enumerate(stage.blocks))
            if len(stage.attention):
                yield f"up.{i}.attention.0", stage.attention[0]
            yield from ((f"up.{i}.norm", stage.norm), (f"up.{i}.say", stage.say))
            if stage.resample is not None:
                yield f"up.{i}.resample", stage.resample


class Stage(nn.Module):
    """What there is at one level of one direction."""

    def __init__(self, *, attends: bool, blocks: int, channels: int):
        super().__init__()
        self.blocks = nn.ModuleList()
        self.attention = nn.ModuleList(Attention(channels) for _ in range(blocks if attends else 0))
        self.resample: nn.Module | None = None
        self.join: nn.Module | None = None
        self.norm: nn.Module | None = None
        self.say: nn.Module | None = None


class Block(nn.Module):
    """Two convolutions with the time added in between, and a shortcut; the sum is divided by sqrt(2)."""

    def __init__(self, channels: int, out: int, embedded: int, *, resample: str | None = None):
        super().__init__()
        self.before, self.first = norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.told, self.between = nn.Linear(embedded, out), norm(out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        straight = channels == out and resample is None
        self.shortcut = nn.Identity() if straight else nn.Conv2d(channels, out, 1)
        self.change = {"down": halve, "up": double, None: None}[resample]

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """[B, channels, F, T], [B, E] -> [B, out, F', T']."""
        h = functional.silu(self.before(x))
        if self.change is not None:
            h, x = self.change(h), self.change(x)
        h = self.first(h)
        if told is not None:
            h = h + self.told(told)[:, :, None, None]
        h = self.second(functional.silu(self.between(h)))
        return (self.shortcut(x) + h) * math.sqrt(0.5)


class Attention(nn.Module):
    """One head of self-attention over all places, and a shortcut; the sum is divided by sqrt(2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm, self.ask = norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, T] -> the same shape."""
        q, k, v = self.ask(self.norm(x)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        return (x + self.leave(mixed)) * math.sqrt(0.5)


def norm(channels: int) -> nn.GroupNorm:
    """Of the published nets."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


def halve(x: Tensor) -> Tensor:
    """Half the rows and columns, through the FIR filter (1, 3, 3, 1)/8 with zeros beyond the border."""
    for dim in (2, 3):
        x = functional.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1))
        even, odd = _every_second(x, dim, 0), _every_second(x, dim, 1)
        n = even.shape[dim] - 1
        # places 2m, 2m + 1, 2m + 2, 2m + 3 of the padded signal
        inner = odd.narrow(dim, 0, n) + even.narrow(dim, 1, n)
        outer = even.narrow(dim, 0, n) + odd.narrow(dim, 1, n)
        x = torch.add(0.125 * outer, inner, alpha=0.375)
    return x


def double(x: Tensor) -> Tensor:
    """Twice the rows and columns, through the FIR filter (1, 3, 3, 1)/4 with zeros beyond the border."""
    for dim in (2, 3):
        n = x.shape[dim]
        padded = functional.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1)) * 0.25
        wide = 0.75 * x
        pair = torch.stack([wide + padded.narrow(dim, 0, n), wide + padded.narrow(dim, 2, n)], dim + 1)
        x = pair.flatten(dim, dim + 1)
    return x


def _every_second(x: Tensor, dim: int, start: int) -> Tensor:
    return x[:, :, start::2] if dim == 2 else x[:, :, :, start::2]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
