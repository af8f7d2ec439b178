"""First-order solvers: one evaluation, one step, and a rule for the noise.

    u_n = carry (s_n/s_p) u_p + a_n (1 − carry e^{−h}) D + fresh s_n eps

DDIM: Song, Meng & Ermon 2021, arXiv:2010.02502, eq. 12. DDPM: Ho et al. 2020, arXiv:2006.11239, eq. 6-7.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Knots, knots
from fewstep.core.solvers.noise import Ddim, NoiseRule, Sde, Shift
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class FirstOrder:
    """One evaluation per step; `rule` says how much noise is drawn anew."""

    rule: NoiseRule
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path, or the rule does not apply.
        """
        k = knots(path, times)
        rows = [row(k, i, self.rule) for i in range(len(k.times) - 1)]
        state, weight, noise = (np.array(column) for column in zip(*rows, strict=True))
        n = len(rows)
        mix = np.tile([0.0, 1.0], (n, 1))
        return Tableau(
            path.key, self.name, k.times, k.a, k.b, k.s, state, weight[:, None], mix, noise, np.arange(float(n))
        )


def row(k: Knots, i: int, rule: NoiseRule, n: int | None = None) -> tuple[float, float, float]:
    """Coefficients of u, D and eps for the step from knot i to knot n, by default the next.

    A path that starts with s = 0 (a bridge at y) carries no noise to keep.
    """
    n = i + 1 if n is None else n
    s_p, s_n, a_n = float(k.s[i]), float(k.s[n]), float(k.a[n])
    h = float(k.lam[n] - k.lam[i])
    carry, fresh = rule(h, s_p, s_n) if s_p > 0 else rule(math.inf, 1.0, 1.0)
    state = carry * s_n / s_p if s_p > 0 else 0.0
    kept = math.log(carry) - h if carry > 0 else -math.inf
    return state, -a_n * math.expm1(kept), fresh * s_n


def ddim(eta: float = 0.0) -> FirstOrder:
    """DDIM; eta = 0 is deterministic, eta = 1 DDPM.

    Parameters
    ----------
    eta
        Part of DDPM's noise, in [0, 1].

    Raises
    ------
    UsageError
        If `eta` is outside [0, 1].

    References
    ----------
    Song, Meng & Ermon 2021, arXiv:2010.02502, eq. 12 and 16.
    """
    return FirstOrder(Ddim(eta), f"ddim(eta={eta})")


def ddpm() -> FirstOrder:
    """DDPM's ancestral sampling with the posterior's variance (Ho et al. 2020, arXiv:2006.11239, eq. 6-7)."""
    return FirstOrder(Ddim(1.0), "ddpm()")


def sde_euler(eta: float = 1.0) -> FirstOrder:
    """Exponential Euler for the reverse SDE whose noise rate is scaled by sqrt(eta): SDE-DPM-Solver++1 at eta = 1.

    Parameters
    ----------
    eta
        Noise rate, at least 0.

    Raises
    ------
    UsageError
        If `eta` is negative.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, eq. 18.
    """
    return FirstOrder(Sde(eta), f"sde_euler(eta={eta})")


def resshift() -> FirstOrder:
    """ResShift's posterior (Yue et al. 2023, arXiv:2307.12348, eq. 7)."""
    return FirstOrder(Shift(), "resshift()")
