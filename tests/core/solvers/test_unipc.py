"""UniPC against its algorithm, written out, and against exact interpolation."""

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.solvers.knots import knots

PATH = paths.vp_linear()
GRID = times.karras(PATH, 7, zero=False)
K = knots(PATH, GRID)
H = np.diff(K.lam)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("corrector", [True, False])
def test_third_order_is_exact_interpolation_after_the_start(corrector):
    """B(h) cancels from the third order on; only the first steps know of it."""
    exact = solvers.multistep(3, corrector=corrector).tableau(PATH, GRID)
    for variant in ("bh1", "bh2"):
        ours = solvers.unipc(3, variant, corrector=corrector).tableau(PATH, GRID)
        close(ours.history[4:, : exact.history.shape[1]], exact.history[4:])
        assert abs(ours.history[1] - exact.history[1][: ours.history.shape[1]]).max() > 1e-6


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("prediction", ["data", "noise"])
def test_second_order_is_the_algorithm(variant, prediction):
    """x_n = base − k B(h) (rho D1_before + rho D1_new), with the published shortcut rho = 1/2 for one difference."""
    data = prediction == "data"
    sign, scale, kept = (-1, K.a, K.s) if data else (1, K.s, K.a)

    def answer(u, i):
        denoised = np.tanh(u)
        return denoised if data else (u - K.a[i] * denoised) / K.s[i]

    def base(u, g, i):
        return kept[i + 1] / kept[i] * u - scale[i + 1] * np.expm1(sign * H[i]) * g

    def b(i):
        return sign * H[i] if variant == "bh1" else np.expm1(sign * H[i])

    u = np.array([[0.3, -1.2, 2.0]])
    predicted, answers = u, []
    for i in range(7):
        answers.insert(0, answer(predicted, i))
        if i == 1:
            u = base(u, answers[1], 0) - scale[1] * b(0) * (answers[0] - answers[1]) / 2
        if i > 1:
            hh, r = sign * H[i - 1], -H[i - 2] / H[i - 1]
            phi = np.expm1(hh) / hh - 1
            weights = np.linalg.solve([[1, 1], [r, 1]], [phi / b(i - 1), 2 * (phi / hh - 0.5) / b(i - 1)])
            differences = [(answers[2] - answers[1]) / r, answers[0] - answers[1]]
            change = weights[0] * differences[0] + weights[1] * differences[1]
            u = base(u, answers[1], i - 1) - scale[i] * b(i - 1) * change
        predicted = base(u, answers[0], i)
        if i:
            predicted = predicted - scale[i + 1] * b(i) * (answers[1] - answers[0]) / (-H[i - 1] / H[i]) / 2
    solver = solvers.unipc(2, variant, basis="lambda" if data else "eps")
    x = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    out = sample(lambda x, t: torch.tanh(x), PATH, times=GRID, solver=solver, x=x)
    close(out.x, predicted)
    assert out.nfe == 7


def test_predictor_alone_is_dpmpp_2m():
    ours = solvers.unipc(2, corrector=False).tableau(PATH, GRID).history
    close(ours[:, :2], solvers.dpmpp_2m().tableau(PATH, GRID).history)
    assert not ours[:, 2:].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.unipc(0), "order >= 1, got 0"),
        (lambda: solvers.unipc(2, "bh3"), "variant 'bh1' or 'bh2', got 'bh3'"),
        (lambda: solvers.unipc(2, basis="rho"), "basis 'lambda' or 'eps', got 'rho'"),
        (lambda: solvers.unipc(2, final="early"), "final 'smooth', 'lower' or 'full', got 'early'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UsageError, match=message):
        make()
