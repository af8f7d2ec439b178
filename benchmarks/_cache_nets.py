"""What is sampled in the caches' benchmark: a transformer and a U-Net of diffusers, trained here, and what ships.

The two are trained on drawn shapes (`_shapes`), with the sizes and numbers of steps of earlier measurements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep.benchmarks import _shapes
from fewstep.core import guide, parameterize, paths, sample, solvers, times
from fewstep.core.pretrained import Pretrained

STEPS, GUIDANCE = 50, 2.0
_FLOW, _VP = paths.rectified_flow(), paths.vp_linear()
_TIMESTEPS = 1000.0


@dataclass
class Job:
    """A net to be sampled from the same starts again and again.

    Parameters
    ----------
    name, net
        What it is, and what caches are attached to.
    sampled
        ``sampled(net, steps, seeds) -> x``, [item, ...]; the net may be another callable in its place.
    grid
        Times for a number of steps.
    seeds, repeats
        Starts, and how often the time is taken (the least counts).
    others
        Starts for calibration.
    fewer
        Errors of uncached runs, by their steps.
    """

    name: str
    net: nn.Module
    sampled: Callable[[Any, int, tuple[int, ...]], Tensor]
    grid: Callable[[int], Tensor]
    seeds: tuple[int, ...] = tuple(range(100, 108))
    repeats: int = 3
    others: tuple[int, ...] = (0, 1, 2, 3)
    fewer: dict[int, float] = field(default_factory=dict)

    def draw(self, steps: int = STEPS, *, net: Any = None) -> Tensor:
        """From the starts that are judged."""
        return self.sampled(self.net if net is None else net, steps, self.seeds)

    def calibration(self) -> Tensor:
        """From other starts."""
        return self.sampled(self.net, STEPS, self.others)

    def measured(self, *, net: Any = None) -> tuple[Tensor, float, float]:
        """The sample, CPU seconds and FLOPs of a full number of steps, with what is attached now."""
        with FlopCounterMode(display=False) as counter:
            x = self.draw(net=net)
        spent = []
        for _ in range(self.repeats):
            begin = process_time()
            self.draw(net=net)
            spent.append(process_time() - begin)
        return x, min(spent), float(counter.get_total_flops())

    def at_equal_time(self, share: float, reference: Tensor) -> tuple[int, float]:
        """As many uncached steps as take this share of the time, and their error."""
        steps = min(max(round(STEPS * share), 3), STEPS)
        if steps not in self.fewer:
            self.fewer[steps] = error(self.draw(steps), reference)
        return steps, self.fewer[steps]


def error(x: Tensor, reference: Tensor) -> float:
    """Median over items of the relative l2 distance."""
    distance = (x - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)
    return float(distance.median())


def transformer(*, iterations: int = 434, progress: Callable[[str], None]) -> Job:
    """diffusers' DiT, 10 blocks of width 96 over 64 tokens; Euler on a flow, guidance 2, in two calls per step."""
    from diffusers import DiTTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DiTTransformer2DModel(
            num_attention_heads=4, attention_head_dim=24, in_channels=1, num_layers=10, sample_size=_shapes.SIZE,
            patch_size=2, num_embeds_ada_norm=_shapes.LABELS, dropout=0.0, norm_num_groups=1,
        )  # fmt: skip
    ask = velocity_of(net)
    _train(net, lambda x, t, label: ask(x, t, label), iterations, progress, labels=True)

    def sampled(answer: Any, steps: int, seeds: tuple[int, ...]) -> Tensor:
        said, label = velocity_of(answer), torch.arange(len(seeds)) % _shapes.LABELS
        cond, none = (
            parameterize.flow(said, _FLOW, cond=told) for told in (label, torch.full_like(label, _shapes.LABELS))
        )
        return sample(
            guide.cfg(cond, none, GUIDANCE), _FLOW, times=times.uniform(_FLOW, steps), solver=solvers.ddim(),
            shape=(len(seeds), 1, _shapes.SIZE, _shapes.SIZE), seeds=seeds,
        ).x  # fmt: skip

    return Job("DiT", net, sampled, lambda steps: times.uniform(_FLOW, steps), seeds=(100, 101, 102, 103))


def velocity_of(net: Any) -> Callable[..., Tensor]:
    """``net(x, t, label)`` of diffusers' transformer."""

    def ask(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        answer: Tensor = net(x, timestep=_TIMESTEPS * t.expand(len(x)), class_labels=label).sample
        return answer[:, :1]

    return ask


def unet(*, iterations: int = 207, progress: Callable[[str], None]) -> Job:
    """diffusers' UNet2DModel, four levels of 32, 48, 64, 64 channels; DDIM."""
    from diffusers import UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet2DModel(
            sample_size=_shapes.SIZE, in_channels=1, out_channels=1, layers_per_block=1,
            block_out_channels=(32, 48, 64, 64), norm_num_groups=8,
            down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
        )  # fmt: skip

    def noise_of(answer: Any) -> Callable[..., Tensor]:
        return lambda x, t, *told: answer(x, _TIMESTEPS * t.expand(len(x))).sample

    _train(net, noise_of(net), iterations, progress, labels=False)

    def sampled(answer: Any, steps: int, seeds: tuple[int, ...]) -> Tensor:
        return sample(
            parameterize.eps(noise_of(answer), _VP), _VP, times=times.uniform(_VP, steps), solver=solvers.ddim(),
            shape=(len(seeds), 1, _shapes.SIZE, _shapes.SIZE), seeds=seeds,
        ).x  # fmt: skip

    return Job("U-Net", net, sampled, lambda steps: times.uniform(_VP, steps))


def shipped() -> Job:
    """The image net that ships, sampled as it says."""
    made = Pretrained.load("photos32")

    def sampled(answer: Any, steps: int, seeds: tuple[int, ...]) -> Tensor:
        return sample(
            made.denoise(net=answer), made.path, times=made.grid(steps), solver=solvers.ddim(),
            shape=(len(seeds), 3, 32, 32), seeds=seeds,
        ).x  # fmt: skip

    return Job("photos32", made.net, sampled, made.grid)


def own(*, iterations: int = 1500, progress: Callable[[str], None]) -> Job:
    """Our transformer, for what needs a net that computes some of its tokens."""
    net = _shapes.trained(iterations, progress=progress)

    def sampled(answer: Any, steps: int, seeds: tuple[int, ...]) -> Tensor:
        label = torch.arange(len(seeds)) % _shapes.LABELS
        cond, none = (
            parameterize.flow(answer, _FLOW, cond=told) for told in (label, torch.full_like(label, _shapes.LABELS))
        )
        return sample(
            guide.cfg(cond, none, GUIDANCE), _FLOW, times=times.uniform(_FLOW, steps), solver=solvers.ddim(),
            shape=(len(seeds), 1, _shapes.SIZE, _shapes.SIZE), seeds=seeds,
        ).x  # fmt: skip

    return Job("own DiT", net, sampled, lambda steps: times.uniform(_FLOW, steps))


def _train(
    net: nn.Module, ask: Callable[..., Tensor], iterations: int, tell: Callable[[str], None], *, labels: bool
) -> None:
    """Flow matching where labels are told, else noise prediction on the VP path."""
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(iterations):
        rate = min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / iterations)))
        optimizer.param_groups[0]["lr"] = 2e-3 * rate
        x0, label = _shapes.shapes(16, generator)
        label = torch.where(torch.rand(len(x0), generator=generator) < 0.1, _shapes.LABELS, label)
        eps, t = torch.randn(x0.shape, generator=generator), torch.rand(len(x0), generator=generator)
        path = _FLOW if labels else _VP
        a, _, s = (part.to(x0).view(-1, 1, 1, 1) for part in path.coefficients(t.double()))
        loss = (ask(a * x0 + s * eps, t, label) - (eps - x0 if labels else eps)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            tell(f"trained {step + 1} of {iterations}, loss {float(loss.detach()):.3f}")
    net.eval().requires_grad_(False)
