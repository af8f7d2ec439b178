"""Losses on complex images, and the learning rate's course."""

import torch
from torch import Tensor


def squared(output: Tensor, target: Tensor) -> Tensor:
    """|output − target|², real, for real and complex tensors.

    Parameters
    ----------
    output, target
        Of one shape.

    Returns
    -------
    Tensor
        Real, of that shape.
    """
    difference = output - target
    return torch.view_as_real(difference).square().sum(-1) if difference.is_complex() else difference.square()


def trapezoid(step: int, *, steps: int, warmup: int = 200, decay: int = 3000, last: float = 0.02) -> float:
    """Factor of the learning rate: up from 0, level, and down to `last` over the final `decay` steps.

    A run that is resumed with another number of steps only moves its end.

    Parameters
    ----------
    step
        Steps done.
    steps
        Steps of the run.
    warmup, decay
        Steps of the way up and of the way down.
    last
        Factor at the end.

    Returns
    -------
    float
        In (0, 1].
    """
    up = min(1.0, (step + 1) / max(1, warmup))
    down = min(1.0, max(0.0, (steps - step) / max(1, decay)))
    return up * (last + (1 - last) * down)
