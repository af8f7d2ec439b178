"""Denoising diffusion GANs: large steps whose law is not Gaussian, learnt against a discriminator of pairs.

Xiao et al. 2021 (arXiv:2112.07804), as EMDM (arXiv:2312.02256): a generator says x0 from (x_t, t, latent), the
state x_r is drawn from the posterior q(x_r | x_t, x0), and a discriminator sees (x_r, r, x_t). Losses are the
non-saturating ones with softplus; R1 (Mescheder et al. 2018, arXiv:1801.04406, eq. 9) is the penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from fewstep.core.distill import distance as distances
from fewstep.core.distill.informed import Told
from fewstep.core.distill.recipe import Items, Judge, Nets, grid
from fewstep.core.paths import AffinePath


def posterior(
    path: AffinePath, x: Tensor, x0: Tensor, t: Tensor, r: Tensor, eps: Tensor, *, y: Tensor | None = None
) -> Tensor:
    """A draw of q(x_r | x_t, x0): DDPM's step, for times [batch].

    Parameters
    ----------
    path
        The process.
    x, x0
        State at `t` and clean signal, [batch, ...].
    t, r
        [batch], r < t.
    eps
        Noise, shaped like `x`; 0 gives the mean.
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Tensor
        State at `r`.
    """
    a, b, s = path.broadcast(path.coefficients(t), x)
    a_r, b_r, s_r = path.broadcast(path.coefficients(r), x)
    rho = (a / a_r) * (s_r / s).square()
    fresh = (s_r.square() - (rho * s).square()).clamp(min=0).sqrt()
    x_r = a_r * x0 + rho * (x - a * x0) + fresh * eps
    return x_r if y is None else x_r + (b_r - rho * b) * y


def generator_loss(scores: Tensor) -> Tensor:
    """softplus(−D(fake)): [batch, ...] -> [batch]."""
    return F.softplus(-scores).flatten(1).mean(dim=1) if scores.ndim > 1 else F.softplus(-scores)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(−D(real)) + softplus(D(fake)): two of [batch, ...] -> [batch]."""
    return generator_loss(real) + generator_loss(-fake)


def gradient_penalty(judge: Judge, x_r: Tensor, r: Tensor, x: Tensor, *, gamma: float) -> Tensor:
    """R1: gamma/2 |∂D/∂x_r|² at real pairs, [batch], differentiable.

    Parameters
    ----------
    judge
        The discriminator.
    x_r, x
        Real states at `r` and at the time before, [batch, ...].
    r
        [batch].
    gamma
        Weight.

    Returns
    -------
    Tensor
        [batch].
    """
    x_r = x_r.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(judge(x_r, r, x).sum(), x_r, create_graph=True)
    return gamma / 2 * slope.square().flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Adversarial:
    """A denoising diffusion GAN of `steps` stochastic steps; it learns from data, the teacher's weights start it.

    Parameters
    ----------
    steps
        Of the student.
    times
        Its falling times [steps + 1]; default even ones.
    latent
        Numbers of the latent that the student is told, so that one state has many answers; 0: none.
    gamma, every
        Weight of R1 on real pairs, and between how many iterations it is applied.
    data_weight
        Of the distance of the answer to x0 itself (EMDM's second term); 0 in the denoising diffusion GAN.
    distance
        Of that term.
    """

    steps: int = 4
    times: Sequence[float] | None = None
    latent: int = 8
    gamma: float = 0.02
    every: int = 15
    data_weight: float = 0.0
    distance: distances.Distance = distances.l1
    pairs: ClassVar[bool] = False
    solver: ClassVar[str] = "ddpm"

    @property
    def told(self) -> Told | None:
        """The latent."""
        return Told(latent=self.latent) if self.latent else None

    def grid(self, path: AffinePath) -> Tensor:
        """The student's times."""
        return grid(path, self.steps, self.times)

    def loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch], of the student."""
        x, t, r = self._state(path, items, generator)
        x0, x_r = self._step(nets, path, items, generator, x, t, r)
        loss = generator_loss(nets.discriminator()(x_r, r, x))
        if self.data_weight:
            loss = loss + self.data_weight * items.measured(self.distance)(x0, items.x0)
        return loss

    def judge_loss(self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator) -> Tensor:
        """[batch], of the discriminator."""
        judge = nets.discriminator()
        x, t, r = self._state(path, items, generator)
        with torch.no_grad():
            _, fake = self._step(nets, path, items, generator, x, t, r)
        real = posterior(path, x, items.x0, t, r, items.noise(generator), y=items.y)
        loss = discriminator_loss(judge(real, r, x), judge(fake, r, x))
        if self.gamma and items.iteration % self.every == 0:
            loss = loss + gradient_penalty(judge, real, r, x, gamma=self.gamma)
        return loss

    def _state(self, path: AffinePath, items: Items, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        number = torch.randint(self.steps, (len(items.x0),), generator=generator)
        t, r = (self.grid(path)[index].to(items.x0.device) for index in (number, number + 1))
        return path.sample(items.x0, items.noise(generator), t, items.y), t, r

    def _step(
        self, nets: Nets, path: AffinePath, items: Items, generator: torch.Generator, x: Tensor, t: Tensor, r: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The student's answer and a draw of the state after it."""
        latent = {"z": torch.randn(len(x), self.latent, generator=generator).to(x.device)} if self.latent else {}
        x0 = nets.student(x, t, **latent)
        return x0, posterior(path, x, x0, t, r, items.noise(generator), y=items.y)
