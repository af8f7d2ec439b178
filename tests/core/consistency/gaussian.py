"""Gaussian data measured linearly: the exact denoiser, and the exact posterior, all in closed form."""

import torch


def exact(path, mean=0.0, variance=1.0, y=None):
    """E[x0 | x_t] for independent components of this mean and variance (numbers, or shaped like an item)."""

    def denoise(x, t):
        a, b, s = path.broadcast(path.coefficients(t), x)
        u = x if y is None else x - b * y
        return mean + a * variance / (a * a * variance + s * s) * (u - a * mean)

    return denoise


def dense(A):
    """An operator that is the same for all items, as a matrix [out, in]."""
    n = torch.Size(A.shape_in).numel()
    eye = torch.eye(n, dtype=torch.complex128).reshape(n, *A.shape_in)
    return A(eye).flatten(1).T


def posterior(A, measured, guess, r2, sigma_y):
    """Mean of x0 ~ N(guess, r2 I) given measured = A x0 + sigma_y noise; guess [batch, ...]."""
    matrix, flat = dense(A), guess.flatten(1).to(torch.complex128)
    gain = (
        r2
        * matrix.mH
        @ torch.linalg.inv(r2 * matrix @ matrix.mH + sigma_y**2 * torch.eye(len(matrix), dtype=torch.float64))
    )
    missing = measured.flatten(1) - flat @ matrix.T
    return (flat + missing @ gain.T).reshape(guess.shape)


def randn(*shape, seed=0, dtype=torch.complex128):
    """Standard normal numbers of their own stream."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
