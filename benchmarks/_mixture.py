"""Six Gaussians on a circle in the plane with an analytic teacher: everything a student should do is known.

Centres at radius 2, standard deviation 0.25, on the rectified flow. The exact map of the probability-flow ODE is
integrated with a Runge-Kutta method of order 8 in t.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fewstep.core import paths

MODES, RADIUS, STD = 6, 2.0, 0.25
PATH = paths.rectified_flow()


def centres(dtype: torch.dtype = torch.float32) -> Tensor:
    """[6, 2]."""
    angle = 2 * math.pi * torch.arange(MODES, dtype=dtype) / MODES
    return RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)


def data(n: int, generator: torch.Generator) -> Tensor:
    """Draws of the mixture, [n, 2]."""
    which = torch.randint(MODES, (n,), generator=generator)
    return centres()[which] + STD * torch.randn(n, 2, generator=generator)


def teacher(x: Tensor, t: Tensor) -> Tensor:
    """E[x0 | x_t], [n, 2] for t scalar or [n]."""
    a, _, s = PATH.broadcast(PATH.coefficients(t), x)
    variance = a * a * STD**2 + s * s
    mu = centres(x.dtype).to(x.device)
    away = x[:, None] - (a * torch.ones_like(x[:, :1]))[:, :, None] * mu
    weight = torch.softmax(-away.square().sum(-1) / (2 * variance), dim=1)
    return weight @ mu + a * STD**2 / variance * (x - a * (weight @ mu))


def exact_map(z: Tensor) -> Tensor:
    """Where the ODE carries noise [n, 2] from t = 1 to 0, float64."""
    from scipy.integrate import solve_ivp

    shape = z.shape

    def slope(t: float, flat: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(flat.reshape(shape))
        time = torch.tensor(t, dtype=torch.float64)
        return ((x - teacher(x, time)) / t).numpy().ravel()

    start, end = 1.0 - 1e-9, 1e-5
    out = solve_ivp(slope, (start, end), z.double().numpy().ravel(), method="DOP853", rtol=1e-9, atol=1e-9)
    x = torch.from_numpy(out.y[:, -1].reshape(shape))
    return teacher(x, torch.tensor(end, dtype=torch.float64))


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 64) -> float:
    """Root of the mean squared 2-Wasserstein distance over even directions, for sets of one size [n, 2]."""
    angle = math.pi * torch.arange(directions, dtype=torch.float64) / directions
    along = torch.stack([angle.cos(), angle.sin()])
    left, right = ((points.double() @ along).sort(dim=0).values for points in (x, y))
    return float((left - right).square().mean().sqrt())
