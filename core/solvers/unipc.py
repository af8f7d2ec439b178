"""UniPC: a multistep predictor, and a corrector that reuses the next step's evaluation (Zhao et al. 2023).

    predictor   u_n = k_n/k_p u_p + J_0 G + sum_j c_j (G_j − G)
    corrector   the same with one more value, G at the prediction of u_n

From order 2 on (corrector) and 3 on (predictor) the weights are those of exact interpolation whatever B(h) is; below,
the published shortcut gives the difference half of J_0 (bh2) or of h times the weight at the end (bh1).
Zhao et al. 2023, arXiv:2302.04867, algorithms 1 and 2, section 3.1 and appendix F.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath
from fewstep.core.solvers.basis import Basis, Coordinates
from fewstep.core.solvers.exponential import FINALS, orders
from fewstep.core.solvers.knots import Array, knots
from fewstep.core.solvers.multistep import step
from fewstep.core.solvers.quadrature import lagrange, moments
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.tableau import Tableau


@dataclass(frozen=True)
class UniPC:
    """One evaluation per step; order p + 1 with the corrector.

    Parameters
    ----------
    order
        p, of the predictor.
    variant
        ``"bh1"`` or ``"bh2"``.
    basis
        ``"lambda"`` (data prediction) or ``"eps"`` (noise prediction).
    corrected
        Whether the corrector runs.
    final
        As for `dpmpp_2m`.
    name
        Of the table.
    """

    order: int
    variant: str
    basis: Basis
    corrected: bool
    final: str
    name: str

    def tableau(self, path: AffinePath, times: Any) -> Tableau:
        """The table for `times` on `path`.

        Raises
        ------
        UsageError
            If the times are not a decreasing grid within the path.
        """
        c = self.basis.on(knots(path, times))
        rows = Recorder(path, self.name, c.knots, c.mix)
        used = orders(c, self.order, self.final)
        for i, order in enumerate(used):
            of_u, _, weights = step(c, i, [i] if c.usable[i] else [])
            if order > 1:
                weights = self._predict(c, i, order)
            total = np.zeros(max(self.order + 1, len(weights)))
            total[: len(weights)] += weights
            if self.corrected and i and c.usable[i - 1]:
                change = self._change(c, i - 1, used[i - 1])
                total[: len(change)] += of_u * change
            rows.row(i + 1, i, of_u, {i - j: w for j, w in enumerate(total) if w})
        return rows.table()

    def _predict(self, c: Coordinates, p: int, order: int) -> Array:
        """Weights of the newest answers, newest first, for the step from knot p."""
        whole = moments(c, p, p + 1, 1)[0]
        if order == 1:
            return np.array([whole])
        if order > 2:
            return lagrange(c, p, p + 1, range(p, p - order, -1))
        slope = self._half(c, p, whole) * (c.z[p + 1] - c.z[p]) / (c.z[p] - c.z[p - 1])
        return np.array([whole + slope, -slope])

    def _change(self, c: Coordinates, p: int, order: int) -> Array:
        """Weights, newest first, that turn the prediction at knot p + 1 into the corrected state there."""
        nodes = range(p + 1, p - order, -1)
        half = self._half(c, p, whole := moments(c, p, p + 1, 1)[0])
        change = np.array([half, whole - half]) if order == 1 else lagrange(c, p, p + 1, nodes)
        change[1:] -= self._predict(c, p, order)
        return change

    def _half(self, c: Coordinates, p: int, whole: float) -> float:
        if self.variant == "bh2":
            return whole / 2
        return float(np.asarray(c.weight(c.z[p + 1 : p + 2], p + 1)).sum() * (c.z[p + 1] - c.z[p]) / 2)


def unipc(
    order: int = 2, variant: str = "bh2", *, basis: str = "lambda", corrector: bool = True, final: str = "smooth"
) -> UniPC:
    """UniPC-p, one evaluation per step.

    Parameters
    ----------
    order
        p, 1 to 3 in use; with the corrector the method is of order p + 1.
    variant
        ``"bh2"``, or ``"bh1"``, which is recommended for few steps without guidance. At sigma = 0 the step is of
        first order, so both are finite there.
    basis
        ``"lambda"``: data prediction, as in other packages; ``"eps"``: noise prediction.
    corrector
        False is UniP-p, the predictor alone.
    final
        ``"smooth"``: orders fall towards sigma = 0, if the grid ends there, as published. ``"lower"``: wherever it
        ends.

    Raises
    ------
    UsageError
        If an option is not as described.

    References
    ----------
    Zhao et al. 2023, arXiv:2302.04867, algorithms 1 and 2.
    """
    if order < 1:
        raise UsageError(f"expected order >= 1, got {order}")
    if variant not in ("bh1", "bh2"):
        raise UsageError(f"expected variant 'bh1' or 'bh2', got {variant!r}")
    if basis not in ("lambda", "eps"):
        raise UsageError(f"expected basis 'lambda' or 'eps', got {basis!r}")
    if final not in FINALS:
        raise UsageError(f"expected final 'smooth', 'lower' or 'full', got {final!r}")
    options = f", {basis=}" * (basis != "lambda") + f", {corrector=}" * (not corrector)
    options += f", {final=}" * (final != "smooth")
    return UniPC(order, variant, Basis(basis), corrector, final, f"unipc({order}, {variant!r}{options})")
