"""Guidance: functions from denoisers to a denoiser, and hooks on nets."""

from fewstep.core.guide.cfg import cfg
from fewstep.core.guide.skip import rising, skip_tuning
from fewstep.core.guide.stitch import stitch

__all__ = ["cfg", "rising", "skip_tuning", "stitch"]
