"""Caches: leave work out inside a net and put a prediction in its place; scope × policy × predictor × correction."""

from fewstep.core.caches.ahead import Ahead
from fewstep.core.caches.attach import Attached, attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.calibrated import bac, cachequant, ertacache, profiling_dit, rectified
from fewstep.core.caches.compiled import compiled
from fewstep.core.caches.correction import Affine, Scale, affine, rescaled
from fewstep.core.caches.default import pick, rows_within, tune
from fewstep.core.caches.evolve import ecad
from fewstep.core.caches.gate import Gate, Stability
from fewstep.core.caches.policy import Every, Schedule, Window
from fewstep.core.caches.predictor import Newton, Reuse, Taylor
from fewstep.core.caches.presets import (
    centred,
    cg_taylor,
    deepcache,
    delta_dit,
    every,
    faster_diffusion,
    first_block,
    prior_noise,
    sada,
    taylor,
    taylorseer,
)
from fewstep.core.caches.profile import Profile, profile
from fewstep.core.caches.record import Recording, record
from fewstep.core.caches.report import Report
from fewstep.core.caches.router import Router
from fewstep.core.caches.scope import Split, deltas, outputs, span, unet_branch, whole
from fewstep.core.caches.search import bends, segments, total, united, walk, weighted
from fewstep.core.caches.store import load, save
from fewstep.core.caches.tokens import TokenCache
from fewstep.core.caches.unets import branch, encoder, layers

__all__ = [
    "attach",
    "Attached",
    "Report",
    "Cache",
    "outputs",
    "deltas",
    "span",
    "whole",
    "branch",
    "encoder",
    "layers",
    "unet_branch",
    "Split",
    "compiled",
    "Every",
    "Schedule",
    "Window",
    "Gate",
    "Stability",
    "Reuse",
    "Newton",
    "Taylor",
    "Affine",
    "Scale",
    "affine",
    "rescaled",
    "every",
    "taylor",
    "taylorseer",
    "first_block",
    "cg_taylor",
    "delta_dit",
    "deepcache",
    "centred",
    "faster_diffusion",
    "Ahead",
    "prior_noise",
    "sada",
    "TokenCache",
    "ertacache",
    "cachequant",
    "rectified",
    "bac",
    "profiling_dit",
    "Router",
    "ecad",
    "record",
    "Recording",
    "profile",
    "Profile",
    "tune",
    "pick",
    "rows_within",
    "weighted",
    "segments",
    "bends",
    "total",
    "walk",
    "united",
    "save",
    "load",
]
