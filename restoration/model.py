"""One restoration checkpoint, ready to run: what it is for, its process, and its calls.

The chain runs on the canvas from y = base(lq); the net is asked with v = (x − b y)/a and sigma = s/a, so the same
weights serve any path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core import paths, solvers
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.restoration.models.base import base
from fewstep.restoration.models.denoiser import Denoiser
from fewstep.restoration.models.regressor import Regressor

Told = Tensor
"""What is global to a picture, [batch, n]: DiffIR's prior vector."""


@dataclass(frozen=True)
class Restoration:
    """A net with its process.

    Parameters
    ----------
    net
        `Denoiser`, `Regressor`, or any module of their calls.
    task
        ``"sr"``, ``"denoise"``, ``"deblur"``, ``"inpaint"`` or ``"jpeg"``.
    scale
        Canvas pixels per input pixel.
    method
        ``"resshift"``, ``"diffir"``, ``"ir-sde"`` or ``"regression"``.
    path
        The process on the canvas; its y is `start(lq, mask)`.
    steps
        Default number of steps.
    recipe
        The degradation that it was trained for, as plain data.
    config
        The whole `config.yaml`.
    """

    net: Any
    task: str
    scale: int
    method: str
    path: AffinePath
    steps: int
    recipe: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def solver_of(self, steps: int) -> Any:
        """What samples where nothing else is asked for: DDIM with the config's `eta`, or else the method's own.

        Parameters
        ----------
        steps
            Of the chain.

        Raises
        ------
        UsageError
            If `eta` is neither a number in [0, 1] nor numbers of steps with one each.
        """
        eta = self.config.get("eta")
        if eta is None:
            return solvers.mr_sampler(2) if self.method == "ir-sde" else solvers.resshift()
        try:
            return solvers.ddim(eta_of(eta, steps))
        except UsageError as error:
            raise UsageError(f"config.yaml: {error}") from None

    @property
    def first_sigma(self) -> float | None:
        """Where long chains go in their first step, if the config says so; see `fewstep.restoration.run.grid`.

        Raises
        ------
        UsageError
            If it is not between the path's smallest and largest noise.
        """
        first = self.config.get("first_sigma")
        if first is None:
            return None
        low, high = (math.exp(-float(self.path.lam(t))) for t in (self.path.t_min, self.path.t_max))
        if not isinstance(first, (int, float)) or not low < first < high:
            raise UsageError(f"config.yaml: expected first_sigma between {low:.3g} and {high:.3g}, got {first!r}")
        return float(first)

    @property
    def margin(self) -> int:
        """How far away a canvas pixel can be and still matter to one call, in pixels."""
        return int(self.net.margin)

    @property
    def multiple(self) -> int:
        """What the sides of the canvas, and the corners of its tiles, must be multiples of."""
        return int(self.net.multiple)

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return next(self.net.parameters()).device

    @property
    def has_student(self) -> bool:
        """Whether `one` can be called."""
        return getattr(self.net, "student", None) is not None

    def to(self, device: torch.device | str) -> Restoration:
        """The same on another device."""
        return replace(self, net=self.net.to(device))

    def start(self, lq: Tensor, mask: Tensor | None = None) -> Tensor:
        """The degraded end y on the canvas.

        Parameters
        ----------
        lq
            Float32, [batch, 3, rows, columns] in [-1, 1].
        mask
            1 where pixels are unknown, [batch, 1, rows, columns]; for inpainting.

        Returns
        -------
        Tensor
            [batch, 3, scale * rows, scale * columns].
        """
        return base(self.task, self.scale, lq, mask if self.task == "inpaint" else None)

    def told(self, lq: Tensor, mask: Tensor | None = None, *, seed: int = 0) -> Told | None:
        """What is global to a picture, computed once from the whole of it; None where a net is local throughout.

        Parameters
        ----------
        lq, mask
            As for `start`.
        seed
            Of the vector's own chain, where it has one (DiffIR).
        """
        told = getattr(self._regressor, "told", None)
        with torch.inference_mode():
            if told is None:
                return None
            return told(lq, mask, seed=seed) if self.method == "diffir" else told(lq, mask)

    def forward(self, x: Tensor, t: Tensor, lq: Tensor, mask: Tensor | None = None, told: Told | None = None) -> Tensor:
        """x0_hat, a local function of `x`, `lq` and `mask`.

        Parameters
        ----------
        x
            State on the canvas, [batch, 3, rows, columns].
        t
            Times, [batch] or one.
        lq, mask
            As for `start`.
        told
            From `told`.

        Returns
        -------
        Tensor
            Shaped like `x`.
        """
        if self.method in ("regression", "diffir"):
            return self.mean(lq, mask, told)
        a, b, s = self.path.broadcast(self.path.coefficients(t.double()), x.double())
        y = self.start(lq, mask)
        if self.method == "ir-sde":  # its nets are told pictures in [0, 1] and timesteps 1 to T, and answer with eps
            timestep = (t * (self.path.n_train or 1)).to(x.dtype).expand(len(x))
            eps = self.net((x + 1) / 2, (y + 1) / 2, timestep)
            return ((x.double() - b * y.double() - s * eps.double()) / a).to(x.dtype)
        v = ((x.double() - b * y.double()) / a).to(x.dtype)
        sigma = (s / a).to(x.dtype).flatten().expand(len(x))
        return self.net(v, sigma, lq, mask, told)

    def mean(self, lq: Tensor, mask: Tensor | None = None, told: Told | None = None) -> Tensor:
        """The deterministic answer in one call; arguments and result as for `forward`.

        Raises
        ------
        UsageError
            If the checkpoint has no mean: IR-SDE's nets know only noise.
        """
        if self.method == "ir-sde":
            raise UsageError("a checkpoint of IR-SDE has no mean: take mode='sample'")
        return self._regressor(lq, mask, told)

    def one(self, eps: Tensor, lq: Tensor, mask: Tensor | None = None, told: Told | None = None) -> Tensor:
        """The student's sample in one call.

        Parameters
        ----------
        eps
            The noise that a chain would start with, on the canvas, [batch, 3, rows, columns].
        lq, mask, told
            As for `forward`.

        Raises
        ------
        UsageError
            If the checkpoint has no student.
        """
        if not self.has_student:
            raise UsageError("this checkpoint has no one-step student: take steps >= 2, or mode='mean'")
        return self.net.one(eps, lq, mask, told)

    @property
    def _regressor(self) -> Any:
        return getattr(self.net, "regressor", self.net)

    @classmethod
    def debug(cls, task: str = "sr", scale: int = 4, *, student: bool = True) -> Restoration:
        """A tiny net of random weights, the same ones each time, for tests.

        Parameters
        ----------
        task
            See the class; all but ``"sr"`` want scale 1.
        scale
            Canvas pixels per input pixel.
        student
            With a one-step student.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            fold = scale if task == "sr" else 2
            vector = 8 if task == "deblur" else 0
            regressor = Regressor(task=task, scale=scale, fold=fold, width=8, blocks=1, vector=vector)
            net = Denoiser(regressor, width=8, blocks=1, student=student)
            for name, value in net.named_parameters():
                if "last" in name or "film" in name:
                    torch.nn.init.normal_(value, std=0.02)
        net = net.eval().requires_grad_(False)
        return cls(net, task, scale, "resshift", paths.resshift(0.5, 4, min_noise=0.1), 4, {"name": "debug"})


def eta_of(eta: float | Mapping[int, float], steps: int) -> float:
    """DDIM's eta in so many steps: straight in the logarithm of the number between those given, constant beyond.

    Parameters
    ----------
    eta
        A number, or one for each of some numbers of steps: with as much fresh noise in each step, a chain of many steps
        and one of few do not end alike.
    steps
        Of the chain.

    Raises
    ------
    UsageError
        If a number is not in [0, 1], or a number of steps is below 1.
    """
    given = dict(eta) if isinstance(eta, Mapping) else {1: eta}
    right = given and all(
        isinstance(n, int) and n >= 1 and isinstance(part, (int, float)) and 0 <= part <= 1 for n, part in given.items()
    )
    if not right:
        raise UsageError(f"expected eta in [0, 1], or as {{steps: eta, ...}}, got {eta!r}")
    at = sorted(given)
    return float(np.interp(math.log(steps), [math.log(n) for n in at], [given[n] for n in at]))
