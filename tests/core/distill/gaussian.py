"""Gaussian data, for which everything that is distilled is known in closed form."""

import torch

MEAN, VARIANCE = 0.7, 0.36


def denoiser(path, mean=MEAN, variance=VARIANCE, y=None):
    """E[x0 | x_t] of N(mean, variance)."""

    def denoise(x, t):
        a, b, s = path.broadcast(path.coefficients(t), x)
        u = x if y is None else x - b * y
        return mean + a * variance / (a * a * variance + s * s) * (u - a * mean)

    return denoise


def flow_map(path, mean=MEAN, variance=VARIANCE, y=None):
    """(x, t, r) -> where the probability-flow ODE carries x from t to r."""

    def carry(x, t, r):
        (a, b, s), (a_r, b_r, s_r) = (path.broadcast(path.coefficients(time), x) for time in (t, r))
        u = x if y is None else x - b * y
        ratio = torch.sqrt((a_r * a_r * variance + s_r * s_r) / (a * a * variance + s * s))
        carried = a_r * mean + ratio * (u - a * mean)
        return carried if y is None else carried + b_r * y

    return carry


def draws(path, t, n=64, d=5, seed=0, with_y=False):
    """States at t, x0, eps and y of Gaussian data, float64 [n, d]."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps, y = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    x0 = MEAN + VARIANCE**0.5 * x0
    return path.sample(x0, eps, t, y if with_y else None), x0, eps, y if with_y else None
