"""The few-step part of a checkpoint: a small preconditioned net that corrects the regressor's mean m.

    v = (x − b y) / a = x0 + sigma eps,   r = x0 − m
    x0_hat = m + c_skip (v − m) + c_out F(c_in (v − m), features of the mean, m, log sigma)

with c_skip = q² / (q² + sigma²), c_out = q sigma / sqrt(q² + sigma²), c_in = 1 / sqrt(q² + sigma²), q the standard
deviation of r (Karras et al. 2022, arXiv:2206.00364, eq. 7, of the residual). It reads sigma = s/a only, so one net
serves every path: residual shifting (arXiv:2307.12348), IR-SDE (arXiv:2301.11699), any kappa.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewstep.restoration.models.body import Body
from fewstep.restoration.models.regressor import Regressor, known_kept

EMBEDDING = 64

_means: ContextVar[dict | None] = ContextVar("means", default=None)


@contextmanager
def means_once() -> Iterator[None]:
    """Inside, the mean of one and the same tensor, which must not change, is computed once for all steps."""
    token = _means.set({})
    try:
        yield
    finally:
        _means.reset(token)


class Denoiser(nn.Module):
    """``net(v, sigma, lq, mask, told) -> x0_hat``; ``net.regressor(lq, mask, told)`` is the mean.

    Parameters
    ----------
    regressor
        The mean; trained first, and not by the loss of this net.
    width, blocks
        Of the small net's body.
    residual_std
        q, in units of [-1, 1].
    student
        Has a second body of the same shape that answers for a whole chain in one call.
    """

    def __init__(
        self,
        regressor: Regressor,
        *,
        width: int = 48,
        blocks: int = 6,
        residual_std: float = 0.07,
        student: bool = False,
    ):
        super().__init__()
        self.regressor, self.residual_std = regressor, residual_std
        planes = regressor.width + 6 * regressor.fold**2 + (regressor.fold**2 if regressor.task == "inpaint" else 0)
        self.embed = nn.Sequential(nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.body = Body(planes, 3 * regressor.fold**2, width=width, blocks=blocks, vector=EMBEDDING)
        self.student = Body(planes, 3 * regressor.fold**2, width=width, blocks=blocks) if student else None
        self.multiple = regressor.multiple
        self.margin = regressor.margin + regressor.fold * self.body.radius

    def forward(
        self,
        v: Tensor,
        sigma: Tensor,
        lq: Tensor,
        mask: Tensor | None = None,
        told: Tensor | None = None,
    ) -> Tensor:
        """Denoise.

        Parameters
        ----------
        v
            x0 + sigma eps on the canvas, [batch, 3, rows, columns].
        sigma
            [batch].
        lq, mask, told
            As for `Regressor`.

        Returns
        -------
        Tensor
            [batch, 3, rows, columns].
        """
        features, mean = self.mean_of(lq, mask, told)
        sigma = sigma.to(v.dtype).reshape(-1, 1, 1, 1)
        total = torch.sqrt(self.residual_std**2 + sigma**2)
        u = v - mean
        inner = self.body(self._planes(u / total, features, mean, mask), self._told_sigma(sigma.flatten()))
        out = functional.pixel_shuffle(inner, self.regressor.fold).to(v.dtype)
        x0 = mean + (self.residual_std / total) ** 2 * u + self.residual_std * sigma / total * out
        return known_kept(x0, lq, mask)

    def one(self, eps: Tensor, lq: Tensor, mask: Tensor | None = None, told: Tensor | None = None) -> Tensor:
        """The student's answer to the noise that a chain would start with.

        Parameters
        ----------
        eps
            Standard normal noise on the canvas, [batch, 3, rows, columns].
        lq, mask, told
            As for `Regressor`.

        Returns
        -------
        Tensor
            [batch, 3, rows, columns].
        """
        features, mean = self.mean_of(lq, mask, told)
        student: Any = self.student
        inner = student(self._planes(eps, features, mean, mask))
        x0 = mean + self.residual_std * functional.pixel_shuffle(inner, self.regressor.fold).to(mean.dtype)
        return known_kept(x0, lq, mask)

    def mean_of(self, lq: Tensor, mask: Tensor | None, told: Tensor | None) -> tuple[Tensor, Tensor]:
        """The regressor's features and mean, without a graph."""
        found, inputs = _means.get(), (lq, mask, told)
        key = (id(self), *(None if v is None else (v.data_ptr(), v.shape, v.stride()) for v in inputs))
        if found is not None and key in found:
            return found[key][0]
        with torch.no_grad():
            both = self.regressor.both(lq, mask, told)
        if found is not None:
            found[key] = both, inputs  # which are kept, so that no other tensor gets their place in memory
        return both

    def _planes(self, u: Tensor, features: Tensor, mean: Tensor, mask: Tensor | None) -> Tensor:
        fold = self.regressor.fold
        parts = [features.to(u.dtype), functional.pixel_unshuffle(u, fold), functional.pixel_unshuffle(mean, fold)]
        if self.regressor.task == "inpaint" and mask is not None:
            parts.append(functional.pixel_unshuffle(mask.to(u.dtype), fold).expand(len(u), -1, -1, -1))
        return torch.cat(parts, 1)

    def _told_sigma(self, sigma: Tensor) -> Tensor:
        rates = torch.exp(torch.linspace(0, math.log(100), EMBEDDING // 2, device=sigma.device)).to(sigma.dtype) / 4
        angle = torch.log(sigma.clamp(min=1e-5))[:, None] * rates
        return self.embed(torch.cat([angle.sin(), angle.cos()], 1))
