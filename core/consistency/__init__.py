"""Data consistency: functions from a denoiser to one whose answers agree with what was measured, y = A x0 + noise."""

from fewstep.core.consistency.dds import dds
from fewstep.core.consistency.dps import dps
from fewstep.core.consistency.pigdm import pigdm
from fewstep.core.consistency.project import project
from fewstep.core.consistency.prox import prox

__all__ = ["project", "prox", "dds", "dps", "pigdm"]
