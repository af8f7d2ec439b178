"""Samplers that are no table: their steps depend on what they see, as plain generators."""

from fewstep.core.solvers.walk.dual_fast import dual_fast
from fewstep.core.solvers.walk.euler import euler_maruyama_x
from fewstep.core.solvers.walk.ground import Ground, Steps, Walk
from fewstep.core.solvers.walk.langevin import predictor_corrector
from fewstep.core.solvers.walk.teleport import Gaussian, teleport
from fewstep.core.solvers.walk.time_shift import time_shift

__all__ = [
    "Gaussian",
    "Ground",
    "Steps",
    "Walk",
    "dual_fast",
    "euler_maruyama_x",
    "predictor_corrector",
    "teleport",
    "time_shift",
]
