"""The default: an exponential multistep method in the trig basis, with a corrector, on the grid of the same basis.

    theta = theta_max u^power,     sigma = scale tan(theta),     G = F of EDM's (arXiv:2206.00364, eq. 7)

Two statistics of the data are measured, the standard deviation over all components and the spread, that along the
principal components weighted by their energy (c_i: signals less their mean, d components):

    std² = tr(C)/d,    spread² = tr(C²)/tr(C),    C = E c c^H,    r = spread/std >= 1

r is 1 where all directions are alike, and 25 for small photographs. From them follow, by a rule that was fitted to two
Gaussian mixtures, a voice and an image net (see `default_of`), the two lengths and the power of the grid, and whether
many steps are better taken in log-SNR: UniPC's polynomials (arXiv:2302.04867), on the grid halfway to the uniform one.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.multistep import multistep
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.solvers.unipc import unipc
from fewstep.core.times import theta, uniform_logsnr

_THIRD = 12
"""From so many steps on, the predictor is of order three."""

_HALFWAY = 8
"""From so many steps on, uneven data, such as a voice or photographs, are sampled in log-SNR."""

_UNEVEN = 9.0
"""Which those are: spread over standard deviation."""

_CORRECTIONS = ((6.0, 1.0, 0.0), (10.0, 0.64, 0.1), (25.0, 0.95, 0.03))
"""r, factor of the scale, what the power grows by; straight in log r between, constant beyond."""

_HOW = "measure it with solvers.default_for(x0), calibrate it with solvers.tune, or read it from the model's card"


@dataclass(frozen=True)
class Default:
    """A solver that knows its grid: give `tableau` or `sample` a number of steps for `times`.

    Parameters
    ----------
    sigma_data, scale, power
        Of the basis and its grid, see `default`.
    order
        Of the predictor; None: 2, and 3 from twelve steps on.
    halfway
        From so many steps on it is UniPC-2 on a grid halfway, in log-SNR, to the uniform one; None: never.
    """

    sigma_data: float
    scale: float
    power: float
    order: int | None
    halfway: int | None = None

    @property
    def name(self) -> str:
        """With every parameter."""
        return repr(self)

    def times(self, path: AffinePath, n: int) -> Tensor:
        """Its grid of n steps, decreasing, float64, [n + 1]."""
        own = theta(path, n, scale=self.scale, power=self.power)
        if not self._in_log_snr(n):
            return own
        even = uniform_logsnr(path, n)
        between = (path.lam(own[1:-1]) + path.lam(even[1:-1])) / 2
        return torch.cat([own[:1], path.inverse(between), own[-1:]])

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for a number of steps on its own grid, or for any other grid.

        Parameters
        ----------
        path
            The process.
        times
            A number of steps, or decreasing times.

        Raises
        ------
        UsageError
            If the number of steps is below 1, or the times are not a decreasing grid within the path.
        """
        grid = self.times(path, times) if isinstance(times, int) else times
        if self._in_log_snr(len(grid) - 1):
            return unipc(2).tableau(path, grid)
        order = self.order or (3 if len(grid) > _THIRD else 2)
        return multistep(order, "trig", corrector=True, sigma_data=self.sigma_data).tableau(path, grid)

    def _in_log_snr(self, n: int) -> bool:
        return self.halfway is not None and n >= self.halfway


def default(
    *, sigma_data: float | None = None, scale: float | None = None, power: float = 1.5, order: int | None = 2
) -> Default:
    """The default solver; nothing about the data is guessed.

    Parameters
    ----------
    sigma_data
        Standard deviation for which the basis is exact, in the data's unit.
    scale
        Noise level around which the steps lie.
    power
        How much finer the steps grow towards the data.
    order
        Of the predictor; the corrector adds one at no further call. None: 2, and 3 from twelve steps on.

    Returns
    -------
    Default

    Raises
    ------
    UsageError
        If `sigma_data` or `scale` is missing or not positive, or `order` is below 1.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, table 1; Zhao et al. 2023, arXiv:2302.04867.
    """
    for name, value in (("sigma_data", sigma_data), ("scale", scale)):
        if value is None:
            raise UsageError(f"the default solver needs {name} of the data: {_HOW}")
        if not value > 0:
            raise UsageError(f"expected {name} > 0, got {value}")
    assert sigma_data is not None, "checked above"
    assert scale is not None, "checked above"
    return Default(float(sigma_data), float(scale), float(power), _checked(order))


def _checked(order: int | None) -> int | None:
    if order is not None and order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    return order


def default_of(std: float, spread: float, *, order: int | None = None) -> Default:
    """The default solver for data of these two statistics.

    With r = spread/std: sigma_data = std sqrt(1 + (r/9)²), scale = 0.7 spread/sqrt(1 + (r/13)²), and
    power = 1.5 + 0.7 r²/(r² + 60); above r = 6 the last two are corrected, scale by 0.64 and power by 0.1 at r = 10,
    by 0.95 and 0.03 from 25 on. From r = 9 on, eight steps and more are taken in log-SNR. The constants were chosen
    on the mixtures of `fewstep bench samplers` (r = 1 and 4), the voice that ships (10) and the image net that ships
    (25), at 4 to 20 calls.

    Parameters
    ----------
    std
        Standard deviation over all components, in the data's unit.
    spread
        Standard deviation along the principal components, weighted by their energy.
    order
        See `default`.

    Returns
    -------
    Default

    Raises
    ------
    UsageError
        If a number is not positive, or the spread is less than the standard deviation.
    """
    if not (std > 0 and spread >= std * (1 - 1e-9)):
        raise UsageError(f"expected 0 < std <= spread, got {std=:.6g} and {spread=:.6g}")
    r = spread / std
    at, factors, more = zip(*_CORRECTIONS, strict=True)
    corrected = [float(np.interp(math.log(r), np.log(at), values)) for values in (factors, more)]
    return Default(
        sigma_data=std * math.hypot(1, r / 9),
        scale=0.7 * corrected[0] * spread / math.hypot(1, r / 13),
        power=1.5 + 0.7 * r * r / (r * r + 60) + corrected[1],
        order=_checked(order),
        halfway=_HALFWAY if r >= _UNEVEN else None,
    )


def default_for(x0: Tensor, *, order: int | None = None) -> Default:
    """The default solver for data like these.

    Parameters
    ----------
    x0
        Clean signals in the unit of the path (latents if the net works on latents), [n, ...], n >= 2; a few hundred do.
        For a net that is told much (a text, a measurement), signals under one condition, such as its own draws: what
        the condition settles is no spread.
    order
        See `default`.

    Returns
    -------
    Default

    Raises
    ------
    UsageError
        If there are fewer than two signals, or they are all the same.
    """
    if len(x0) < 2:
        raise UsageError(f"expected at least two signals to measure, got shape {list(x0.shape)}")
    wide = torch.complex128 if x0.is_complex() else torch.float64
    rows = x0.detach().flatten(1).to("cpu", wide)
    centred, n = rows - rows.mean(0), len(rows)
    total = float(centred.abs().square().sum()) / (n - 1)
    if not total > 0:
        raise UsageError("expected signals that differ from each other, got equal ones")
    gram = centred @ centred.mH
    away = gram + total / n  # what centring takes from the products of different signals
    away.fill_diagonal_(0)
    square = float(away.abs().square().sum()) / (n * (n - 1))  # E |<c_i, c_j>|² = tr(C²), without bias for few signals
    std = (total / rows.shape[1]) ** 0.5
    return default_of(std, max((square / total) ** 0.5, std), order=order)
