"""Diffusion methods: `sample(consistent(denoise, A, y), path, ...)` of the core, started from the CG-SENSE image.

    x = x_sense + sigma_start n;    x0 = consistent(denoise)(x, sigma);    x' = x0 + sigma' (carry e + fresh n)

with e = (x − x0)/sigma. What differs is how x0 is made consistent. Starting in the middle of the path is CCDF's (Chung
et al. 2022, arXiv:2112.05146).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.core import consistency, rng, times
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample
from fewstep.core.solvers.first_order import FirstOrder
from fewstep.core.types import Denoise
from fewstep.mri.methods.base import Method, sample_seeds
from fewstep.mri.methods.splitting import admm
from fewstep.mri.methods.turned import turned
from fewstep.mri.methods.wavelet import L1Wavelet
from fewstep.mri.problem import Slice

GUESSES = ("cg-sense", "l1-wavelet", "admm")

QUIET = 1e-3
"""Least noise that a measurement is taken to have, in units of the slice: rounding, and what A leaves out."""

WARM = (0.35, 0.25, 0.03)
"""First sigma of a start by ADMM, last one of three calls (more go lower, by the cubic root of their number), and least
error: chosen, like `RELAXATION` and the number of calls and of conjugate gradients, on slices that no table has."""

RELAXATION = 1.8
"""Of that ADMM: 0.3 dB in four calls."""

SPREAD = 3.2
"""Few steps of a small net say too little: root mean square errors over standard deviations of four samples were 2.6 to
4.4 on generated scans, and 2.5 to 3.8 on others; 1.8 to 4.2 where each sample has its own start by ADMM. Pixels are in
the right order, see `fewstep.mri.metrics.coverage`."""

SPREAD_DDS = 4.2
"""The same where samples share their start by ADMM, as in `DDS`: 2.1 to 5.2 with four and eight calls on generated
scans, 2.9 to 6.6 on others."""

SIGMA_DATA = 0.3
"""Standard deviation of slices, real and imaginary part together."""


@dataclass(frozen=True)
class Share:
    """A noise rule: equally much fresh noise in every step (DDS's eta, DiffPIR's sqrt(zeta)), and a temperature."""

    eta: float
    temperature: float = 1.0

    def __call__(self, h: float, s_p: float, s_n: float) -> tuple[float, float]:
        """(carry, fresh) of one step."""
        return self.temperature * math.sqrt(1 - self.eta**2), self.temperature * self.eta


@dataclass(frozen=True)
class Diffusion(Method):
    """Options that all of them have.

    Parameters
    ----------
    prior
        A model of complex slices.
    steps
        Network calls per sample.
    samples
        Samples of the posterior; the image is their mean.
    start
        sigma of the first step, in units of the slice (its 99.5th percentile is 0.92); at `prior.path.t_max` nothing of
        the CG-SENSE image is used.
    last
        sigma of the last step.
    eta
        Part of fresh noise in each step, in [0, 1].
    temperature
        Part of the noise that is put in, at the start and in each step, in [0, 1]. At 1 these are samples of a
        posterior; below, the net takes what is wrong with the image for part of the noise, answers are nearer to
        the mean and their spread is too small.
    inflate
        The measurement's noise is taken to be so many times what it is, for the errors of the coil maps.
    guess
        What sampling starts from: "cg-sense"; "l1-wavelet", which is nearer and costs no network call; "admm", which
        spends three of four steps on `fewstep.mri.methods.splitting`.
    shared
        One such start for all samples; False: one for each, turned in its own way, so that their mean is better, at the
        price of as many starts.
    turn
        Let the net see each sample mirrored and moved in another way in every step (`fewstep.mri.methods.turned`).

    Raises
    ------
    UsageError
        If an option is not as described.
    """

    prior: Pretrained
    steps: int = 8
    samples: int = 4
    start: float = 0.3
    last: float = 0.02
    eta: float = 1.0
    temperature: float = 1.0
    inflate: float = 1.0
    guess: str = "cg-sense"
    shared: bool = True
    turn: bool = True

    def __post_init__(self) -> None:
        if self.guess not in GUESSES:
            raise UsageError(f"expected a guess among {', '.join(GUESSES)}, got {self.guess!r}")
        if self.steps < 1 or self.samples < 1:
            raise UsageError(f"expected steps and samples of at least 1, got {self.steps} and {self.samples}")
        if not 0 < self.last <= self.start or not 0 <= self.eta <= 1 or not self.inflate > 0:
            raise UsageError(
                f"expected 0 < last <= start, eta in [0, 1] and inflate > 0, got last={self.last}, "
                f"start={self.start}, eta={self.eta}, inflate={self.inflate}"
            )

    @property
    def draws(self) -> bool:
        """These are samples."""
        return True

    @property
    def spread(self) -> float:
        """Errors over the samples' standard deviation."""
        return SPREAD

    @abstractmethod
    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """The denoiser, made to agree with what was measured."""

    def denoise(self, one: Slice, seeds: list[int]) -> Denoise:
        """The plain denoiser of a slice, for one sample per seed."""
        plain = self.prior.denoise()
        return turned(plain, seeds) if self.turn else plain

    def noise(self, one: Slice) -> float:
        """The measurement's noise as it is believed, in units of the slice."""
        return max(QUIET, self.inflate * one.problem.noise_std)

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """Samples, [sample, y, x]."""
        return self.follow(one, seed)

    def follow(self, one: Slice, seed: int, *, grad: bool = False) -> tuple[Tensor, int]:
        """Samples as `solve` gives them.

        Parameters
        ----------
        one, seed
            As for `solve`.
        grad
            Keep the graph, to train the prior through all calls (`fewstep.mri.lit.few`).

        Returns
        -------
        x : Tensor
            complex64 [sample, y, x].
        calls : int
            Of the net, per sample.
        """
        path = self.prior.path
        seeds = sample_seeds(seed, self.samples)
        guess, before = self._guess(one, seed, grad)
        start = WARM[0] if self.guess == "admm" and before == 0 else self.start
        grid = self._grid(self.steps - before, start)
        shape = (self.samples, *one.sense.shape[1:])
        noise = rng.normal(shape, rng.seeded([s + 500 for s in seeds]), one.sense.dtype)
        x = path.prior(
            noise.to(one.sense.device),
            x0_guess=guess.expand(shape),
            t=float(grid[0]),
            temperature=self.temperature,
        )
        result = sample(
            self.consistent(self.denoise(one, seeds), one),
            path,
            times=grid,
            solver=FirstOrder(
                Share(self.eta, self.temperature), f"share(eta={self.eta}, temperature={self.temperature})"
            ),
            x=x,
            seeds=seeds,
            grad=grad,
        )
        return result.x, result.nfe + before

    def _guess(self, one: Slice, seed: int, grad: bool = False) -> tuple[Tensor, int]:
        """What to start from, [1 or sample, y, x], and how many network calls it took."""
        if self.guess == "cg-sense":
            return one.sense, 0
        if self.guess == "l1-wavelet":
            return L1Wavelet().solve(one, seed)
        calls = 3 * self.steps // 4
        if calls == 0:
            return one.sense, 0
        seeds = [seed] if self.shared else sample_seeds(seed, self.samples)
        return admm(
            self.denoise(one, seeds),
            one,
            self.prior.path,
            one.sense.expand(len(seeds), -1, -1),
            sigmas=self._falling(calls),
            sigma_y=self.noise(one),
            sigma_data=SIGMA_DATA,
            floor=WARM[2],
            iterations=max(10, 60 // calls),
            relaxation=RELAXATION,
            grad=grad,
        )

    def _falling(self, calls: int) -> list[float]:
        if calls == 1:
            return [WARM[0]]
        end = WARM[1] * (3 / calls) ** (1 / 3)
        return times.karras(self.prior.path, calls, start=WARM[0], end=end)[:calls].tolist()

    def _grid(self, steps: int, start: float) -> Tensor:
        path = self.prior.path
        start = min(start, path.t_max)
        if steps == 1:
            return torch.tensor([start, 0.0], dtype=torch.float64)
        return times.karras(path, steps, start=start, end=min(self.last, 0.99 * start))


@dataclass(frozen=True)
class DDS(Diffusion):
    """Decomposed diffusion sampling, the few-step default: some conjugate gradients from the denoiser's answer.

    Parameters
    ----------
    iterations
        Of conjugate gradients.
    floor
        Least standard deviation of the denoiser's error.

    References
    ----------
    Chung et al. 2024, arXiv:2303.05754; the weight is calibrated, see `fewstep.core.consistency.dds`.
    """

    start: float = 0.07
    guess: str = "admm"
    iterations: int = 10
    floor: float = 0.03

    @property
    def spread(self) -> float:
        """Errors over the samples' standard deviation."""
        return SPREAD_DDS if self.guess == "admm" and self.shared else SPREAD

    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """As in the base class."""
        A, y = one.problem.A, one.problem.kspace
        return consistency.dds(
            denoise,
            A,
            y,
            self.prior.path,
            sigma_y=self.noise(one),
            sigma_data=SIGMA_DATA,
            floor=self.floor,
            iterations=self.iterations,
        )


@dataclass(frozen=True)
class DiffPIR(Diffusion):
    """The proximal step of Zhu et al. 2023, arXiv:2305.08995, solved to convergence.

    Parameters
    ----------
    weight
        lambda of the paper: trust in the denoiser.
    iterations
        Of conjugate gradients, at most.
    """

    weight: float = 1.0
    iterations: int = 30

    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """As in the base class."""
        sigma = math.sqrt(self.weight) * self.noise(one)
        return consistency.prox(
            denoise,
            one.problem.A,
            one.problem.kspace,
            self.prior.path,
            sigma_y=sigma,
            iterations=self.iterations,
            tolerance=1e-4,
        )


@dataclass(frozen=True)
class DDNM(Diffusion):
    """Hard projection in every step (Wang et al. 2023, arXiv:2212.00490); POCS for one coil on a Cartesian grid.

    Parameters
    ----------
    iterations
        Of conjugate gradients for the pseudo-inverse.
    """

    iterations: int = 30

    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """As in the base class."""
        A, kspace = one.problem.A, one.problem.kspace
        return consistency.project(denoise, A, kspace, self.prior.path, iterations=self.iterations, tolerance=1e-6)


@dataclass(frozen=True)
class DPS(Diffusion):
    """Diffusion posterior sampling, gradients through the net (Chung et al. 2023, arXiv:2209.14687).

    Parameters
    ----------
    zeta
        Length of the gradient's move at sigma = 1, as part of |y|.
    """

    steps: int = 50
    samples: int = 1
    start: float = 0.5
    last: float = 0.01
    zeta: float = 8.0

    def consistent(self, denoise: Denoise, one: Slice) -> Denoise:
        """As in the base class."""
        y = one.problem.kspace
        zeta = self.zeta * float(torch.linalg.vector_norm(y))
        return consistency.dps(denoise, one.problem.A, y, self.prior.path, zeta=zeta)
