"""DPM-Solver: noise prediction in lam = log(a/s) (Lu et al. 2022, arXiv:2206.00927)."""

from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.exponential import Exponential
from fewstep.core.solvers.singlestep import Singlestep

_USUAL = {1: "taylor", 2: "midpoint", 3: "exact"}


def dpm_solver(order: int = 2, variant: str | None = None, *, final: str = "smooth") -> Exponential:
    """DPM-Solver, multistep: one evaluation per step.

    Parameters
    ----------
    order
        1 (DDIM), 2 or 3.
    variant
        Of order 2: ``"midpoint"`` or ``"taylor"``; of order 3: ``"exact"`` or ``"published"``, which is of second
        order. None: the first of these.
    final
        ``"smooth"``: orders fall towards sigma = 0, if the grid ends there. ``"lower"``: wherever it ends. ``"full"``:
        nowhere but in the step to sigma = 0.

    Raises
    ------
    UsageError
        If an option is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927, equation 3.7, with the differences of arXiv:2211.01095.
    """
    usual = _USUAL.get(order, "")
    chosen = variant or usual
    options = f", {chosen!r}" * (chosen != usual) + f", {final=}" * (final != "smooth")
    return Exponential(order, Basis("eps"), chosen, final, f"dpm_solver({order}{options})")


def dpm_solver_2s(*, stages: str = "middle") -> Singlestep:
    """DPM-Solver-2: two evaluations per step, the second halfway in lam; `stages` as for `dpmpp_2s`.

    Raises
    ------
    UsageError
        If `stages` is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927, algorithm 1.
    """
    return Singlestep(2, Basis("eps"), "midpoint", stages, _name("dpm_solver_2s", stages))


def dpm_solver_3s(*, stages: str = "middle") -> Singlestep:
    """DPM-Solver-3: three evaluations per step, at 1/3 and 2/3 of it in lam; `stages` as for `dpmpp_2s`.

    Raises
    ------
    UsageError
        If `stages` is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927, algorithm 2.
    """
    return Singlestep(3, Basis("eps"), "taylor", stages, _name("dpm_solver_3s", stages))


def _name(solver: str, stages: str) -> str:
    return f"{solver}({f'{stages=}' * (stages != 'middle')})"
