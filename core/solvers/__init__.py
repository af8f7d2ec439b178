"""Solvers: short functions from a path and a grid of times to a `Tableau`."""

from fewstep.core.solvers.dpm_solver import dpm_solver, dpm_solver_2s, dpm_solver_3s
from fewstep.core.solvers.dpmpp import dpmpp_1, dpmpp_2m, dpmpp_2s, dpmpp_3m, dpmpp_3s
from fewstep.core.solvers.first_order import ddim, ddpm, resshift, sde_euler
from fewstep.core.solvers.heun import heun
from fewstep.core.solvers.multistep import multistep
from fewstep.core.solvers.sde import sde_dpmpp_1, sde_dpmpp_2m, sde_dpmpp_3m, seeds
from fewstep.core.solvers.tableau import Tableau

__all__ = [
    "Tableau",
    "ddim",
    "ddpm",
    "sde_euler",
    "resshift",
    "dpm_solver",
    "dpm_solver_2s",
    "dpm_solver_3s",
    "dpmpp_1",
    "dpmpp_2m",
    "dpmpp_2s",
    "dpmpp_3m",
    "dpmpp_3s",
    "sde_dpmpp_1",
    "sde_dpmpp_2m",
    "sde_dpmpp_3m",
    "seeds",
    "heun",
    "multistep",
]
