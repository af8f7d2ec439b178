"""Our solvers in diffusers' pipelines: a scheduler that reads a table row by row.

diffusers asks a scheduler for timesteps, calls the net itself, and hands the answer to `step`; timestep i of a net that
was trained at N timesteps is the time (i + 1)/N of the path, and 1000 t is what flow-matching nets are told.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.parameterize.kinds import KINDS, to_x0
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.times import trailing, uniform
from fewstep.core.types import Solver

Grid = Callable[[AffinePath, int], Tensor]


@dataclass(frozen=True)
class Plan:
    """What does not change while a scheduler runs.

    Parameters
    ----------
    solver, path, grid
        As given to `as_diffusers_scheduler`.
    kind
        What the net says.
    n_train, first
        Timestep of time t: t n_train − first.
    """

    solver: Solver
    path: AffinePath
    kind: str
    grid: Grid
    n_train: int
    first: int

    def timesteps(self, table: Tableau) -> Tensor:
        """What the net is told at each row, [rows]; int64 if all are whole."""
        told = torch.from_numpy(table.times[:-1] * self.n_train - self.first).clamp(min=0)
        whole = told.round()
        return whole.long() if torch.allclose(told, whole, rtol=0, atol=1e-6) else told.float()

    def time_of_sigma(self, sigmas: Tensor) -> Tensor:
        """Time of what diffusers calls sigma: s/a on a path with timesteps, s on a flow."""
        return self.path.inverse(torch.log1p(-sigmas) - torch.log(sigmas) if self.first == 0 else -torch.log(sigmas))

    def time(self, timestep: Tensor | float) -> Tensor:
        """Time of a timestep, float64."""
        return (torch.as_tensor(timestep, dtype=torch.float64) + self.first) / self.n_train


def as_diffusers_scheduler(
    solver: Solver,
    path: AffinePath,
    *,
    parameterization: str = "eps",
    grid: Grid | None = None,
    n_train: int | None = None,
) -> Any:
    """A diffusers scheduler that runs one of our solvers: ``pipeline.scheduler = as_diffusers_scheduler(...)``.

    Parameters
    ----------
    solver
        Makes a `Tableau`; those with stages ask the net more often, and at times between the timesteps.
    path
        Without y, as the pipeline's net was trained: ``paths.vp_table(pipeline.scheduler.alphas_cumprod)`` for most,
        ``paths.rectified_flow(shift)`` for flow matching.
    parameterization
        What the net says: ``"eps"``, ``"x0"``, ``"v"``, ``"score"`` or ``"flow"`` (diffusers: "epsilon", "sample",
        "v_prediction", -, "flow_prediction").
    grid
        ``grid(path, n) -> times``; default `times.trailing`, or `times.uniform` on a path without timesteps.
    n_train
        Timesteps of the net; default the path's, and 1000 on a path that has none, where timestep = n_train t.

    Returns
    -------
    diffusers.SchedulerMixin
        With `set_timesteps`, `step`, `scale_model_input`, `add_noise`, `init_noise_sigma`, `order`, `timesteps`. It
        holds the state of one run, as diffusers' own do: one scheduler per pipeline that runs at a time. Make it again
        after loading a pipeline: it is not saved with it.

    Raises
    ------
    UsageError
        If the path has a y, or the parameterisation is unknown.
    ImportError
        If diffusers is not installed.
    """
    if float(path.coefficients(path.t_max)[1]) != 0:
        raise UsageError(f"diffusers' pipelines have no y, so expected a path without one, got {path.key}")
    if parameterization not in KINDS:
        raise UsageError(f"expected a parameterization out of {', '.join(KINDS)}, got {parameterization!r}")
    grid = grid or (uniform if path.n_train is None else trailing)
    first = 0 if path.n_train is None else 1
    return _scheduler_class()(Plan(solver, path, parameterization, grid, n_train or path.n_train or 1000, first))


@functools.cache
def _scheduler_class() -> Any:
    configuration: Any = importlib.import_module("diffusers.configuration_utils")
    schedulers: Any = importlib.import_module("diffusers.schedulers.scheduling_utils")
    randn: Any = importlib.import_module("diffusers.utils.torch_utils").randn_tensor

    class TableauScheduler(schedulers.SchedulerMixin, configuration.ConfigMixin):
        """One table, one row per step."""

        order = 1

        def __init__(self, plan: Plan):
            self.plan = plan
            names = {"eps": "epsilon", "x0": "sample", "v": "v_prediction", "flow": "flow_prediction"}
            self.register_to_config(
                num_train_timesteps=plan.n_train,
                prediction_type=names.get(plan.kind, plan.kind),
                solver=getattr(plan.solver, "name", repr(plan.solver)),
                path=plan.path.key,
            )
            self.init_noise_sigma = float(plan.path.coefficients(plan.path.t_max)[2])
            self.set_timesteps(min(50, plan.n_train))

        def __len__(self) -> int:
            return self.plan.n_train

        def set_timesteps(
            self,
            num_inference_steps: int | None = None,
            device: Any = None,
            timesteps: Any = None,
            sigmas: Any = None,
        ) -> None:
            """Make the table for this many steps, or for these timesteps or sigmas and an end at t = 0."""
            end = torch.zeros(1, dtype=torch.float64)
            if timesteps is not None:
                times = torch.cat([self.plan.time(torch.as_tensor(timesteps)), end])
            elif sigmas is not None:
                times = torch.cat([self.plan.time_of_sigma(torch.as_tensor(sigmas, dtype=torch.float64)), end])
            elif num_inference_steps is not None:
                times = self.plan.grid(self.plan.path, num_inference_steps)
            else:
                raise UsageError("expected num_inference_steps, timesteps or sigmas, got none of them")
            self.times = times
            self.table = self.plan.solver.tableau(self.plan.path, times)
            self.timesteps = self.plan.timesteps(self.table).to(device)
            self.num_inference_steps = self.table.steps
            self.order = -(-self.table.rows // self.table.steps)
            self._restart(self.table)

        def _restart(self, table: Tableau) -> None:
            self._rows, self._row = table, -1
            self._past: list[Tensor] = []

        def set_begin_index(self, begin_index: int = 0) -> None:
            """Start at this row, as image-to-image pipelines do: the table is made anew from there."""
            step = int(self.table.step[begin_index])
            self._restart(self.plan.solver.tableau(self.plan.path, self.times[step:]) if step else self.table)

        def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
            """The state itself."""
            return sample

        def step(
            self, model_output: Tensor, timestep: Any, sample: Tensor, generator: Any = None, return_dict: bool = True
        ) -> Any:
            """One row: from the net's answer at `timestep` to the next state."""
            if self._row < 0:
                self._find(float(timestep))
            table, i = self._rows, self._row
            if i >= table.rows:
                raise UsageError(f"all {table.rows} rows are done: call set_timesteps before the next run")
            x = sample.to(_wide(sample.dtype))
            answer = to_x0(self.plan.kind, self.plan.path, model_output.to(x.dtype), x, float(table.times[i]))
            self._past.insert(0, _element(table, i, x, answer, self._past))
            moved = float(table.state[i]) * x
            for weight, element in zip(table.history[i].tolist(), self._past, strict=False):
                moved = moved + weight * element
            if table.noise[i]:
                noise = randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
                moved = moved + float(table.noise[i]) * noise
            del self._past[table.history.shape[1] :]
            self._row = i + 1
            previous = moved.to(sample.dtype)
            return schedulers.SchedulerOutput(prev_sample=previous) if return_dict else (previous,)

        def _find(self, timestep: float) -> None:
            starts = [i for i in range(self._rows.rows) if i == 0 or self._rows.step[i] > self._rows.step[i - 1]]
            told = self.plan.timesteps(self._rows)
            found = min(starts, key=lambda i: abs(float(told[i]) - timestep))
            if found:
                self.set_begin_index(found)
            self._row = 0

        def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
            """The state of clean samples at their timesteps, [batch]."""
            return self.plan.path.sample(original_samples, noise, self.plan.time(timesteps).reshape(-1))

    return TableauScheduler


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _element(table: Tableau, i: int, x: Tensor, answer: Tensor, past: list[Tensor]) -> Tensor:
    of_x, of_answer, of_past = (float(value) for value in table.mix[i])
    element = of_answer * answer + of_x * x
    return element + of_past * past[0] if of_past else element
