"""A diffusion model from its folder, ready to sample: its net, path and parameterisation, and how to sample it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import checkpoint, hub, parameterize, solvers, times
from fewstep.core.build import build
from fewstep.core.distill.consistency import bounded
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.rng import Seed
from fewstep.core.sample import SampleResult, sample
from fewstep.core.types import Denoise

KIND = "diffusion"


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
    """

    net: nn.Module
    path: AffinePath
    parameterization: str
    steps: int
    sigma_data: float | None
    config: Mapping[str, Any]

    @classmethod
    def load(cls, name: str | Path, *, device: str | torch.device = "cpu") -> Pretrained:
        """Load by name.

        Parameters
        ----------
        name
            A model that ships, a folder, or a hub id.
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
        net, config = checkpoint.load(hub.resolve(str(name), kind=KIND), kind=KIND, device=device)
        missing = {"path", "parameterization", "steps"} - set(config)
        if missing:
            raise UsageError(f"{name}: config.yaml lacks {', '.join(sorted(missing))}; export it with fewstep fit")
        sigma = config.get("sigma_data")
        kind, steps = str(config["parameterization"]), int(config["steps"])
        return cls(net, build(config["path"]), kind, steps, None if sigma is None else float(sigma), config)

    def denoise(self, *, y: Tensor | None = None, cond: Any = None, net: nn.Module | None = None) -> Denoise:
        """``(x, t) -> x0_hat``, with the condition told.

        Parameters
        ----------
        y
            Degraded end of the path, [batch, ...]; None is 0.
        cond
            What the net is told; None: nothing.
        net
            Another net of the same kind, to be read in the same way.
        """
        adapter = getattr(parameterize, self.parameterization)
        plain = adapter(self.net if net is None else net, self.path, y=y, cond=cond)
        return plain if self.sigma_data is None else bounded(plain, self.path, sigma_data=self.sigma_data, y=y)

    def sample(
        self,
        *,
        shape: Sequence[int] | None = None,
        y: Tensor | None = None,
        cond: Any = None,
        steps: int | None = None,
        generator: Seed = None,
    ) -> SampleResult:
        """Draw with even steps of DDIM, by default as many as the model was made for.

        Parameters
        ----------
        shape, y, cond, generator
            See `fewstep.core.sample.sample` and `denoise`.
        steps
            Number of steps.

        Returns
        -------
        SampleResult
        """
        grid = times.uniform(self.path, self.steps if steps is None else steps)
        return sample(
            self.denoise(y=y, cond=cond), self.path, times=grid, solver=solvers.ddim(), shape=shape, y=y,
            generator=generator,
        )  # fmt: skip
