"""In which variable, and as what, a multistep solver sees the probability-flow ODE.

Each basis writes the exact solution between two times as an integral over its variable z of one quantity G:

    u_n = k_n/k_p u_p + integral of weight(z) G dz from z_p to z_n,     G = mix_0 u + mix_1 D

    lambda  z = lam          G = D        k = s     DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095, eq. 8)
    eps     z = lam          G = eps_hat  k = a     DPM-Solver (Lu et al. 2022, arXiv:2206.00927, eq. 3.4)
    rho     z = s/a          G = eps_hat  k = a     DEIS (Zhang & Chen 2023, arXiv:2204.13902, eq. 17), EDM
    trig    z = atan(s/(a sigma_data)), G = F of EDM's preconditioning, k² = s² + a² sigma_data²

Any method that holds G constant is exact on data for which G is; trig is so for N(0, sigma_data² I).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import Array, Knots

NAMES = ("lambda", "eps", "rho", "trig")


@dataclass(frozen=True)
class Basis:
    """One of the four.

    Parameters
    ----------
    name
        ``"lambda"``, ``"eps"``, ``"rho"`` or ``"trig"``.
    sigma_data
        Standard deviation of the data, read by ``"trig"`` only.
    eta
        Noise rate of the reverse SDE, for ``"lambda"`` only: G is then integrated against (1 + eta) e^{(1+eta) lam}.

    Raises
    ------
    UsageError
        If the name is unknown, `sigma_data` is not positive, or there is noise in another basis than ``"lambda"``.
    """

    name: str
    sigma_data: float = 0.5
    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"expected a basis out of {', '.join(NAMES)}, got {self.name!r}")
        if not self.sigma_data > 0:
            raise UsageError(f"expected sigma_data > 0, got {self.sigma_data}")
        if not self.eta >= 0 or (self.eta and self.name != "lambda"):
            raise UsageError(f"expected eta >= 0, and 0 unless basis='lambda', got {self.eta} for {self.name!r}")

    def on(self, k: Knots) -> "Coordinates":
        """The coordinates of a grid."""
        z = self._variable(k)
        usable = np.isfinite(z)
        if self.name != "lambda":
            usable &= (k.s > 0) & ((k.a > 0) | (self.name == "trig"))
        return Coordinates(self, k, z, usable, self._scale(k), self._mix(k, usable))

    def weight(self, c: "Coordinates", z: Array, n: int | NDArray[np.int64]) -> Array | float:
        """What G is integrated against at `z`, for a step that ends at knot n of the grid `c`."""
        k, rate = c.knots, 1 + self.eta
        if self.name == "lambda":
            return k.a[n] * rate * np.exp(rate * (z - k.lam[n]))
        if self.name == "eps":
            return -k.s[n] * np.exp(k.lam[n] - z)
        return k.a[n] if self.name == "rho" else -c.scale[n]

    def _variable(self, k: Knots) -> Array:
        if self.name == "rho":
            return np.divide(k.s, k.a, out=np.full_like(k.s, np.inf), where=k.a > 0)
        return np.arctan2(k.s, k.a * self.sigma_data) if self.name == "trig" else k.lam

    def _scale(self, k: Knots) -> Array:
        if self.name == "lambda":
            return k.s
        return np.hypot(k.s, k.a * self.sigma_data) if self.name == "trig" else k.a

    def _mix(self, k: Knots, usable: NDArray[np.bool_]) -> Array:
        mix = np.tile([0.0, 1.0], (len(k.s), 1))
        s, a = k.s[usable], k.a[usable]
        if self.name in ("eps", "rho"):
            mix[usable] = np.stack([1 / s, -a / s], axis=1)
        if self.name == "trig":
            norm = np.hypot(s, a * self.sigma_data)
            mix[usable] = np.stack([-a * self.sigma_data / (norm * s), norm / (self.sigma_data * s)], axis=1)
        return mix


class Seen(Protocol):
    """What a multistep solver asks of a basis."""

    @property
    def eta(self) -> float:
        """Noise rate of the reverse SDE."""

    def on(self, k: Knots) -> "Coordinates":
        """The coordinates of a grid."""

    def weight(self, c: "Coordinates", z: Array, n: int | NDArray[np.int64]) -> Array | float:
        """What G is integrated against at `z`, for a step that ends at knot n of the grid `c`."""


@dataclass(frozen=True)
class Coordinates:
    """A grid as a basis sees it.

    Parameters
    ----------
    basis, knots
        What it was made from.
    z
        The variable, [n + 1]; infinite where the basis has no coordinate.
    usable
        Where z and G are finite, bool [n + 1].
    scale
        k, the factor that the linear part leaves, [n + 1].
    mix
        G in terms of u and D, [n + 1, 2]; (0, 1) where the basis is not usable.
    """

    basis: "Seen"
    knots: Knots
    z: Array
    usable: NDArray[np.bool_]
    scale: Array
    mix: Array

    def weight(self, z: Array, n: int | NDArray[np.int64]) -> Array | float:
        """What G is integrated against at `z`, for a step that ends at knot n."""
        return self.basis.weight(self, z, n)
