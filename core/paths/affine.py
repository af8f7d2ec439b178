"""The one path of the package: x_t = a(t) x0 + b(t) y + s(t) eps, with t = 0 the data and t = t_max the prior.

u = x − b y leaves an ordinary (a, s) path (Kingma et al. 2021, arXiv:2107.00630, section 3.1), so what holds for
diffusion from noise holds for every process that ends at a degraded signal y. lam = log(a / s) is half the log-SNR.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fewstep.core.errors import UsageError

Number = float | Tensor
Three = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class AffinePath:
    """A process, given by its marginals. Paths with the same `key` are equal.

    The functions take and return float64 tensors of one shape (float32 where a device has no float64); use the methods,
    which take anything.

    Parameters
    ----------
    key
        Names the process and its parameters; tableaus remember it.
    marginal_at
        t -> (a, b, s).
    slopes_at
        t -> (da/dt, db/dt, ds/dt).
    lam_at
        t -> log(a/s), decreasing, without cancellation at either end.
    time_at
        lam -> t, its inverse.
    t_min
        Smallest time that is worth resolving; everything is defined down to 0.
    t_max
        Where the prior is drawn.
    n_train
        Number of timesteps of a process that is trained at the times 1/n_train, 2/n_train, ..., 1 only; else None.
    """

    key: str
    marginal_at: Callable[[Tensor], Three] = field(repr=False, compare=False)
    slopes_at: Callable[[Tensor], Three] = field(repr=False, compare=False)
    lam_at: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    time_at: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    t_min: float = field(default=1e-3, compare=False)
    t_max: float = field(default=1.0, compare=False)
    n_train: int | None = field(default=None, compare=False)

    def coefficients(self, t: Number) -> Three:
        """The marginal's coefficients.

        Parameters
        ----------
        t
            Time, a number or a tensor of any shape; negative times (rounding) count as 0.

        Returns
        -------
        a, b, s
            Shaped like `t`, in its dtype; float64 for a number.
        """
        return tuple(value.to(dtype) for value, dtype in _each(self.marginal_at, t))  # type: ignore[return-value]

    def derivatives(self, t: Number) -> Three:
        """Time derivatives of the marginal's coefficients.

        Parameters
        ----------
        t
            Time, a number or a tensor of any shape.

        Returns
        -------
        da, db, ds
            Shaped like `t`; `ds` may be infinite at t = 0.
        """
        return tuple(value.to(dtype) for value, dtype in _each(self.slopes_at, t))  # type: ignore[return-value]

    def lam(self, t: Number) -> Tensor:
        """log(a/s), shaped like `t`: inf where s = 0 at the data, −inf where a = 0 or a bridge is pinned."""
        wide, dtype = _wide(t)
        return self.lam_at(wide.clamp(min=0)).to(dtype)

    def inverse(self, lam: Number) -> Tensor:
        """The time at which log(a/s) is `lam`, shaped like `lam`."""
        wide, dtype = _wide(lam)
        return self.time_at(wide).to(dtype)

    def sample(self, x0: Tensor, eps: Tensor, t: Number, y: Tensor | None = None) -> Tensor:
        """The state x_t.

        Parameters
        ----------
        x0
            Clean signal, [batch, ...], real or complex.
        eps
            Standard normal noise, shaped like `x0` (complex: unit variance in total).
        t
            One time, or [batch].
        y
            Degraded end, shaped like `x0`; None is 0.

        Returns
        -------
        Tensor
            Shaped like `x0`, in its dtype.

        Raises
        ------
        UsageError
            If `t` is neither one time nor one per item.
        """
        a, b, s = self.broadcast(self.coefficients(t), x0)
        x = a * x0 + s * eps
        return x if y is None else x + b * y

    def prior(
        self,
        z: Tensor,
        y: Tensor | None = None,
        x0_guess: Tensor | None = None,
        *,
        t: float | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Where sampling starts: a x0_guess + b y + s z.

        Parameters
        ----------
        z
            Standard normal noise, [batch, ...].
        y
            Degraded end, shaped like `z`; None is 0.
        x0_guess
            What is known of the clean signal; default `y`, as SGMSE+, ResShift and IR-SDE do.
        t
            Time of the start; default `t_max`.
        temperature
            Multiplies the standard deviation of the noise.

        Returns
        -------
        Tensor
            Shaped like `z`.
        """
        guess = y if x0_guess is None else x0_guess
        start = self.t_max if t is None else t
        return self.sample(torch.zeros_like(z) if guess is None else guess, temperature * z, start, y)

    def broadcast(self, coefficients: Three, x: Tensor) -> Three:
        """Coefficients for one time or [batch] times, made to multiply `x` [batch, ...] without changing its dtype.

        Raises
        ------
        UsageError
            If there is neither one time nor one per item of `x`.
        """
        shape = coefficients[0].shape
        if len(shape) > 1 or (len(shape) == 1 and shape[0] not in (1, len(x))):
            raise UsageError(f"expected one time or one per item of the batch of {len(x)}, got times {list(shape)}")
        if not shape:
            return coefficients if coefficients[0].device == x.device else _move(coefficients, x, ())
        return _move(coefficients, x, (-1, *[1] * (x.ndim - 1)))


def _move(coefficients: Three, x: Tensor, shape: tuple[int, ...]) -> Three:
    real = x.real.dtype if x.is_complex() else x.dtype
    a, b, s = (value.to(x.device, real).reshape(shape) for value in coefficients)
    return a, b, s


def _wide(t: Number) -> tuple[Tensor, torch.dtype]:
    if not isinstance(t, Tensor):
        t = torch.as_tensor(t, dtype=torch.float64)
    dtype = t.dtype if t.is_floating_point() else torch.float64
    return t.to(torch.float32 if t.device.type == "mps" else torch.float64), dtype


def _each(function: Callable[[Tensor], Three], t: Number) -> list[tuple[Tensor, torch.dtype]]:
    wide, dtype = _wide(t)
    return [(value, dtype) for value in function(wide.clamp(min=0))]
