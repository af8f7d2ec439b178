"""From a net to the core's currency: ``denoise(x, t) -> x0_hat``.

Every adapter calls ``net(x, t)``, or ``net(x, t, cond)`` if there is a `cond`, with t [batch]; `net_time` turns the
process time into what the net is told (see `fewstep.core.times.timesteps`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.parameterize.kinds import to_x0
from fewstep.core.paths import AffinePath
from fewstep.core.types import Denoise, Net, NetTime


def _adapter(kind: str, says: str) -> Callable[..., Denoise]:
    def adapt(
        net: Net,
        path: AffinePath,
        *,
        y: Tensor | None = None,
        cond: Any = None,
        net_time: NetTime | None = None,
    ) -> Denoise:
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return to_x0(kind, path, _ask(net, x, t if net_time is None else net_time(t), cond), x, t, y)

        return denoise

    adapt.__name__ = adapt.__qualname__ = kind
    adapt.__doc__ = f"""Denoise with a net that says {says}.

    Parameters
    ----------
    net
        ``net(x, t)`` or ``net(x, t, cond)``; x [batch, ...], t [batch].
    path
        The process that it was trained on.
    y
        Degraded end of the path, [batch, ...]; None is 0.
    cond
        What the net is told; None: nothing.
    net_time
        t -> what the net is told as time; default t.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``.
    """
    return adapt


x0 = _adapter("x0", "the clean signal")
eps = _adapter("eps", "the noise")
v = _adapter("v", "v = (a eps − s x0) / sqrt(a² + s²)")
score = _adapter("score", "the score −eps / s")
flow = _adapter("flow", "the velocity of the path")


def edm(
    net: Net,
    path: AffinePath,
    sigma_data: float = 0.5,
    *,
    y: Tensor | None = None,
    cond: Any = None,
    net_time: NetTime | None = None,
) -> Denoise:
    """Denoise with an EDM-preconditioned net F: x0 = c_skip u/a + c_out F(c_in u/a, c_noise), sigma = s/a.

    Trained by regressing this function's answer on x0.

    Parameters
    ----------
    net
        ``net(x, c_noise)`` or ``net(x, c_noise, cond)``; c_noise [batch].
    path
        Any path; sigma = s/a is all that is read from it.
    sigma_data
        Standard deviation of the data, in its unit.
    y
        Degraded end of the path, [batch, ...]; None is 0.
    cond
        What the net is told; None: nothing.
    net_time
        t -> c_noise; default log(sigma)/4.

    Returns
    -------
    callable
        ``denoise(x, t) -> x0_hat``.

    Raises
    ------
    UsageError
        If `sigma_data` is not positive.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, eq. 7 and table 1.
    """
    if not sigma_data > 0:
        raise UsageError(f"expected sigma_data > 0, got {sigma_data}")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        a, b, s = path.broadcast(path.coefficients(t), x)
        u = x if y is None else x - b * y
        scale = torch.sqrt(s * s + (a * sigma_data) ** 2)
        told = -path.lam(t) / 4 if net_time is None else net_time(t)
        output = _ask(net, u / scale, told, cond)
        return (a * sigma_data**2 / scale**2) * u + (s * sigma_data / scale) * output

    return denoise


def _ask(net: Net, x: Tensor, t: Tensor, cond: Any) -> Tensor:
    t = t.expand(len(x)) if t.ndim == 0 else t
    return net(x, t) if cond is None else net(x, t, cond)
