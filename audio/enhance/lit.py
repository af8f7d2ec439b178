"""Training of enhancers: a predictive net, a diffusion net from its guess, or both together.

    loss = w_p E |D(y) - x0|^2 + w_d E_{t, eps} |F(x_t, t, (y, D(y))) - target|^2

(StoRM, Lemercier et al. 2023, arXiv:2212.11851, eq. 21, for the score; SGMSE+, Richter et al. 2023, arXiv:2208.05830,
eq. 17, without the first term.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from fewstep.audio.enhance.generate import clean_spectrum
from fewstep.audio.enhance.loss import spectral_error
from fewstep.audio.enhance.metrics import si_sdr
from fewstep.audio.enhance.samplers import Even, Sampler
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.core import checkpoint, hub, parameterize, rng
from fewstep.core.errors import UsageError
from fewstep.core.lit import training_times
from fewstep.core.lit.muon import built
from fewstep.core.paths import AffinePath

Batch = Mapping[str, Tensor]


class EnhanceModule(lightning.LightningModule):
    """Any `Enhancement` on any path.

    A batch has ``x0`` and ``y``, clean and noisy waveforms [B, n].

    Parameters
    ----------
    model
        The nets; what learns.
    path
        Of the diffusion.
    parameterization
        What the diffusion net says. With ``"x0"`` its error is that of `spectral_error`; otherwise the squared error of
        what it says, times s for ``"score"``.
    predictive_weight, diffusion_weight
        w_p and w_d; errors are means over bins and frames, and small where x0 is said: 50 makes them about one.
    through
        Whether the predictive net also learns from the diffusion's loss, as StoRM's does.
    magnitude
        Share of the magnitudes in `spectral_error`.
    end_share
        Share of the pairs whose time is the path's end, where few steps look most.
    on_policy
        Share of the other pairs whose state comes from the net's own one or two deterministic steps from the path's
        end, instead of from the clean spectrum: what few steps meet. For ``"x0"``.
    learning_rate, warmup, total_steps
        Of AdamW, with a linear rise and a cosine fall.
    optimizer
        ``(parameters) -> optimizer`` in AdamW's place, at its own rate, with the same rise and fall
        (`fewstep.core.lit.muon.Muon` among them).
    task, level
        Told to the export: what it is for, and how its input is brought to level.
    start
        A model of the same shape to start from: a name that ships, a folder or a hub id.
    sampler, steps
        Of the diffusion in validation and in use; default `fewstep.audio.enhance.samplers.Even`.
    seed
        Of times and noise.
    """

    recipe: Mapping[str, Any] | None = None
    """The plain job that built this module; `export` stores its parts."""

    def __init__(
        self,
        model: Enhancement,
        path: AffinePath,
        *,
        parameterization: str = "x0",
        predictive_weight: float = 50.0,
        diffusion_weight: float = 50.0,
        through: bool = False,
        magnitude: float = 0.5,
        end_share: float = 0.25,
        on_policy: float = 0.0,
        learning_rate: float = 1e-3,
        warmup: int = 200,
        total_steps: int = 4000,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        task: str = "denoise",
        level: str = "loud",
        start: str | None = None,
        sampler: Sampler | None = None,
        steps: int = 4,
        seed: int = 0,
    ):
        super().__init__()
        if parameterization not in parameterize.KINDS:
            raise UsageError(f"parameterization {parameterization!r}: expected one of {', '.join(parameterize.KINDS)}")
        shares = {"end_share": end_share, "on_policy": on_policy, "magnitude": magnitude}
        if not all(0 <= share <= 1 for share in shares.values()):
            raise UsageError(f"these are shares in [0, 1], got {shares}")
        if on_policy and parameterization != "x0":
            raise UsageError(f"on_policy is for a net that says x0, this one says {parameterization}")
        self.model, self.path, self.parameterization = model, path, parameterization
        self.weights, self.through, self.magnitude = (predictive_weight, diffusion_weight), through, magnitude
        self.on_policy = on_policy
        self.optimizer = optimizer or partial(torch.optim.AdamW, lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
        self.end_share, self.warmup, self.total_steps = end_share, warmup, total_steps
        self.task, self.level, self.steps, self.seed = task, level, steps, seed
        self.sampler: Sampler = sampler or Even()
        if start is not None:
            told = checkpoint.load(hub.resolve(start, kind="enhance"), kind="enhance")[0]
            model.load_state_dict(told.state_dict())

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and its rate per step."""
        optimizer = built(self.optimizer, self)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * min(step / self.total_steps, 1.0)))
        return min(1.0, (step + 1) / self.warmup) * max(fall, 0.01)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The weighted loss of a batch."""
        losses = self._losses(batch, (0, self.current_epoch, index, self.global_rank))
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: Batch, index: int) -> None:
        """SI-SDR of the input, the guess, and the diffusion's answer; and the loss at fixed times and noise."""
        self._measure(batch, index, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """As in validation."""
        self._measure(batch, index, "test")

    def export(self, folder: str | Path, *, recipe: Mapping[str, Any] | None = None) -> Path:
        """Write the nets as safetensors beside a config, for `fewstep.audio.Enhancer.load`.

        Parameters
        ----------
        folder
            Where to write.
        recipe
            The plain job, with ``module.model`` and ``module.path``; default: the one that `fewstep fit` ran.

        Raises
        ------
        UsageError
            If there is no recipe.
        """
        recipe = recipe or self.recipe
        if recipe is None:
            raise UsageError("export needs this module's recipe: pass recipe={'module': {'model': ..., 'path': ...}}")
        module = recipe["module"]
        config = {
            "kind": "enhance",
            "model": module["model"],
            "path": module["path"],
            "parameterization": self.parameterization,
            "steps": self.steps,
            "task": self.task,
            "level": self.level,
        }
        if module.get("sampler"):
            config["sampler"] = module["sampler"]
        return checkpoint.export(folder, self.model, config)

    def _losses(self, batch: Batch, stream: tuple[int, ...]) -> dict[str, Tensor]:
        x0, y = (self.model.spectrum.forward(batch[name]) for name in ("x0", "y"))
        losses, (predictive, diffusion) = {}, self.weights
        learns = predictive > 0 and self.model.predictor is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and (learns or self.through)):
            d = self.model.guess(y)
        if learns:
            losses["guess"] = predictive * spectral_error(d, x0, magnitude=self.magnitude).mean()
        if diffusion > 0 and self.model.net is not None:
            losses["diffusion"] = diffusion * self._diffusion(x0, y, d if self.through else d.detach(), stream)
        return losses

    def _diffusion(self, x0: Tensor, y: Tensor, d: Tensor, stream: tuple[int, ...]) -> Tensor:
        generator = rng.generator(self.seed, *stream)
        t = training_times.uniform(training_times.stratified(len(x0), generator, x0.device), self.path)
        at_end = torch.rand(len(x0), generator=generator).to(x0.device) < self.end_share
        t = torch.where(at_end, torch.full_like(t, self.path.t_max), t)
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        net: Any = self.model.net
        told, x = self.model.told(y, d), self.path.sample(x0, eps, t, d)
        if self.on_policy:
            draws = torch.rand(2, len(x0), generator=generator).to(x0.device)
            own = (draws[0] < self.on_policy) & ~at_end
            x = torch.where(own[:, None, None], self._rolled(d, told, eps, t, twice=draws[1] < 0.5), x)
        said = net(x, t, told)
        if self.parameterization == "x0":
            return spectral_error(said, x0, magnitude=self.magnitude).mean()
        error = said - parameterize.target(self.parameterization, self.path, x0, eps, t, d)
        if self.parameterization == "score":
            error = error * self.path.broadcast(self.path.coefficients(t), x0)[2]
        return (error.real.square() + error.imag.square()).mean()

    @torch.no_grad()
    def _rolled(self, d: Tensor, told: Tensor, eps: Tensor, t: Tensor, *, twice: Tensor) -> Tensor:
        """States at t that the net's own deterministic steps lead to: one step, or `twice` two of equal length."""
        net: Any = self.model.net
        end = torch.full_like(t, self.path.t_max)
        middle = torch.where(twice, (end + t) / 2, t)
        x = self.path.prior(eps, d)
        x = ddim_step(self.path, x, net(x, end, told), d, end, middle)
        further = ddim_step(self.path, x, net(x, middle, told), d, middle, t)
        return torch.where(twice[:, None, None], further, x)

    def _measure(self, batch: Batch, index: int, side: str) -> None:
        names = {"noisy": batch["y"]}
        with torch.autocast(self.device.type, enabled=False):
            y, n = self.model.spectrum.forward(batch["y"]), batch["y"].shape[-1]
            options = {"parameterization": self.parameterization, "seed": self.seed, "sampler": self.sampler}
            for steps in sorted({0, self.steps} if self.model.predictor is not None else {self.steps}):
                x, _ = clean_spectrum(self.model, self.path, y, steps=steps, **options)
                names[f"steps{steps}"] = self.model.spectrum.inverse(x, n)
            losses = self._losses(batch, (1, 0, index, self.global_rank))
        values = {f"{side}/sdr_{name}": si_sdr(wav, batch["x0"]).mean() for name, wav in names.items()}
        values |= {f"{side}/{name}": value for name, value in losses.items()}
        self.log_dict(values, prog_bar=True, sync_dist=True, batch_size=len(batch["y"]))


def ddim_step(path: AffinePath, x: Tensor, x0: Tensor, y: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """From time t to r, each [B], without new noise: a_r x0 + b_r y + (s_r / s_t) (x - a_t x0 - b_t y).

    Where s_t = 0 (a bridge at its end) there is no noise to keep.
    """
    (a, b, s), (a_r, b_r, s_r) = (path.broadcast(path.coefficients(time), x) for time in (t, r))
    kept = torch.where(s > 0, s_r / s.clamp(min=1e-12), torch.zeros_like(s))
    return a_r * x0 + b_r * y + kept * (x - a * x0 - b * y)
