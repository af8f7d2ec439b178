"""Grids of times; integer timesteps of discretely trained nets live only here."""

from fewstep.core.times.discrete import leading, snap, timesteps, trailing
from fewstep.core.times.grids import karras, shift, uniform, uniform_logsnr
from fewstep.core.times.theta import theta

__all__ = ["uniform", "uniform_logsnr", "karras", "theta", "shift", "trailing", "leading", "snap", "timesteps"]
