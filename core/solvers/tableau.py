"""A sampler is a table: the coefficients of a linear recurrence in the denoiser's answers.

In u = x − b y, with D_i = denoise(x_i, t_i) and the history element G_i = mix_i0 u_i + mix_i1 D_i + mix_i2 G_{i−1},

    u_{i+1} = state_i u_i + sum_j history_ij G_{i−j} + noise_i eps_i

A solver integrates D itself (mix = (0, 1, 0)), the noise or the velocity, or a running mean of one of them (momentum);
stages between grid points are rows as well.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.knots import Array

_FORMAT = "fewstep.tableau.2"


@dataclass(frozen=True, eq=False, repr=False)
class Tableau:
    """Frozen coefficients, float64; equal and hashed by value. `rows` network evaluations take `steps` steps.

    Parameters
    ----------
    path, solver
        What it was computed for and by.
    times
        Times of the states, [rows + 1], from the prior to the end, not increasing.
    a, b, s
        The path's coefficients there, [rows + 1].
    state
        [rows].
    history
        [rows, depth]; column j multiplies the element of j rows ago.
    mix
        [rows, 3]; what is given as [rows, 2] carries no momentum. G before the first is 0.
    noise
        Standard deviations, [rows].
    step
        Which step of the grid a row belongs to, [rows], counted from 0.

    Raises
    ------
    UsageError
        If a shape is wrong or a number is not finite.
    """

    path: str
    solver: str
    times: Array
    a: Array
    b: Array
    s: Array
    state: Array
    history: Array
    mix: Array
    noise: Array
    step: Array

    def __post_init__(self) -> None:
        rows = len(self.state)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("times", "a", "b", "s"), (rows + 1,))
        shapes |= {
            "state": (rows,),
            "noise": (rows,),
            "step": (rows,),
            "mix": (rows, 3),
            "history": (rows, self.history.shape[-1]),
        }
        for name, shape in shapes.items():
            value = np.array(getattr(self, name), dtype=np.float64)
            if name == "mix" and value.shape == (rows, 2):
                value = np.concatenate([value, np.zeros((rows, 1))], axis=1)
            if value.shape != shape or not np.isfinite(value).all():
                raise UsageError(f"tableau: expected finite {name} of shape {shape}, got {value.shape}: {value}")
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def rows(self) -> int:
        """Number of evaluations of the denoiser."""
        return len(self.state)

    @property
    def nfe(self) -> int:
        """Number of network calls if the denoiser makes one."""
        return self.rows

    @property
    def steps(self) -> int:
        """Number of steps of the grid."""
        return int(self.step[-1]) + 1

    @cached_property
    def grid(self) -> Array:
        """The times of the grid, [steps + 1]."""
        ends = np.append(np.flatnonzero(self.step[1:] > self.step[:-1]), self.rows - 1)
        grid = self.times[np.append(0, ends + 1)]
        grid.flags.writeable = False
        return grid

    def tableau(self, path: AffinePath, times: Any = None) -> "Tableau":
        """Itself: a tableau serves wherever a solver does, on the path and the times that it was made for.

        Raises
        ------
        UsageError
            If the path or the times are others.
        """
        if path.key != self.path:
            raise UsageError(f"this tableau was made for {self.path}, not for {path.key}")
        if times is not None and not np.array_equal(np.asarray(times, dtype=np.float64), self.grid):
            raise UsageError("this tableau brings its own times: pass times=None or its `grid`")
        return self

    def save(self, file: str | Path) -> None:
        """Write the table as safetensors."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        save_file(arrays, file, {"format": _FORMAT, "path": self.path, "solver": self.solver})

    @classmethod
    def load(cls, file: str | Path) -> "Tableau":
        """Read what `save` wrote.

        Raises
        ------
        UsageError
            If the file is something else.
        FileNotFoundError
            If there is no such file.
        """
        try:
            with safe_open(str(file), framework="numpy") as stored:
                metadata = stored.metadata() or {}
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UsageError(f"{file}: expected a tableau in safetensors, got something else ({error})") from error
        if metadata.get("format") != _FORMAT or set(arrays) != set(_ARRAYS):
            raise UsageError(f"{file}: expected a tableau, got safetensors with {sorted(arrays)}")
        return cls(path=metadata["path"], solver=metadata["solver"], **arrays)

    def _value(self) -> tuple[Any, ...]:
        return (self.path, self.solver, *(getattr(self, name).tobytes() for name in _ARRAYS))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tableau) and self._value() == other._value()

    def __hash__(self) -> int:
        return hash(self._value())

    def __repr__(self) -> str:
        return (
            f"Tableau({self.solver} on {self.path}: {self.steps} steps, {self.nfe} evaluations, "
            f"t {self.times[0]:.4g} to {self.times[-1]:.4g})"
        )


_ARRAYS = tuple(item.name for item in fields(Tableau) if item.name not in ("path", "solver"))
