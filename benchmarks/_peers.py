"""What people use today: every deterministic sampler of diffusers and k-diffusion with every grid it offers.

A peer is ``peer(task, nfe) -> x0_hat`` and starts from ``task.x`` on DDPM's table of 1000 timesteps. Calls are counted
by the task, and a peer that asks for more than it was given is refused.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.benchmarks._gmm import ALPHAS_CUMPROD
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise

SIGMAS = ((1 - ALPHAS_CUMPROD) / ALPHAS_CUMPROD).sqrt().numpy()
_TABLE = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
SPACINGS = {kind: {"timestep_spacing": kind} for kind in ("linspace", "leading", "trailing")}
WARPED = {kind: {f"use_{kind}_sigmas": True} for kind in ("karras", "exponential", "beta")}
K_GRIDS = ("karras", "exponential", "polyexponential", "uniform", "trailing")


class BudgetError(RuntimeError):
    """More calls than were given."""


@dataclass
class Task:
    """A denoiser on a variance-preserving path, as the peers want to see it.

    Parameters
    ----------
    denoise, path
        Of the core.
    x
        Start at the last timestep, [n, ...].
    """

    denoise: Denoise
    path: AffinePath
    x: Tensor
    budget: int = 0
    calls: int = field(default=0, init=False)

    def clean(self, u: Tensor, sigma: float) -> Tensor:
        """E[x0] where u = x0 + sigma eps."""
        self.calls += 1
        if self.calls > self.budget:
            raise BudgetError(f"{self.calls} calls with a budget of {self.budget}")
        t = self.path.inverse(-math.log(sigma))
        a, _, _ = self.path.coefficients(t)
        return self.denoise(u * float(a), t.to(u.dtype))

    def eps(self, x: Tensor, index: float) -> Tensor:
        """The noise in a VP state at a timestep of the table, fractions allowed."""
        sigma = sigma_at(index)
        u = x * math.sqrt(1 + sigma**2)
        return (u - self.clean(u, sigma)) / sigma

    def run(self, peer: Peer, nfe: int) -> Tensor:
        """The peer's answer within `nfe` calls."""
        self.budget, self.calls = nfe, 0
        return peer(self, nfe)


Peer = Callable[[Task, int], Tensor]


def sigma_at(index: float) -> float:
    """s/a at a timestep of the table; log-linear between."""
    return float(np.exp(np.interp(index, np.arange(1000), np.log(SIGMAS))))


def index_at(sigma: float) -> float:
    """The inverse of `sigma_at`."""
    return float(np.interp(math.log(sigma), np.log(SIGMAS), np.arange(1000)))


def peers() -> dict[str, Peer]:
    """All of them, by name; those whose package is not installed are left out.

    Raises
    ------
    UsageError
        If neither diffusers nor k-diffusion is installed.
    """
    found: dict[str, Peer] = {}
    if importlib.util.find_spec("diffusers"):
        found |= _diffusers()
    if (module := k_sampling()) is not None:
        found |= _k_diffusion(module)
    if not found:
        raise UsageError(
            "no peer to compare with: pip install diffusers, or k-diffusion (see pyproject's extra `bench`)"
        )
    return found


def _diffusers() -> dict[str, Peer]:
    with _quiet():
        import diffusers as d
    zero = {"final_sigmas_type": "zero"}
    multistep, single = d.DPMSolverMultistepScheduler, d.DPMSolverSinglestepScheduler
    every: dict[str, tuple[type, dict, dict]] = {
        "DDIM": (d.DDIMScheduler, {"clip_sample": False}, SPACINGS),
        "PNDM": (d.PNDMScheduler, {"skip_prk_steps": True, "set_alpha_to_one": True}, SPACINGS),
        "PNDM, PRK": (d.PNDMScheduler, {"skip_prk_steps": False, "set_alpha_to_one": True}, SPACINGS),
        "Euler": (d.EulerDiscreteScheduler, {}, SPACINGS | WARPED),
        "Heun": (d.HeunDiscreteScheduler, {}, SPACINGS | WARPED),
        "LMS": (d.LMSDiscreteScheduler, {}, SPACINGS | WARPED),
        "KDPM2": (d.KDPM2DiscreteScheduler, {}, SPACINGS | WARPED),
    }
    lu = {"lu": {"use_lu_lambdas": True}}
    for order in (1, 2, 3):
        every[f"DEIS {order}"] = (d.DEISMultistepScheduler, {"solver_order": order}, SPACINGS | WARPED)
    for order in (2, 3):
        for kind in ("midpoint", "heun")[: 4 - order]:
            options = {"solver_order": order, "solver_type": kind}
            every[f"DPM++ {order}M {kind}"] = (multistep, options, SPACINGS | WARPED | lu)
        every[f"DPM++ {order}M full"] = (
            multistep,
            {"solver_order": order, "lower_order_final": False, "euler_at_final": True},
            SPACINGS | WARPED | lu,
        )
        every[f"DPM++ {order}S"] = (
            single,
            {"solver_order": order, "lower_order_final": True} | zero,
            {"linspace": {}} | WARPED,
        )
        for kind in ("bh1", "bh2"):
            options = {"solver_order": order, "solver_type": kind} | zero
            every[f"UniPC {order} {kind}"] = (d.UniPCMultistepScheduler, options, SPACINGS | WARPED)
    return {
        f"diffusers {name}, {grid}": partial(_run_scheduler, cls, {**_TABLE, **options, **chosen})
        for name, (cls, options, grids) in every.items()
        for grid, chosen in grids.items()
    }


def _run_scheduler(cls: type, options: dict[str, Any], task: Task, nfe: int) -> Tensor:
    with _quiet():
        scheduler = _scheduler(cls, options, nfe)
    wide = hasattr(scheduler, "init_noise_sigma") and float(scheduler.init_noise_sigma) > 1
    x = task.x * (math.sqrt(1 + SIGMAS[-1] ** 2) if wide else 1.0)
    for t in scheduler.timesteps:
        eps = task.eps(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(eps.to(x.dtype), t, x).prev_sample
    return x


def _scheduler(cls: type, options: dict[str, Any], nfe: int) -> Any:
    """With as many steps as fit into `nfe` calls."""
    for steps in range(nfe, 0, -1):
        scheduler = cls(**options)
        scheduler.set_timesteps(steps)
        if len(scheduler.timesteps) <= nfe:
            return scheduler
    raise BudgetError(f"no number of steps of {cls.__name__} fits into {nfe} calls")


def _k_diffusion(k: ModuleType) -> dict[str, Peer]:
    still = {"eta": 0.0, "noise_sampler": lambda sigma, end: 0.0}
    every: dict[str, tuple[Callable[..., Tensor], int, dict[str, Any]]] = {
        "euler": (k.sample_euler, 1, {}),
        "heun": (k.sample_heun, 2, {}),
        "dpm_2": (k.sample_dpm_2, 2, {}),
        "lms": (k.sample_lms, 1, {}),
        "dpmpp_2s": (k.sample_dpmpp_2s_ancestral, 2, still),
        "dpmpp_sde": (k.sample_dpmpp_sde, 2, still),
        "dpmpp_2m": (k.sample_dpmpp_2m, 1, {}),
        "dpmpp_2m_sde midpoint": (k.sample_dpmpp_2m_sde, 1, still),
        "dpmpp_2m_sde heun": (k.sample_dpmpp_2m_sde, 1, {**still, "solver_type": "heun"}),
        "dpmpp_3m_sde": (k.sample_dpmpp_3m_sde, 1, still),
    }
    found: dict[str, Peer] = {
        f"k-diffusion {name}, {grid}": partial(_run_k, k, function, per_step, options, grid)
        for name, (function, per_step, options) in every.items()
        for grid in K_GRIDS
    }
    return found | {"k-diffusion dpm_fast": partial(_run_fast, k, still)}


def _run_k(
    k: ModuleType, function: Callable[..., Tensor], per_step: int, options: dict, grid: str, task: Task, nfe: int
) -> Tensor:
    sigmas = _k_grid(k, grid, (nfe + per_step - 1) // per_step)
    return function(_denoiser(task), task.x / _first_a(task), sigmas.to(task.x.dtype), disable=True, **options)


def _run_fast(k: ModuleType, still: dict, task: Task, nfe: int) -> Tensor:
    x = k.sample_dpm_fast(
        _denoiser(task),
        task.x / _first_a(task),
        SIGMAS[0],
        SIGMAS[-1],
        nfe - 1,
        disable=True,
        noise_sampler=still["noise_sampler"],
    )
    return task.clean(x, float(SIGMAS[0]))


def _k_grid(k: ModuleType, grid: str, n: int) -> Tensor:
    low, high = float(SIGMAS[0]), float(SIGMAS[-1])
    named = {
        "karras": k.get_sigmas_karras,
        "exponential": k.get_sigmas_exponential,
        "polyexponential": k.get_sigmas_polyexponential,
    }
    if grid in named:
        sigmas = named[grid](n, low, high).double()
        sigmas[0] = high
        return sigmas
    index = np.linspace(999, 0, n) if grid == "uniform" else np.linspace(1000, 0, n + 1)[:-1] - 1
    return torch.tensor([*map(sigma_at, index), 0.0], dtype=torch.float64)


def _denoiser(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, sigma: task.clean(x, float(sigma.reshape(-1)[0]))


def _first_a(task: Task) -> float:
    return 1 / math.sqrt(1 + SIGMAS[-1] ** 2)


@cache
def k_sampling() -> ModuleType | None:
    """k-diffusion's `sampling` without its package, whose import wants image and logging libraries; None if absent."""
    spec = importlib.util.find_spec("k_diffusion")
    wanted = ("torchsde", "torchdiffeq", "scipy", "tqdm")
    if spec is None or not spec.submodule_search_locations or not all(map(importlib.util.find_spec, wanted)):
        return None
    package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
    package.__path__ = list(spec.submodule_search_locations)
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]  # type: ignore[attr-defined]
    package.utils = utils  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("k_diffusion", "k_diffusion.utils")}
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    try:
        return importlib.import_module("k_diffusion.sampling")
    finally:
        sys.modules.pop("k_diffusion.sampling", None)
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' warnings about options."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
