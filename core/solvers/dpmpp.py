"""DPM-Solver++: data prediction in lam = log(a/s) (Lu et al. 2022, arXiv:2211.01095, algorithms 1 and 2)."""

from fewstep.core.solvers.basis import Basis
from fewstep.core.solvers.exponential import Exponential
from fewstep.core.solvers.first_order import FirstOrder
from fewstep.core.solvers.noise import Ddim
from fewstep.core.solvers.singlestep import Singlestep


def dpmpp_1() -> FirstOrder:
    """DPM-Solver++(1), which is DDIM (Lu et al. 2022, arXiv:2211.01095, section 4.1)."""
    return FirstOrder(Ddim(0.0), "dpmpp_1()")


def dpmpp_2m(variant: str = "midpoint", *, final: str = "smooth") -> Exponential:
    """DPM-Solver++(2M).

    Parameters
    ----------
    variant
        ``"midpoint"``, the published algorithm 2 and what other packages run by that name: D + (D − D_before) h / (2
        h_before); or ``"taylor"`` (diffusers: "heun"), which integrates the extrapolation exactly and is the MR
        Sampler's second-order ODE solver on mean-reverting paths (Li et al. 2025, arXiv:2502.07856).
    final
        ``"smooth"``: orders fall towards sigma = 0, if the grid ends there. ``"lower"``: wherever it ends. ``"full"``:
        nowhere but in the step to sigma = 0.

    Raises
    ------
    UsageError
        If an option is unknown.
    """
    return Exponential(2, Basis("lambda"), variant, final, _name("dpmpp_2m", variant, "midpoint", final))


def dpmpp_3m(variant: str = "exact", *, final: str = "smooth") -> Exponential:
    """DPM-Solver++(3M), of third order.

    Parameters
    ----------
    variant
        ``"exact"``, or ``"published"``: the method by that name in other packages, which has half of the second
        difference and is of second order.
    final
        As for `dpmpp_2m`.

    Raises
    ------
    UsageError
        If an option is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, appendix B.
    """
    return Exponential(3, Basis("lambda"), variant, final, _name("dpmpp_3m", variant, "exact", final))


def dpmpp_2s(variant: str = "midpoint", *, stages: str = "middle") -> Singlestep:
    """DPM-Solver++(2S), singlestep.

    Parameters
    ----------
    variant
        ``"midpoint"``, published, or ``"taylor"``.
    stages
        ``"middle"``: two evaluations per step, the second halfway in lam. ``"grid"``: one evaluation per step; the
        times of the grid are the stages, in groups of two.

    Raises
    ------
    UsageError
        If an option is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, algorithm 1.
    """
    return Singlestep(2, Basis("lambda"), variant, stages, _name("dpmpp_2s", variant, "midpoint", stages, "middle"))


def dpmpp_3s(*, stages: str = "middle") -> Singlestep:
    """DPM-Solver++(3S), singlestep; `stages` as for `dpmpp_2s`.

    Raises
    ------
    UsageError
        If `stages` is unknown.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927, algorithm 2, in data prediction.
    """
    return Singlestep(3, Basis("lambda"), "taylor", stages, _name("dpmpp_3s", "", "", stages, "middle"))


def _name(solver: str, variant: str, usual: str, other: str, usual_other: str = "smooth") -> str:
    options = [repr(variant)] * (variant != usual)
    options += [f"{'final' if usual_other == 'smooth' else 'stages'}={other!r}"] * (other != usual_other)
    return f"{solver}({', '.join(options)})"
