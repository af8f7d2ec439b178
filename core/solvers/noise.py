"""How much of the noise of a first-order step is drawn anew: the rules that the literature all calls eta.

    u_n = a_n D + carry s_n eps_hat + fresh s_n eps,   carry² + fresh² = 1,   h = lam_n − lam_p

Each rule gives (carry, fresh) of one step; they agree only at eta = 0 and 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from fewstep.core.errors import UsageError

NoiseRule = Callable[[float, float, float], tuple[float, float]]
"""``rule(h, s_p, s_n) -> (carry, fresh)``."""


@dataclass(frozen=True)
class Ddim:
    """fresh = eta sqrt(1 − e^{−2h}); eta = 1 is DDPM's posterior (Song et al. 2021, arXiv:2010.02502, eq. 16)."""

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise UsageError(f"expected eta in [0, 1], got {self.eta}")

    def __call__(self, h: float, s_p: float, s_n: float) -> tuple[float, float]:
        """(carry, fresh) of one step."""
        square = self.eta**2
        return math.sqrt(1 - square + square * math.exp(-2 * h)), math.sqrt(-square * math.expm1(-2 * h))


@dataclass(frozen=True)
class Sde:
    """fresh = sqrt(1 − e^{−2 eta h}): the reverse SDE with its noise rate scaled (Lu et al. 2022, arXiv:2211.01095)."""

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise UsageError(f"expected eta >= 0, got {self.eta}")

    def __call__(self, h: float, s_p: float, s_n: float) -> tuple[float, float]:
        """(carry, fresh) of one step."""
        done = self.eta * h if self.eta else 0.0
        return math.exp(-done), math.sqrt(-math.expm1(-2 * done))


@dataclass(frozen=True)
class Shift:
    """fresh = sqrt(1 − s_n²/s_p²): ResShift's posterior (Yue et al. 2023, arXiv:2307.12348, eq. 7)."""

    def __call__(self, h: float, s_p: float, s_n: float) -> tuple[float, float]:
        """(carry, fresh) of one step.

        Raises
        ------
        UsageError
            If the noise grows on the way to the data, as it does on bridges.
        """
        if s_n > s_p:
            raise UsageError(f"ResShift's posterior needs noise that falls towards the data, got s from {s_p} to {s_n}")
        return s_n / s_p, math.sqrt((s_p - s_n) * (s_p + s_n)) / s_p
