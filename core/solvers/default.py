"""The default: an exponential multistep method in the trig basis, with a corrector, on the grid of the same basis.

    theta = theta_max u^power,     sigma = scale tan(theta),     G = F of EDM's (arXiv:2206.00364, eq. 7)

Its two lengths are statistics of the data: `sigma_data`, the standard deviation over all components, and `scale`, half
the standard deviation along the first principal component, but at most three times `sigma_data`: where there are
thousands of components the first one says little. `default_for` measures them, and `tune` calibrates them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.multistep import multistep
from fewstep.core.solvers.tableau import Tableau
from fewstep.core.times import theta

_WIDEST = 3.0
_HOW = "measure it with solvers.default_for(x0), calibrate it with solvers.tune, or read it from the model's card"


@dataclass(frozen=True)
class Default:
    """A solver that knows its grid: give `tableau` or `sample` a number of steps for `times`.

    Parameters
    ----------
    sigma_data, scale, power
        Of the basis and its grid, see `default`.
    order
        Of the predictor.
    """

    sigma_data: float
    scale: float
    power: float
    order: int

    @property
    def name(self) -> str:
        """With every parameter."""
        return repr(self)

    def times(self, path: AffinePath, n: int) -> Tensor:
        """Its grid of n steps, decreasing, float64, [n + 1]."""
        return theta(path, n, scale=self.scale, power=self.power)

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
        return multistep(self.order, "trig", corrector=True, sigma_data=self.sigma_data).tableau(path, grid)


def default(
    *, sigma_data: float | None = None, scale: float | None = None, power: float = 1.5, order: int = 2
) -> Default:
    """The default solver; nothing about the data is guessed.

    Parameters
    ----------
    sigma_data
        Standard deviation of the data over all components, in its unit.
    scale
        Noise level around which the steps lie: half the standard deviation along the first principal component, up to
        three times `sigma_data`.
    power
        How much finer the steps grow towards the data.
    order
        Of the predictor; the corrector adds one at no further call.

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
    if order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    assert sigma_data is not None, "checked above"
    assert scale is not None, "checked above"
    return Default(float(sigma_data), float(scale), float(power), order)


def default_for(x0: Tensor, *, power: float = 1.5, order: int = 2) -> Default:
    """The default solver for data like these.

    Parameters
    ----------
    x0
        Clean signals in the unit of the path (latents if the net works on latents), [n, ...], n >= 2; a few hundred do.
    power, order
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
    centred = rows - rows.mean(0)
    gram = centred @ centred.mH if len(rows) < rows.shape[1] else centred.mH @ centred
    principal = float(torch.linalg.eigvalsh(gram)[-1] / (len(rows) - 1)) ** 0.5
    sigma_data = float(centred.abs().square().sum() / (len(rows) - 1) / rows.shape[1]) ** 0.5
    if not sigma_data > 0:
        raise UsageError("expected signals that differ from each other, got equal ones")
    scale = min(principal / 2, _WIDEST * sigma_data)
    return default(sigma_data=sigma_data, scale=scale, power=power, order=order)
