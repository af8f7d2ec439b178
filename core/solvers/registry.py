"""Every solver that is a table, with its nominal order: drives the order tests, `docs/solvers.md` and the benchmarks.

What a table can tell is measured, not declared: order of convergence, evaluations per step, noise, memory.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fewstep.core import solvers
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.gaussian import error, order
from fewstep.core.types import Solver


@dataclass(frozen=True)
class Entry:
    """One solver with one set of options.

    Parameters
    ----------
    make
        Makes it.
    order
        Nominal order of convergence; of the law, in mean and variance, for those that draw noise.
    paper
        Authors, arXiv number.
    steps, grading
        How the order is measured: numbers of steps, and how small the first steps are (`gaussian.order`).
    equal
        The nominal order is that for equal steps in s/a with stages halfway, on the EDM path only.
    in_time
        It integrates over t itself: wants a path without kinks, and differs from path to path.
    constant
        It keeps eps_hat exactly while the answers are constant.
    falling
        It needs noise that falls towards the data.
    """

    make: Callable[[], Solver]
    order: int
    paper: str
    steps: tuple[int, int] = (48, 96)
    grading: float = 1.0
    equal: bool = False
    in_time: bool = False
    constant: bool = True
    falling: bool = False


_HO, _SONG = "Ho 2020, arXiv:2006.11239", "Song 2021, arXiv:2010.02502"
_EDM, _FLOW = "Karras 2022, arXiv:2206.00364", "Lipman 2023, arXiv:2210.02747"
_DPM, _DPMPP = "Lu 2022, arXiv:2206.00927", "Lu 2022, arXiv:2211.01095"
_UNIPC, _DEIS, _PNDM = "Zhao 2023, arXiv:2302.04867", "Zhang 2023, arXiv:2204.13902", "Liu 2022, arXiv:2202.09778"
_MOMENTUM, _SEEDS = "Wizadwongsa 2024, arXiv:2307.11118", "Gonzalez 2023, arXiv:2305.14267"
_V3 = "Zheng 2023, arXiv:2310.13268"
_SHIFT, _MR = "Yue 2023, arXiv:2307.12348", "Li 2025, arXiv:2502.07856"
_OURS, _RUNGE = "here, after " + _EDM, "Hairer 1993, section II.1"


def _empirical(order: int, *, corrector: bool = True) -> Solver:
    """On the statistics of a law that the order is not measured on."""
    return solvers.empirical(solvers.Statistics.gaussian(0.5), order, corrector=corrector)


REGISTRY: dict[str, Entry] = {
    "ddim": Entry(lambda: solvers.ddim(), 1, _SONG),
    "ddim, eta 0.5": Entry(lambda: solvers.ddim(0.5), 1, _SONG),
    "ddpm": Entry(lambda: solvers.ddpm(), 1, _HO),
    "euler_ancestral": Entry(lambda: solvers.euler_ancestral(), 1, _SONG),
    "euler": Entry(lambda: solvers.euler(), 1, _FLOW, in_time=True, constant=False),
    "sde_euler": Entry(lambda: solvers.sde_euler(), 1, _DPMPP),
    "resshift": Entry(lambda: solvers.resshift(), 1, _SHIFT, falling=True),
    "dpm_solver 1": Entry(lambda: solvers.dpm_solver(1), 1, _DPM),
    "dpm_solver 2": Entry(lambda: solvers.dpm_solver(2), 2, _DPM),
    "dpm_solver 3": Entry(lambda: solvers.dpm_solver(3), 3, _DPM, grading=2.5),
    "dpm_solver 3, published": Entry(lambda: solvers.dpm_solver(3, "published"), 2, _DPM, (192, 384)),
    "dpm_solver_2s": Entry(lambda: solvers.dpm_solver_2s(), 2, _DPM),
    "dpm_solver_3s": Entry(lambda: solvers.dpm_solver_3s(), 3, _DPM, grading=2.5),
    "dpmpp_1": Entry(lambda: solvers.dpmpp_1(), 1, _DPMPP),
    "dpmpp_2m": Entry(lambda: solvers.dpmpp_2m(), 2, _DPMPP),
    "dpmpp_2m, taylor": Entry(lambda: solvers.dpmpp_2m("taylor"), 2, _DPMPP),
    "dpmpp_2s": Entry(lambda: solvers.dpmpp_2s(), 2, _DPMPP),
    "dpmpp_2s, stages on the grid": Entry(lambda: solvers.dpmpp_2s(stages="grid"), 2, _DPMPP),
    "dpmpp_3m": Entry(lambda: solvers.dpmpp_3m(), 3, _DPMPP, grading=2.5),
    "dpmpp_3m, published": Entry(lambda: solvers.dpmpp_3m("published"), 2, _DPMPP, (192, 384)),
    "dpmpp_3s": Entry(lambda: solvers.dpmpp_3s(), 3, _DPMPP),
    "dpmpp_2s_ancestral": Entry(lambda: solvers.dpmpp_2s_ancestral(), 2, _DPMPP),
    "dpmpp_sde": Entry(lambda: solvers.dpmpp_sde(), 2, _DPMPP, (192, 384)),
    "sde_dpmpp_1": Entry(lambda: solvers.sde_dpmpp_1(), 1, _DPMPP),
    "sde_dpmpp_2m": Entry(lambda: solvers.sde_dpmpp_2m(), 2, _DPMPP, (96, 192)),
    "sde_dpmpp_2m, taylor": Entry(lambda: solvers.sde_dpmpp_2m("taylor"), 2, _DPMPP),
    "sde_dpmpp_3m": Entry(lambda: solvers.sde_dpmpp_3m(), 2, _DPMPP, (96, 192)),
    "sde_dpmpp_3m, published": Entry(lambda: solvers.sde_dpmpp_3m("published"), 2, _DPMPP, (96, 192)),
    "seeds 2": Entry(lambda: solvers.seeds(2), 2, _SEEDS),
    "unip 2": Entry(lambda: solvers.unipc(2, corrector=False), 2, _UNIPC),
    "unipc 1, bh1": Entry(lambda: solvers.unipc(1, "bh1"), 2, _UNIPC),
    "unipc 1": Entry(lambda: solvers.unipc(1), 2, _UNIPC),
    "unipc 2, bh1": Entry(lambda: solvers.unipc(2, "bh1"), 3, _UNIPC, (96, 192), 2.5),
    "unipc 2": Entry(lambda: solvers.unipc(2), 3, _UNIPC, (96, 192), 2.5),
    "unipc 2, noise": Entry(lambda: solvers.unipc(2, basis="eps"), 3, _UNIPC, (192, 384), 2.5),
    "unipc 3": Entry(lambda: solvers.unipc(3), 4, _UNIPC, (96, 192), 2.5),
    "deis 1": Entry(lambda: solvers.deis(1), 1, _DEIS),
    "deis 2": Entry(lambda: solvers.deis(2), 2, _DEIS, in_time=True),
    "deis 3": Entry(lambda: solvers.deis(3), 3, _DEIS, (192, 384), 2.5, in_time=True),
    "deis 2, rho": Entry(lambda: solvers.deis(2, "rho"), 2, _DEIS, (96, 192)),
    "deis 3, rho": Entry(lambda: solvers.deis(3, "rho"), 3, _DEIS, (192, 384), 2.5),
    "deis 3, log_rho": Entry(lambda: solvers.deis(3, "log_rho"), 3, _DEIS, grading=2.5),
    "s_pndm": Entry(lambda: solvers.s_pndm(), 2, _PNDM),
    "pndm": Entry(lambda: solvers.pndm(), 2, _PNDM),
    "pndm, no warm-up": Entry(lambda: solvers.pndm(warmup="none"), 2, _PNDM, (192, 384)),
    "f_pndm": Entry(lambda: solvers.f_pndm(), 2, _PNDM, (96, 192)),
    "f_pndm, equal steps": Entry(lambda: solvers.f_pndm(), 4, _PNDM, (192, 384), equal=True),
    "heavy_ball": Entry(lambda: solvers.heavy_ball(), 1, _MOMENTUM),
    "heavy_ball 4": Entry(lambda: solvers.heavy_ball(4), 1, _MOMENTUM, (96, 192)),
    "ghvb 1.8": Entry(lambda: solvers.ghvb(2), 2, _MOMENTUM),
    "ghvb 2.8": Entry(lambda: solvers.ghvb(3), 2, _MOMENTUM, (96, 192)),
    "ghvb 3.8": Entry(lambda: solvers.ghvb(4), 2, _MOMENTUM, (192, 384)),
    "adams 2": Entry(lambda: solvers.adams(2), 2, _RUNGE, (96, 192), in_time=True, constant=False),
    "adams 3": Entry(lambda: solvers.adams(3), 3, _RUNGE, (192, 384), 2.5, in_time=True, constant=False),
    "midpoint": Entry(lambda: solvers.runge_kutta("midpoint"), 2, _RUNGE, in_time=True, constant=False),
    "heun, t": Entry(lambda: solvers.runge_kutta("heun"), 2, _RUNGE, in_time=True, constant=False),
    "ralston": Entry(lambda: solvers.runge_kutta("ralston"), 2, _RUNGE, in_time=True, constant=False),
    "rk3": Entry(lambda: solvers.runge_kutta("rk3"), 3, _RUNGE, in_time=True, constant=False),
    "rk4": Entry(lambda: solvers.runge_kutta("rk4"), 4, _RUNGE, in_time=True, constant=False),
    "rk4, rho": Entry(lambda: solvers.runge_kutta("rk4", "rho"), 4, _RUNGE),
    "rk4, trig": Entry(lambda: solvers.runge_kutta("rk4", "trig"), 4, _OURS, constant=False),
    "heun": Entry(lambda: solvers.heun(), 2, _EDM),
    "heun, lambda": Entry(lambda: solvers.heun("lambda"), 2, _DPMPP),
    "heun, trig": Entry(lambda: solvers.heun("trig"), 2, _OURS, constant=False),
    "edm_stochastic": Entry(lambda: solvers.edm_stochastic(), 2, _EDM, (384, 768)),
    "mr_sampler": Entry(lambda: solvers.mr_sampler(), 2, _MR),
    "mr_sampler, sde": Entry(lambda: solvers.mr_sampler(2, "sde"), 2, _MR),
    "empirical 2": Entry(lambda: _empirical(2, corrector=False), 2, _V3, constant=False),
    "empirical 3": Entry(lambda: _empirical(3, corrector=False), 3, _V3, (384, 768), 3.5, constant=False),
    "empirical 2 corrected": Entry(lambda: _empirical(2), 3, _V3, (96, 192), 2.5, constant=False),
    "trig 2": Entry(lambda: solvers.multistep(2, "trig"), 2, _OURS, constant=False),
    "trig 3": Entry(lambda: solvers.multistep(3, "trig"), 3, _OURS, grading=2.5, constant=False),
    "trig 3 corrected": Entry(
        lambda: solvers.multistep(3, "trig", corrector=True), 4, _OURS, (96, 192), 2.5, constant=False
    ),
}
"""Name -> entry, in reading order."""


@dataclass(frozen=True)
class Facts:
    """What a solver's tables say.

    Parameters
    ----------
    order
        Measured order of convergence.
    nfe_per_step
        Evaluations per further step.
    stochastic
        Whether noise is drawn.
    states
        Tensors of the state's size that a step reads: the state and the answers kept.
    """

    order: float
    nfe_per_step: float
    stochastic: bool
    states: int


def measured_order(entry: Entry, path: AffinePath) -> float:
    """Order of convergence of an entry on a path, as its fields say."""
    if entry.equal:
        return _order_on_equal_steps(entry, path)
    return order(entry.make(), path, steps=entry.steps, grading=entry.grading)


def facts(entry: Entry, path: AffinePath) -> Facts:
    """Measure an entry on a path."""
    short, long = (entry.make().tableau(path, np.linspace(0.9, 0.1, n + 1) * path.t_max) for n in (10, 20))
    read = int(np.abs(long.history).any(axis=0).nonzero()[0].max()) + 1
    carried = int(long.mix.shape[1] > 2 and bool(long.mix[:, 2].any()) and read == 1)
    nfe = (long.nfe - short.nfe) / 10
    return Facts(measured_order(entry, path), nfe, bool(long.noise.any()), 1 + read + carried)


def _order_on_equal_steps(entry: Entry, path: AffinePath, first: float = 2.0, last: float = 0.2) -> float:
    errors = []
    for n in entry.steps:
        sigma = torch.linspace(first, last, n + 1, dtype=torch.float64)
        table = entry.make().tableau(path, path.inverse(-torch.log(sigma)))
        errors.append(error(table, mean=0.7, variance=2.0))
    return math.log(errors[0] / errors[1]) / math.log(entry.steps[1] / entry.steps[0])
