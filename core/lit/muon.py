"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): steps of matrices made orthogonal, which
trains small transformers in fewer steps than Adam; AdamW moves what is not a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_LEAST = 64
_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon for groups with ``orthogonal=True``, AdamW for others; see `groups`.

    Kernels are matrices [outputs, inputs x taps]. Rates of both are alike: an orthogonal step of a matrix [m, n] is
    scaled to 0.2 sqrt(max(m, n)), the size of a step of Adam (Liu et al. 2025, arXiv:2502.16982, equation 4).

    Parameters
    ----------
    params
        Groups, or parameters (matrices among them are moved orthogonally).
    lr
        Of both.
    momentum
        Of matrices, Nesterov's.
    betas, eps
        Of AdamW.
    weight_decay
        Decoupled, of both.
    iterations
        Of Newton and Schulz per step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        iterations: int = 5,
    ):
        given = list(params)
        if given and isinstance(given[0], Tensor):
            given = [
                {"params": [value for value in given if value.ndim == 2], "orthogonal": True},
                {"params": [value for value in given if value.ndim != 2], "orthogonal": False},
            ]
        settings = {"momentum": momentum, "betas": betas, "eps": eps, "iterations": iterations, "orthogonal": False}
        super().__init__(given, {"lr": lr, "weight_decay": weight_decay} | settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure
            Makes the gradients, and returns the loss.

        Returns
        -------
        Any
            What it returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            move = self._orthogonally if group["orthogonal"] else self._adam
            for value in group["params"]:
                if value.grad is not None:
                    value.mul_(1 - group["lr"] * group["weight_decay"])
                    move(value, self.state[value], group)
        return loss

    @staticmethod
    def _orthogonally(value: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(value)
        state["momentum"].lerp_(value.grad, 1 - group["momentum"])
        ahead = value.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
        step = orthogonal(ahead, iterations=group["iterations"])
        value.add_(step.view_as(value), alpha=-0.2 * max(step.shape) ** 0.5 * group["lr"])

    @staticmethod
    def _adam(value: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state |= {"step": 0, "first": torch.zeros_like(value), "second": torch.zeros_like(value)}
        one, two = group["betas"]
        state["step"] += 1
        state["first"].lerp_(value.grad, 1 - one)
        state["second"].mul_(two).addcmul_(value.grad, value.grad, value=1 - two)
        deviation = (state["second"] / (1 - two ** state["step"])).sqrt_().add_(group["eps"])
        value.addcdiv_(state["first"], deviation, value=-group["lr"] / (1 - one ** state["step"]))


def orthogonal(matrix: Tensor, *, iterations: int = 5) -> Tensor:
    """About U V' of a matrix U S V': its singular values brought to 1, give or take 0.3, without finding them.

    Parameters
    ----------
    matrix
        [m, n].
    iterations
        Of Newton and Schulz, with the coefficients of Muon.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x.T if (tall := matrix.shape[0] > matrix.shape[1]) else x
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix)


def groups(module: nn.Module) -> list[dict[str, Any]]:
    """What `Muon` moves orthogonally, and the rest: weights of linear layers of at least 64 inputs and outputs.

    So are kernels of convolutions, [outputs, inputs x taps]. Tables of embeddings, first and last layers of few
    channels, kernels of one channel each, gains and biases are the rest.

    Parameters
    ----------
    module
        What is trained.
    """
    several = [one.weight for one in module.modules() if isinstance(one, _MATRICES)]
    chosen = {id(v) for v in several if v.requires_grad and min(len(v), v[0].numel()) >= _LEAST}
    learning = [value for value in module.parameters() if value.requires_grad]
    found = [
        {"params": [value for value in learning if id(value) in chosen], "orthogonal": True},
        {"params": [value for value in learning if id(value) not in chosen], "orthogonal": False},
    ]
    return [group for group in found if group["params"]]


def built(make: Callable[..., torch.optim.Optimizer], module: nn.Module) -> torch.optim.Optimizer:
    """An optimiser of what a module learns.

    Parameters
    ----------
    make
        ``(parameters) -> optimizer``; `Muon`, or a partial of it, is given `groups`.
    module
        What is trained.
    """
    if (make.func if isinstance(make, partial) else make) is Muon:
        return make(groups(module))
    return make([value for value in module.parameters() if value.requires_grad])


__all__ = ["Muon", "built", "groups", "orthogonal"]
