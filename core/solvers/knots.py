"""A grid of times and the path's coefficients on it, in float64: what every tableau is computed from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Knots:
    """Decreasing times and a, b, s, lam = log(a/s) there, float64 [n + 1]."""

    times: Array
    a: Array
    b: Array
    s: Array
    lam: Array


def knots(path: AffinePath, times: Any) -> Knots:
    """Check a grid and look its coefficients up.

    Parameters
    ----------
    path
        The process.
    times
        Decreasing times in [0, path.t_max], [n + 1] with n >= 1; a tensor, array or list.

    Returns
    -------
    Knots

    Raises
    ------
    UsageError
        If the times are not as described.
    """
    if times is None:
        raise UsageError("times: expected decreasing times, got None; only a tableau brings its own")
    t = torch.as_tensor(times, dtype=torch.float64, device="cpu").detach()
    if t.ndim != 1 or len(t) < 2:
        raise UsageError(f"times: expected a 1-D list of at least 2 times (one step), got shape {list(t.shape)}")
    if not bool((t.diff() < 0).all()):
        why = "; it rises: pass times.flip(0)" if bool((t.diff() > 0).all()) else ""
        raise UsageError(f"times: expected strictly decreasing times from the prior to 0, got {_shown(t)}{why}")
    if not (t[-1] >= 0 and t[0] <= path.t_max * (1 + 1e-12)):
        raise UsageError(f"times: expected times within [0, {path.t_max}] for {path.key}, got {_shown(t)}{_hint(t)}")
    a, b, s = (value.numpy() for value in path.coefficients(t))
    return Knots(t.numpy(), a, b, s, path.lam(t).numpy())


def _hint(t: torch.Tensor) -> str:
    if t[0] > 1 and bool((t == t.round()).all()):
        return (
            "; these look like integer timesteps: a solver is told process times, which `times.trailing`, `leading` "
            "and `snap` make for a discretely trained net, and `times.timesteps` turns them back for the net"
        )
    return ""


def _shown(t: torch.Tensor) -> str:
    shown = [f"{value:.6g}" for value in t.tolist()]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]])
