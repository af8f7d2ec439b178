"""The MR Sampler for mean-reverting paths (Li et al. 2025): DPM-Solver++ in u = x − b y, hence nothing new here.

Its steps in x carry y along with the weight (1 − a_n/a_p ...), which is what the shift by b y takes away.
arXiv:2502.07856, propositions 1 to 4, data prediction.
"""

from collections.abc import Callable

from fewstep.core.errors import UsageError
from fewstep.core.solvers.dpmpp import dpmpp_1, dpmpp_2m, dpmpp_3m
from fewstep.core.solvers.sde import sde_dpmpp_1, sde_dpmpp_2m
from fewstep.core.types import Solver

_MAKE: dict[tuple[str, int], Callable[[], Solver]] = {
    ("ode", 1): dpmpp_1,
    ("ode", 2): lambda: dpmpp_2m("taylor"),
    ("ode", 3): dpmpp_3m,
    ("sde", 1): sde_dpmpp_1,
    ("sde", 2): lambda: sde_dpmpp_2m("taylor"),
}


def mr_sampler(order: int = 2, kind: str = "ode") -> Solver:
    """The MR Sampler: for `paths.ir_sde` and `paths.ou`, but it runs on every path.

    Parameters
    ----------
    order
        1 to 3 for the ODE, 1 or 2 for the SDE.
    kind
        ``"ode"`` or ``"sde"``.

    Raises
    ------
    UsageError
        If there is no such sampler.

    References
    ----------
    Li et al. 2025, arXiv:2502.07856, algorithms 1 to 4.
    """
    if (kind, order) not in _MAKE:
        raise UsageError(f"expected kind 'ode' with order 1, 2 or 3, or 'sde' with 1 or 2, got {kind!r} with {order}")
    return _MAKE[kind, order]()
