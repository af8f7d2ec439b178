"""Solvers: short functions from a path and a grid of times to a `Tableau`."""

from fewstep.core.solvers.adams import adams, euler
from fewstep.core.solvers.ancestral import dpmpp_2s_ancestral, euler_ancestral
from fewstep.core.solvers.consistency import consistency
from fewstep.core.solvers.default import Default, default, default_for, default_of
from fewstep.core.solvers.deis import deis
from fewstep.core.solvers.diffusers_scheduler import as_diffusers_scheduler
from fewstep.core.solvers.dpm_solver import dpm_solver, dpm_solver_2s, dpm_solver_3s
from fewstep.core.solvers.dpmpp import dpmpp_1, dpmpp_2m, dpmpp_2s, dpmpp_3m, dpmpp_3s
from fewstep.core.solvers.dpmpp_sde import dpmpp_sde
from fewstep.core.solvers.edm import edm_stochastic
from fewstep.core.solvers.empirical import Statistics, empirical
from fewstep.core.solvers.first_order import ddim, ddpm, resshift, sde_euler
from fewstep.core.solvers.heun import heun
from fewstep.core.solvers.k_diffusion_model import from_k_diffusion
from fewstep.core.solvers.momentum import ghvb, heavy_ball
from fewstep.core.solvers.mr import mr_sampler
from fewstep.core.solvers.multistep import multistep
from fewstep.core.solvers.pndm import f_pndm, pndm, s_pndm
from fewstep.core.solvers.runge_kutta import runge_kutta
from fewstep.core.solvers.sde import sde_dpmpp_1, sde_dpmpp_2m, sde_dpmpp_3m, seeds
from fewstep.core.solvers.stitch import stitch
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.tune import tune
from fewstep.core.solvers.unipc import unipc

__all__ = [
    "Tableau",
    "Default",
    "default",
    "default_for",
    "default_of",
    "tune",
    "ddim",
    "ddpm",
    "euler",
    "euler_ancestral",
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
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "sde_dpmpp_1",
    "sde_dpmpp_2m",
    "sde_dpmpp_3m",
    "seeds",
    "unipc",
    "deis",
    "pndm",
    "s_pndm",
    "f_pndm",
    "heavy_ball",
    "ghvb",
    "adams",
    "runge_kutta",
    "heun",
    "edm_stochastic",
    "mr_sampler",
    "multistep",
    "empirical",
    "Statistics",
    "consistency",
    "stitch",
    "as_diffusers_scheduler",
    "from_k_diffusion",
]
