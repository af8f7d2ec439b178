"""Parameterisations: what a net says, read as x0_hat."""

from fewstep.core.parameterize.adapters import edm, eps, flow, score, v, x0
from fewstep.core.parameterize.kinds import KINDS, target, to_x0

__all__ = ["eps", "x0", "v", "score", "flow", "edm", "target", "to_x0", "KINDS"]
