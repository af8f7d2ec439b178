"""Parity: our tables against diffusers' and k-diffusion's own samplers, at equal settings, grid, denoiser and noise.

Both run on the exact denoiser of a small Gaussian mixture; the value is the largest difference of the endpoints over
the largest endpoint. k-diffusion computes in float64, and so do diffusers' schedulers where they let us give them
float64 tables.
"""

import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from fewstep.core import paths, rng, solvers
from fewstep.core.sample import sample
from fewstep.core.types import Solver

SHAPE, SEED, TARGET = (16, 3), 7, 1e-5
N_TRAIN = 1000
BETAS = torch.linspace(1e-4, 0.02, N_TRAIN, dtype=torch.float64)
TABLE = paths.vp_table(torch.cumprod(1 - BETAS, 0))
EDM = paths.edm(1e-4, 200.0)
FLOW = paths.rectified_flow()
KARRAS = torch.cat([torch.linspace(10.0 ** (1 / 7), 0.05 ** (1 / 7), 10, dtype=torch.float64) ** 7, torch.zeros(1)])


def mixture(ubar: Tensor, sigma: Tensor | float) -> Tensor:
    """E[x0 | x0 + sigma eps] for three Gaussians in R^3."""
    means = torch.tensor([[1.0, -0.5, 0.2], [-0.8, 0.6, 0.0], [0.1, 0.9, -1.0]], dtype=ubar.dtype)
    variances = torch.tensor([0.04, 0.09, 0.2], dtype=ubar.dtype)
    total = variances + torch.as_tensor(sigma, dtype=ubar.dtype) ** 2
    away = ubar[:, None] - means
    log_weight = -away.square().sum(-1) / (2 * total) - 1.5 * torch.log(total)
    guess = means + (variances / total)[:, None] * away
    return (torch.softmax(log_weight, -1)[..., None] * guess).sum(1)


@dataclass(frozen=True)
class Case:
    """Our solver and how a peer samples: ``peer(start, noises) -> end``, with u/a = `start` at times[0]."""

    solver: Solver
    path: paths.AffinePath
    times: Tensor
    peer: Callable[[Tensor, Iterator[Tensor]], Tensor]
    name: str
    noise: Callable[[Iterator[Tensor]], Iterator[Tensor]] = lambda noises: noises


def difference(case: Case) -> tuple[float, int]:
    """Largest difference of the endpoints over the largest endpoint, and the number of evaluations."""
    a, _, s = case.path.coefficients(case.times[[0, -1]])
    start = rng.normal(SHAPE, rng.streams(SEED + 1, SHAPE[0]), torch.float64) * s[0] / max(float(a[0]), 1e-300)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a, _, s = case.path.coefficients(t)
        return mixture(x / a, s / a) if a > 0 else mixture(x, 1.0) * 0 + MEAN

    first = start * a[0] if a[0] > 0 else start * 1e-300
    ours = sample(denoise, case.path, times=case.times, solver=case.solver, x=first, generator=SEED)
    theirs = case.peer(start, case.noise(_noises()))
    scaled = ours.x / a[1]
    return float((scaled - theirs.double()).abs().max() / theirs.abs().max()), ours.nfe


MEAN = torch.tensor([0.1, 1 / 3, -0.8 / 3], dtype=torch.float64)


def _noises() -> Iterator[Tensor]:
    streams = rng.streams(SEED, SHAPE[0])
    while True:
        yield rng.normal(SHAPE, streams, torch.float64)


def k_diffusion_sampling() -> Any:
    """k-diffusion's module of samplers, without the rest of that package and what it needs (CLIP, torchvision, ...).

    Raises
    ------
    ImportError
        If k-diffusion, torchdiffeq or torchsde is not installed.
    """
    name = "k_diffusion.sampling"
    if name in sys.modules:
        return sys.modules[name]
    found = util.find_spec("k_diffusion")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("no k_diffusion: pip install --no-deps k-diffusion torchdiffeq torchsde trampoline")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(found.submodule_search_locations)
    absent = {"k_diffusion": package}
    for module in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        if module not in sys.modules and util.find_spec("torchvision") is None:
            absent[module] = types.ModuleType(module)
    if "torchvision.transforms" in absent:
        absent["torchvision.transforms"].functional = absent["torchvision.transforms.functional"]  # type: ignore[attr-defined]
    sys.modules.update(absent)
    try:
        return importlib.import_module(name)
    finally:
        for module in absent:
            del sys.modules[module]


def k_diffusion_cases() -> list[Case]:
    """k-diffusion's samplers in float64 on Karras's grid, to sigma = 0 and, where noise is drawn, also short of it."""
    found = []

    def add(sampler: str, solver: Solver, zero: bool = True, noise: Any = None, **options: Any) -> None:
        times = KARRAS if zero else KARRAS[:-1]

        def peer(start: Tensor, noises: Iterator[Tensor]) -> Tensor:
            function = getattr(k_diffusion_sampling(), sampler)
            draws = {"noise_sampler": lambda *_: next(noises)} if "eta" in options else {}
            with mock.patch("torch.randn_like", side_effect=lambda x: next(noises)):
                return function(_k_denoiser, start, times, disable=True, **options, **draws)

        shown = ", ".join(f"{key} {value}" for key, value in options.items())
        name = f"k-diffusion {sampler}{', ' * bool(shown)}{shown}{'' if zero else ', to sigma > 0'}"
        found.append(Case(solver, EDM, times, peer, name, noise or (lambda noises: noises)))

    add("sample_euler", solvers.ddim())
    add("sample_heun", solvers.heun())
    churned = solvers.edm_stochastic(4.0, s_tmin=0.1, s_tmax=5.0, s_noise=1.01)
    add("sample_heun", churned, noise=_only_when(churned), s_churn=4.0, s_tmin=0.1, s_tmax=5.0, s_noise=1.01)
    add("sample_dpm_2", solvers.dpm_solver_2s())
    add("sample_lms", solvers.multistep(4, "rho"))
    add("sample_dpmpp_2m", solvers.dpmpp_2m())
    for eta in (0.0, 0.5, 1.0):
        add("sample_euler_ancestral", solvers.euler_ancestral(eta), eta=eta)
        add("sample_dpmpp_2s_ancestral", solvers.dpmpp_2s_ancestral(eta), eta=eta)
        add("sample_dpmpp_sde", solvers.dpmpp_sde(eta), noise=_brownian if eta else None, eta=eta)
        add("sample_dpmpp_3m_sde", solvers.sde_dpmpp_3m("published", eta=eta, final="full"), eta=eta)
        for variant, theirs in (("midpoint", "midpoint"), ("taylor", "heun")):
            solver = solvers.sde_dpmpp_2m(variant, eta=eta)
            add("sample_dpmpp_2m_sde", solver, eta=eta, solver_type=theirs)
            add("sample_dpmpp_2m_sde", solver, zero=False, eta=eta, solver_type=theirs)
    return found


def _k_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    return mixture(x, sigma.flatten()[0])


def _only_when(solver: Any) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    """k-diffusion draws before every step, we draw after a step and where it is used only."""
    used = solver.tableau(EDM, KARRAS)
    last = [row for row in range(used.rows) if row + 1 == used.rows or used.step[row + 1] > used.step[row]]

    def noises(ours: Iterator[Tensor]) -> Iterator[Tensor]:
        yield torch.zeros(SHAPE, dtype=torch.float64)
        for row in last:
            yield next(ours) if used.noise[row] else torch.zeros(SHAPE, dtype=torch.float64)

    return noises


def _brownian(ours: Iterator[Tensor]) -> Iterator[Tensor]:
    """Noise of the half and of the whole step on one Brownian motion in sigma, from two independent draws."""
    for i in range(len(KARRAS) - 2):
        first, second = next(ours), next(ours)
        whole, middle = KARRAS[i] - KARRAS[i + 1], KARRAS[i] - torch.sqrt(KARRAS[i] * KARRAS[i + 1])
        yield first
        yield torch.sqrt(middle / whole) * first + torch.sqrt(1 - middle / whole) * second


def diffusers_cases(n: int = 10) -> list[Case]:
    """diffusers' schedulers on the linear 1000-step table, on the timesteps that each of them makes."""
    found = []

    def add(scheduler: str, solver: Solver, make_case: Any = None, step: Any = None, **options: Any) -> None:
        shown = ", ".join(f"{key} {value}" for key, value in {**options, **(step or {})}.items())
        name = f"diffusers {scheduler}{', ' * bool(shown)}{shown}"
        found.append((make_case or _table_case)(scheduler, solver, name, n, options, step or {}))

    for eta in (0.0, 0.5, 1.0):
        add("DDIM", solvers.ddim(eta), step={"eta": eta}, timestep_spacing="trailing", clip_sample=False)
    add("DDPM", solvers.ddpm(), clip_sample=False)
    for skip, solver in ((True, solvers.pndm()), (False, solvers.f_pndm())):
        add("PNDM", solver, skip_prk_steps=skip, steps_offset=1)
    for order in (1, 2, 3):
        add("DEISMultistep", solvers.deis(order, "log_rho"), solver_order=order, lower_order_final=False)
    for kind, variant in (("midpoint", "midpoint"), ("heun", "taylor")):
        add("DPMSolverMultistep", solvers.dpmpp_2m(variant, final="lower"), solver_type=kind)
        sde = solvers.sde_dpmpp_2m(variant, final="lower")
        add("DPMSolverMultistep", sde, solver_type=kind, algorithm_type="sde-dpmsolver++")
        noise = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
        add("DPMSolverMultistep", solvers.dpm_solver(2, variant, final="lower"), solver_type=kind, **noise)
    add("DPMSolverMultistep", solvers.dpmpp_1(), solver_order=1)
    published = solvers.dpmpp_3m("published", final="lower")
    add("DPMSolverMultistep", published, solver_order=3, solver_type="heun")
    single = {"lower_order_final": True, "final_sigmas_type": "zero"}
    add("DPMSolverSinglestep", solvers.dpmpp_2s(stages="grid"), solver_order=2, **single)
    for order in (1, 2, 3):
        add("UniPCMultistep", solvers.unipc(order, final="lower"), solver_order=order)
        bh1 = {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}
        add("UniPCMultistep", solvers.unipc(order, "bh1", final="lower"), solver_order=order, **bh1)
        add(
            "UniPCMultistep",
            solvers.unipc(order, basis="eps", final="lower"),
            solver_order=order,
            predict_x0=False,
            final_sigmas_type="sigma_min",
        )
    add("HeunDiscrete", solvers.heun(), _sigma_case)
    add("EulerDiscrete", solvers.ddim(), _sigma_case)
    add("EulerAncestralDiscrete", solvers.euler_ancestral(), _sigma_case)
    add("LMSDiscrete", solvers.multistep(4, "rho"), _sigma_case)
    add("FlowMatchEulerDiscrete", solvers.euler(), _flow_case, shift=3.0)
    return found


def _table_case(name: str, solver: Solver, label: str, n: int, options: dict[str, Any], step: dict[str, Any]) -> Case:
    """A scheduler that works in x on the table's integer timesteps."""
    scheduler = _scheduler(name, options)
    scheduler.set_timesteps(n)
    zero = getattr(scheduler.config, "final_sigmas_type", None) == "zero" or name in ("DDIM", "DDPM")
    ends = sorted({int(t) for t in scheduler.timesteps}, reverse=True)
    if name == "PNDM":
        ends = [int(t) for t in sorted(scheduler._timesteps, reverse=True)]
    times = torch.tensor([(t + 1) / N_TRAIN for t in ends] + [0.0 if zero else 1 / N_TRAIN], dtype=torch.float64)

    def peer(start: Tensor, noises: Iterator[Tensor]) -> Tensor:
        scheduler = _scheduler(name, options)
        scheduler.set_timesteps(n)
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = torch.exp(-TABLE.lam(times))
        x = start * TABLE.coefficients(times[0])[0]
        with _given(scheduler, noises):
            for t in scheduler.timesteps:
                a, _, s = TABLE.coefficients((float(t) + 1) / N_TRAIN)
                eps = (x - a * mixture(x / a, s / a)) / s
                extra = dict(step, variance_noise=next(noises)) if step.get("eta") and t > 0 else step
                x = scheduler.step(eps, t, x, **extra).prev_sample
        return x / TABLE.coefficients(times[-1])[0]

    return Case(solver, TABLE, times, peer, label)


def _sigma_case(name: str, solver: Solver, label: str, n: int, options: dict[str, Any], step: dict[str, Any]) -> Case:
    """A scheduler that works in u/a on its own sigmas."""
    scheduler = _scheduler(name, options)
    scheduler.set_timesteps(n)
    times = torch.unique_consecutive(scheduler.sigmas.double())

    def peer(start: Tensor, noises: Iterator[Tensor]) -> Tensor:
        scheduler = _scheduler(name, options)
        scheduler.set_timesteps(n)
        x = start
        with _given(scheduler, noises):
            for i, t in enumerate(scheduler.timesteps):
                sigma = scheduler.sigmas[i].double()
                scheduler.scale_model_input(x, t)
                x = scheduler.step((x - mixture(x, sigma)) / sigma, t, x).prev_sample.double()
        return x

    return Case(solver, EDM, times, peer, label)


def _flow_case(name: str, solver: Solver, label: str, n: int, options: dict[str, Any], step: dict[str, Any]) -> Case:
    """diffusers' rectified flow, from short of t = 1."""
    diffusers = importlib.import_module("diffusers")
    sigmas = torch.linspace(0.99, 0.05, n, dtype=torch.float64)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**options)
    scheduler.set_timesteps(sigmas=sigmas.numpy())
    times = scheduler.sigmas.double()

    def peer(start: Tensor, noises: Iterator[Tensor]) -> Tensor:
        x = start * (1 - times[0])
        scheduler.set_timesteps(sigmas=sigmas.numpy())
        for i, t in enumerate(scheduler.timesteps):
            velocity = (x - mixture(x / (1 - times[i]), times[i] / (1 - times[i]))) / times[i]
            x = scheduler.step(velocity, t, x).prev_sample
        return x

    return Case(solver, FLOW, times, peer, label)


def _scheduler(name: str, options: dict[str, Any]) -> Any:
    diffusers = importlib.import_module("diffusers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the published DPM-Solver is deprecated there
        scheduler = getattr(diffusers, f"{name}Scheduler")(trained_betas=BETAS.numpy(), **options)
    scheduler.alphas_cumprod = torch.cumprod(1 - BETAS, 0)
    if hasattr(scheduler, "final_alpha_cumprod"):
        one = getattr(scheduler.config, "set_alpha_to_one", False)
        scheduler.final_alpha_cumprod = torch.tensor(1.0).double() if one else scheduler.alphas_cumprod[0]
    return scheduler


def _given(scheduler: Any, noises: Iterator[Tensor]) -> Any:
    module = sys.modules[type(scheduler).__module__]
    return mock.patch.object(module, "randn_tensor", create=True, side_effect=lambda *_, **__: next(noises))


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """One row per peer's sampler, `ok` if the endpoints differ by at most 1e-5; peers that are absent are left out.

    Parameters
    ----------
    quick
        Not read: it takes a second or two.

    Returns
    -------
    list of dict
        In the format of `fewstep.core.bench`.
    """
    cases: list[Case] = []
    for package, make in (("diffusers", diffusers_cases), ("k_diffusion", k_diffusion_cases)):
        if util.find_spec(package) is not None:
            cases += make()
    return [_row(case) for case in cases]


def _row(case: Case) -> dict[str, Any]:
    value, nfe = difference(case)
    table = case.solver.tableau(case.path, case.times)
    return {
        "row": f"{table.solver} against {case.name}",
        "metric": "largest difference of the endpoints, relative",
        "value": value,
        "peer": case.name,
        "peer_value": None,
        "target": TARGET,
        "ok": value <= TARGET,
        "steps": table.steps,
        "nfe": nfe,
        "dtype": "float64",
        "seed": SEED,
    }
