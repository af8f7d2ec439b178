"""A diffusion model from its folder, ready to sample: its net, path and parameterisation, and how to sample it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from fewstep.core import caches, checkpoint, hub, parameterize, rng, solvers, times
from fewstep.core.build import build
from fewstep.core.caches.job import Job, tuned
from fewstep.core.distill.consistency import bounded
from fewstep.core.distill.informed import Informed, Told, telling
from fewstep.core.distill.refiner import Refined
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.rng import Seed
from fewstep.core.sample import SampleResult, sample
from fewstep.core.solvers.tune import store
from fewstep.core.types import Denoise

KIND = "diffusion"
TABLE = f"student{store.SUFFIX}"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretrained:
    """What `fewstep fit` exported, of a teacher or of a student.

    Parameters
    ----------
    net, path, parameterization
        The model, its process, and what it says.
    steps
        How many steps it was made for.
    sigma_data
        If given, the net is read with a consistency model's boundary (`fewstep.core.distill.consistency.bounded`).
    config
        The whole `config.yaml`.
    told
        What the net is told beside its time; None: nothing.
    times
        Falling times [steps + 1] that it was made for; None: even ones.
    solver
        How it is sampled; default DDIM.
    table
        The table of its steps, if one lies beside the weights; it takes the place of `times` and `solver`.
    folder
        Where it was read from.
    """

    net: nn.Module
    path: AffinePath
    parameterization: str
    steps: int
    sigma_data: float | None
    config: Mapping[str, Any]
    told: Told | None = None
    times: tuple[float, ...] | None = None
    solver: Any = None
    table: solvers.Tableau | None = None
    folder: Path | None = None

    @classmethod
    def load(cls, name: str | Path, *, device: str | torch.device = "cpu") -> Pretrained:
        """Load by name.

        Parameters
        ----------
        name
            A model that ships, a folder (an export, or the folder of a run), a hub id, or the ``last.ckpt`` of a run of
            `fewstep fit`, of which the averaged weights are taken.
        device
            Where the net runs.

        Returns
        -------
        Pretrained

        Raises
        ------
        UsageError
            If there is no such model, or it is of another kind.
        """
        if str(name).endswith(".ckpt"):
            return _of_checkpoint(Path(name), device)
        inside = Path(name) / "export"
        found = inside if not (Path(name) / hub.CONFIG).is_file() and (inside / hub.CONFIG).is_file() else str(name)
        folder = hub.resolve(found, kind=KIND)
        net, config = checkpoint.load(folder, kind=KIND, device=device)
        return replace(cls.of(net, config, name=str(name), table=folder / TABLE), folder=folder)

    @classmethod
    def of(
        cls, net: nn.Module, config: Mapping[str, Any], *, name: str = "model", table: Path | None = None
    ) -> Pretrained:
        """A net and the config that says how to read it.

        Parameters
        ----------
        net, config
            What `fewstep.core.checkpoint.load` returns.
        name
            For messages.
        table
            A file of `fewstep.core.solvers.tune.store`, if there is one.

        Raises
        ------
        UsageError
            If the config lacks something, or the table belongs to other weights.
        """
        missing = {"path", "parameterization", "steps"} - set(config)
        if missing:
            raise UsageError(f"{name}: config.yaml lacks {', '.join(sorted(missing))}; export it with fewstep fit")
        sigma, told, times = (config.get(key) for key in ("sigma_data", "told", "times"))
        path, steps = build(config["path"]), int(config["steps"])
        if table is not None and table.is_file():
            found = store.load(table, net=str(config.get("sha256"))[:16], path=path, steps=steps)
        else:
            found = None
        return cls(
            net, path, str(config["parameterization"]), steps,
            None if sigma is None else float(sigma), config,
            None if told is None else Told(**told),
            None if times is None else tuple(float(t) for t in times),
            None if "solver" not in config else build(config["solver"]), found,
        )  # fmt: skip

    def denoise(
        self,
        *,
        y: Tensor | None = None,
        cond: Any = None,
        net: nn.Module | None = None,
        grid: Tensor | None = None,
        guidance_scale: float | None = None,
        latent: Any = None,
    ) -> Denoise:
        """``(x, t) -> x0_hat``, with the condition told.

        Parameters
        ----------
        y
            Degraded end of the path, [batch, ...]; None is 0.
        cond
            What the net is told; None: nothing.
        net
            Another net of the same kind, to be read in the same way.
        grid
            Times of the sampler that will ask, for a student that is told where its steps end.
        guidance_scale
            For a student that is told it; default 1, or the nearest that it learnt.
        latent
            ``latent(x) -> z`` for a student that is told a latent; default 0.

        Raises
        ------
        UsageError
            If a guidance weight is given that the student did not learn.
        """
        net = self.net if net is None else net
        read = partial(getattr(parameterize, self.parameterization), path=self.path, y=y, cond=cond)
        self._require_learnt(guidance_scale)
        if self.told is not None and isinstance(net, Informed):
            return telling(net, self.told, self.path, read, grid=grid, w=guidance_scale, latent=latent)
        if isinstance(net, Refined):
            return net.reading(read(net.net), self.path, full=int(self.config.get("full", 1)), y=y)
        plain = read(net)
        return plain if self.sigma_data is None else bounded(plain, self.path, sigma_data=self.sigma_data, y=y)

    def grid(self, steps: int | None = None) -> Tensor:
        """Times for a number of steps: those it was made for; for other numbers, spread as they are.

        Parameters
        ----------
        steps
            Default: as many as it was made for.

        Returns
        -------
        Tensor
            Decreasing, float64, [steps + 1].
        """
        n = self.steps if steps is None else steps
        even = times.uniform(self.path, n)
        if self.times is None:
            return even
        places = np.linspace(0, len(self.times) - 1, n + 1)
        return torch.from_numpy(np.interp(places, np.arange(len(self.times)), np.array(self.times)))

    def sample(
        self,
        *,
        shape: Sequence[int] | None = None,
        y: Tensor | None = None,
        cond: Any = None,
        steps: int | None = None,
        generator: Seed = None,
        guidance_scale: float | None = None,
        cache: str | Sequence[caches.Cache] | None = None,
    ) -> SampleResult:
        """Draw as the model was made to be sampled, by default in as many steps as it was made for.

        Parameters
        ----------
        shape, y, cond, generator
            See `fewstep.core.sample.sample` and `denoise`.
        steps
            Number of steps.
        guidance_scale
            See `denoise`.
        cache
            ``"tuned"``: what `fewstep cache tune` left beside the weights for as many steps; or caches for this grid.

        Returns
        -------
        SampleResult

        Raises
        ------
        UsageError
            If the tuned cache belongs to another net or grid, or the model has no folder.
        FileNotFoundError
            If there is no tuned cache for so many steps.
        """
        table = self.table if steps in (None, self.steps) else None
        grid = self.grid(steps)
        batch = len(y) if shape is None and y is not None else (shape or [1])[0]
        latent = _latents(self.told, generator, batch)
        denoise = self.denoise(y=y, cond=cond, grid=grid, guidance_scale=guidance_scale, latent=latent)
        device = next((value.device for value in self.net.parameters()), None)
        with self._cached(cache, grid):
            return sample(
                denoise, self.path, times=None if table else grid, solver=table or self.solver or solvers.ddim(),
                shape=shape, y=y, generator=generator, device=device,
            )  # fmt: skip

    def _cached(self, cache: str | Sequence[caches.Cache] | None, grid: Tensor) -> AbstractContextManager[Any]:
        if cache is None:
            return nullcontext()
        if isinstance(cache, str):
            if cache != "tuned" or self.folder is None:
                raise UsageError(f'expected cache="tuned" of a model with a folder, or caches, got {cache!r}')
            cache = tuned(self.folder, self.net, grid)
        return caches.attach(self.net, *cache, times=grid)

    def _require_learnt(self, w: float | None) -> None:
        if w is None:
            return
        learnt = self.told and self.told.guidance
        if not learnt:
            raise UsageError(
                f"guidance_scale={w}: this model is not told one (a student has its guidance built in, a teacher is "
                "guided with fewstep.core.guide.cfg)"
            )
        if not learnt[0] <= w <= learnt[1]:
            raise UsageError(f"guidance_scale={w}: this student learnt weights from {learnt[0]} to {learnt[1]}")


def cache_job(folder: Path, *, samples: int = 4, shape: Sequence[int] | None = None) -> Job:
    """How `fewstep cache tune` draws from a model of kind ``diffusion`` that is told nothing.

    Parameters
    ----------
    folder
        Of the model.
    samples
        Drawn at once.
    shape
        Of one sample; default: ``shape`` of its config.

    Returns
    -------
    Job
        With a U-Net's branches, the list of blocks of a transformer, or else the whole net as scopes.

    Raises
    ------
    UsageError
        If no shape is known, or the model has a table of its own (it is a student already).
    """
    made = Pretrained.load(folder)
    size = shape or made.config.get("shape")
    if not size:
        raise UsageError(f"{folder}: its config names no shape: give --shape, such as 3,32,32")
    if made.table is not None:
        raise UsageError(f"{folder} samples by a table of its own in {made.steps} steps: cache its teacher instead")

    def draw(steps: int, seed: int) -> Tensor:
        return made.sample(shape=(samples, *size), steps=steps, generator=seed).x

    return Job(made.net, draw, made.grid, _scopes(made.net))


def _scopes(net: nn.Module) -> list[Any]:
    try:
        branches = min(len(caches.layers(net).up) - 1, 4)
        return [caches.branch(level) for level in range(branches)]
    except UsageError:
        lists = [
            name for name, part in net.named_modules() if isinstance(part, nn.ModuleList) and name.endswith("blocks")
        ]
        return [caches.span(lists[0])] if len(lists) == 1 else [caches.whole()]


def _latents(told: Told | None, seed: Seed, n: int) -> Any:
    """``latent(x) -> z`` from streams of the items' own."""
    if told is None or not told.latent:
        return None
    streams = rng.streams(rng.generator(seed, 1) if isinstance(seed, int) else seed, n)
    return lambda x: rng.normal((len(x), told.latent), streams, torch.float32, x.device)


def _of_checkpoint(file: Path, device: str | torch.device) -> Pretrained:
    """The net of a run that has not been exported; its job lies beside it."""
    content, job = checkpoint.load_weights_only(file), file.parent.parent / "fit.yaml"
    if not job.is_file():
        raise UsageError(f"{job} does not exist: a checkpoint is read with the job that made it; or give an export")
    module = yaml.safe_load(job.read_text(encoding="utf-8"))["module"]
    if "net" not in module or "path" not in module:
        raise UsageError(f"{file}: its job names no net and path: give the run's export instead")
    if "raw_state_dict" not in content:
        _log.warning(
            "%s has no averaged weights: the student learns from the raw ones; train with callbacks.ema for better",
            file,
        )
    net = build(module["net"])
    weights = {k.removeprefix("net."): v for k, v in content["state_dict"].items() if k.startswith("net.")}
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise UsageError(f"{file} does not fit the net of {job}: {str(error).splitlines()[0]}") from None
    kind = str(module.get("parameterization", "eps"))
    config = {
        "kind": KIND, "model": module["net"], "path": module["path"], "parameterization": kind,
        "steps": int(module.get("steps", 20)), "sha256": checkpoint.sha256(file),
    }  # fmt: skip
    return Pretrained.of(net.to(device).eval().requires_grad_(False), config, name=str(file))
