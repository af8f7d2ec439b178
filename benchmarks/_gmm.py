"""Gaussian mixtures whose denoiser and probability-flow ODE are known: the ground truth of the samplers' benchmark.

For x = a x0 + s eps with x0 ~ sum_k w_k N(mean_k, diag var_k), v_k = a² var_k + s²,

    E[x0 | x] = sum_k p_k (mean_k + a var_k / v_k (x − a mean_k)),     p_k ∝ w_k N(x; a mean_k, v_k)

The path is DDPM's table of 1000 timesteps (Ho et al. 2020, arXiv:2006.11239, section 4). The data have mean 0 and
standard deviation 0.5 over all components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from fewstep.core import paths

ALPHAS_CUMPROD = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
PATH = paths.vp_table(ALPHAS_CUMPROD)
_A, _, _S = (float(value) for value in PATH.coefficients(1.0))


@dataclass(frozen=True)
class Mixture:
    """Weights, means and variances of a mixture with diagonal covariances.

    Parameters
    ----------
    log_weight
        [modes].
    mean, variance
        [modes, d], float64.
    """

    log_weight: Tensor
    mean: Tensor
    variance: Tensor

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x0 | x_t], shaped like x [n, d]; the core's currency."""
        a, _, s = PATH.coefficients(t.double())
        return self.clean(x, a, s)

    def clean(self, x: Tensor, a: Tensor | float, s: Tensor | float) -> Tensor:
        """E[x0 | x = a x0 + s eps] for any a and s, [n, d]."""
        v = a * a * self.variance + s * s
        distance = (
            x.square() @ (1 / v).T - 2 * a * (x @ (self.mean / v).T) + (a * a * self.mean**2 / v + v.log()).sum(1)
        )
        p = torch.softmax(self.log_weight - distance / 2, -1)
        gain = a * self.variance / v
        return p @ (self.mean * (1 - a * gain)) + x * (p @ gain)

    @property
    def spread(self) -> float:
        """Standard deviation along the principal components of the data, weighted by their energy."""
        weight = self.log_weight.exp()[:, None]
        covariance = self.mean.T @ (weight * self.mean) + torch.diag((weight * self.variance).sum(0))
        return math.sqrt(float(covariance.square().sum() / covariance.trace()))

    @property
    def std(self) -> float:
        """Standard deviation over all components."""
        weight = self.log_weight.exp()[:, None]
        return math.sqrt(float((weight * (self.variance + self.mean**2)).sum(0).mean()))

    def endpoint(self, x: Tensor) -> Tensor:
        """The exact end at sigma = 0 of the ODE from x at t = 1: DOP853 in log sigma down to 1e-6, then Tweedie."""
        first, low = math.log(_S / _A), 1e-6

        def slope(log_sigma: float, flat: np.ndarray) -> np.ndarray:
            u = torch.from_numpy(flat).view(x.shape)
            return (u - self.clean(u, 1.0, math.exp(log_sigma))).numpy().ravel()

        run = solve_ivp(
            slope, (first, math.log(low)), (x / _A).numpy().ravel(), method="DOP853", rtol=1e-10, atol=1e-11
        )
        return self.clean(torch.from_numpy(run.y[:, -1].copy()).view(x.shape), 1.0, low)


def mixture(d: int, seed: int = 0) -> Mixture:
    """Seven modes around a circle in the plane, or twelve with a decaying spectrum in R^d.

    Parameters
    ----------
    d
        Dimension.
    seed
        Of the means, variances and weights.
    """
    g = np.random.default_rng(1234 + d + seed)
    if d == 2:
        angle = 2 * np.pi * np.arange(7) / 7
        mean = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.45 + 0.55 * g.random((7, 1)))
        variance = (0.06 + 0.20 * g.random((7, d))) ** 2
    else:
        spectrum = np.arange(1, d + 1) ** -1.5
        mean = g.standard_normal((12, d)) * np.sqrt(spectrum)
        variance = spectrum * (0.02 + 0.30 * g.random((12, d))) + 1e-4
    weight = 0.5 + g.random(len(mean))
    weight /= weight.sum()
    mean -= weight @ mean
    scale = 0.5 / math.sqrt((weight @ (variance + mean**2)).mean())
    return Mixture(*(torch.from_numpy(value) for value in (np.log(weight), mean * scale, variance * scale**2)))


def prior(d: int, n: int, seed: int) -> Tensor:
    """Starts at t = 1 as the schedulers of DDPM's table draw them, N(0, 1), [n, d]."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(d: int, seed: int, n: int, cache: Path | None = None) -> tuple[Mixture, Tensor, Tensor]:
    """A mixture, n starts and their exact ends; kept in `cache`, as the integration takes seconds."""
    problem, x = mixture(d, seed), prior(d, n, 7 + seed)
    file = None if cache is None else cache / f"gmm-{d}-{seed}-{n}.npy"
    if file is not None and file.exists():
        return problem, x, torch.from_numpy(np.load(file))
    end = problem.endpoint(x)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, end.numpy())
    return problem, x, end
