"""What a net can be trained to say, and how to read x0 from it.

With u = x − b y and dots for time derivatives:

    eps    the noise                                x0 = (u − s eps) / a
    x0     the clean signal
    v      (a eps − s x0) / r, r² = a² + s²         x0 = (a u − s r v) / r²     (Salimans & Ho 2022, arXiv:2202.00512)
    score  −eps / s                                 x0 = (u + s² score) / a     (Song et al. 2021, arXiv:2011.13456)
    flow   a' x0 + b' y + s' eps                    x0 = (s' u − s (flow − b' y)) / (a s' − s a')  (arXiv:2210.02747)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath


def target(kind: str, path: AffinePath, x0: Tensor, eps: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
    """What a net of this kind should say at x_t = a x0 + b y + s eps.

    Parameters
    ----------
    kind
        ``"eps"``, ``"x0"``, ``"v"``, ``"score"`` or ``"flow"``.
    path
        The process.
    x0
        Clean signal, [batch, ...].
    eps
        Noise, shaped like `x0`.
    t
        One time, or [batch].
    y
        Degraded end, shaped like `x0`; None is 0.

    Returns
    -------
    Tensor
        Shaped like `x0`.

    Raises
    ------
    UsageError
        If the kind is unknown.
    """
    _check(kind)
    a, _, s = path.broadcast(path.coefficients(t), x0)
    if kind == "x0":
        return x0
    if kind == "eps":
        return eps
    if kind == "score":
        return -eps / s
    if kind == "v":
        return (a * eps - s * x0) / torch.sqrt(a * a + s * s)
    da, db, ds = path.broadcast(path.derivatives(t), x0)
    flow = da * x0 + ds * eps
    return flow if y is None else flow + db * y


def to_x0(kind: str, path: AffinePath, output: Tensor, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
    """The clean signal that a net's output means.

    Parameters
    ----------
    kind
        ``"eps"``, ``"x0"``, ``"v"``, ``"score"`` or ``"flow"``.
    path
        The process.
    output
        What the net said, shaped like `x`.
    x
        The state, [batch, ...].
    t
        One time, or [batch].
    y
        Degraded end, shaped like `x`; None is 0.

    Returns
    -------
    Tensor
        Shaped like `x`.

    Raises
    ------
    UsageError
        If the kind is unknown.
    """
    _check(kind)
    if kind == "x0":
        return output
    a, b, s = path.broadcast(path.coefficients(t), x)
    u = x if y is None else x - b * y
    if kind != "flow":
        return _READ[kind](output, u, a, s)
    da, db, ds = path.broadcast(path.derivatives(t), x)
    flow = output if y is None else output - db * y
    return (ds * u - s * flow) / (a * ds - s * da)


def _eps(output: Tensor, u: Tensor, a: Tensor, s: Tensor) -> Tensor:
    return (u - s * output) / a


def _score(output: Tensor, u: Tensor, a: Tensor, s: Tensor) -> Tensor:
    return (u + s * s * output) / a


def _v(output: Tensor, u: Tensor, a: Tensor, s: Tensor) -> Tensor:
    square = a * a + s * s
    return (a * u - s * torch.sqrt(square) * output) / square


_READ: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {"eps": _eps, "score": _score, "v": _v}

KINDS = ("eps", "x0", "v", "score", "flow")


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"expected a parameterisation out of {', '.join(KINDS)}, got {kind!r}")
