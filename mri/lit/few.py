"""Fine-tuning of a prior through every call of a few-step reconstruction (IDM's idea, arXiv:2403.17006).

    loss = mean over scans of log |x(theta) − x0|²  +  denoising * (the prior's own loss)

x(theta) is what `DDS` or `Conditional` answers with in `calls` calls, start, conjugate gradients and noise included:
what is trained is what runs. The logarithm is PSNR by its mean: without it easy scans would not count. The second
term keeps the net a denoiser at all noise levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.pretrained import Pretrained
from fewstep.mri import metrics
from fewstep.mri.lit.conditional import ConditionalModule
from fewstep.mri.lit.recon import problem_of
from fewstep.mri.methods import DDS, Conditional
from fewstep.mri.models.condition import condition
from fewstep.mri.problem import Slice

METHODS = {"dds": DDS, "conditional": Conditional}


class FewStepModule(ConditionalModule):
    """A prior, or a conditional net, trained as the net of one reconstruction in few calls.

    A batch is that of `fewstep.mri.data.scans`: one scan.

    Parameters
    ----------
    net, path, start, options
        As for `ConditionalModule`; the prior to start from is the one to be fine-tuned.
    method
        "dds" or "conditional".
    calls
        Of the net, per sample: one number, or several of which each scan is given one, so that the same weights serve
        all of them. Validation takes the first.
    denoising
        Weight of the loss that the net was trained with before.

    Raises
    ------
    UsageError
        If there is no such method or no call, or a weight is negative.
    """

    def __init__(
        self,
        net: nn.Module,
        path: AffinePath,
        *,
        method: str = "dds",
        calls: int | Sequence[int] = 4,
        denoising: float = 0.5,
        **options: Any,
    ):
        numbers = (calls,) if isinstance(calls, int) else tuple(calls)
        if not numbers or min(numbers) < 1 or denoising < 0:
            raise UsageError(f"expected calls of at least 1 and denoising >= 0, got {calls} and {denoising}")
        super().__init__(net, path, **{"parameterization": "x0", **options})
        if method not in METHODS:
            raise UsageError(f"expected a method among {', '.join(METHODS)}, got {method!r}")
        self.method, self.calls, self.denoising = method, numbers, denoising

    def answer(
        self, batch: Mapping[str, Tensor], seed: int, *, calls: int | None = None, samples: int = 1, grad: bool = False
    ) -> Tensor:
        """What the reconstruction says of a scan in the first number of calls or another, complex64 [sample, y, x]."""
        steps = self.calls[0] if calls is None else calls
        prior = Pretrained(self.net, self.path, self.parameterization, steps, None, {})
        method = METHODS[self.method](prior, steps=steps, samples=samples)
        return method.follow(slice_of(batch), seed, grad=grad)[0]

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Both losses of one scan."""
        error, denoised = self.losses(batch, stream=(0, self.current_epoch, batch_idx, self.global_rank))
        loss = error.log() + self.denoising * denoised
        self.log("train/error", 10 * error.detach().log10(), batch_size=1)
        self.log("train/loss", loss, prog_bar=True, batch_size=1)
        return loss

    def losses(self, batch: Mapping[str, Tensor], *, stream: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Mean squared error of one sample, and the denoiser's own loss (0 if it has no weight)."""
        generator = rng.generator(self.seed, 2, *stream)
        seed = int(torch.randint(2**31, (), generator=generator))
        calls = self.calls[int(torch.randint(len(self.calls), (), generator=generator))]
        error = (self.answer(batch, seed, calls=calls, grad=True) - batch["x0"]).abs().square().mean()
        if self.denoising == 0:
            return error, torch.zeros(())
        told = {**batch, "cond": condition(slice_of(batch))} if self.method == "conditional" else batch
        return error, self._loss(told, stream=stream)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """PSNR of the mean of two samples, and of CG-SENSE."""
        with torch.no_grad():
            mean = self.answer(batch, batch_idx, samples=2).mean(0, keepdim=True)
            for name, image in (("", mean), ("start_", batch["start"])):
                self.log(f"val/{name}psnr", metrics.psnr(image, batch["x0"]), sync_dist=True, batch_size=1)


def slice_of(batch: Mapping[str, Tensor]) -> Slice:
    """The scan in a batch, in the unit of the priors.

    Parameters
    ----------
    batch
        Of `fewstep.mri.data.scans`, of one scan.

    Returns
    -------
    Slice

    Raises
    ------
    UsageError
        If there are several scans.
    """
    if len(batch["kspace"]) != 1:
        raise UsageError(f"expected one scan in a batch, got {len(batch['kspace'])}: few-step training takes batch 1")
    return Slice(problem_of(batch), 1.0 + 0j, batch["start"])
