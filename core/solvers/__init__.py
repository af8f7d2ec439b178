"""Solvers: short functions from a path and a grid of times to a `Tableau`."""

from fewstep.core.solvers.first_order import ddim, ddpm, resshift, sde_euler
from fewstep.core.solvers.tableau import Tableau

__all__ = ["Tableau", "ddim", "ddpm", "sde_euler", "resshift"]
