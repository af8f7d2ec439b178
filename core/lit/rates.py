"""Courses of the learning rate: factors by the number of steps done."""

from __future__ import annotations

import math


def cosine(step: int, *, steps: int, warmup: int = 100, least: float = 0.002) -> float:
    """Up over `warmup` steps, then half a cosine down to `least` of the learning rate.

    Parameters
    ----------
    step
        Steps done.
    steps
        Of the whole run.
    warmup
        Of the rise.
    least
        Share of the learning rate that is left at the end.

    Returns
    -------
    float
        The factor.
    """
    if step < warmup:
        return (step + 1) / warmup
    part = min(1.0, (step - warmup) / max(1, steps - warmup))
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * part))
