"""Solvers: short functions from a path and a grid of times to a `Tableau`."""

from fewstep.core.solvers.dpmpp import dpmpp_2m
from fewstep.core.solvers.first_order import ddim, ddpm, resshift, sde_euler
from fewstep.core.solvers.heun import heun
from fewstep.core.solvers.multistep import multistep
from fewstep.core.solvers.tableau import Tableau

__all__ = ["Tableau", "ddim", "ddpm", "sde_euler", "resshift", "dpmpp_2m", "heun", "multistep"]
