"""Guidance: functions from denoisers to a denoiser."""

from fewstep.core.guide.cfg import cfg

__all__ = ["cfg"]
