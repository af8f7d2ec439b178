"""What holds for every method of data consistency."""

import cmath

import pytest
import torch

from fewstep.core import guide, nfe, paths, sample, solvers, times
from fewstep.core.errors import UsageError

from .conftest import SHAPE, sense, undersampled
from .gaussian import exact, randn

PATH = paths.vp_linear()
T = torch.tensor(0.4, dtype=torch.float64)
DENOISE = exact(PATH)


def test_what_agrees_already_is_not_changed(method, A):
    x = randn(2, *SHAPE)
    x0 = DENOISE(x, T)
    torch.testing.assert_close(method(DENOISE, A, A(x0), PATH)(x, T), x0, rtol=1e-9, atol=1e-9)


def test_comes_nearer_to_the_measurement(method, A):
    x, measured = randn(2, *SHAPE), A(randn(2, *SHAPE, seed=1))
    before = (measured - A(DENOISE(x, T))).abs().square().sum()
    after = (measured - A(method(DENOISE, A, measured, PATH)(x, T))).abs().square().sum()
    assert after < 0.9 * before


def test_batch_is_loop(method, A):
    x, measured = (
        randn(4, *SHAPE),
        A(randn(4, *SHAPE, seed=1)) * torch.tensor([1.0, 10, 0.1, 3]).reshape(4, *[1] * len(A.shape_out)),
    )
    together = method(DENOISE, A, measured, PATH)(x, T)
    for i in range(4):
        alone = method(DENOISE, A, measured[i : i + 1], PATH)(x[i : i + 1], T)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_one_time_per_item(method, A):
    x, measured = randn(3, *SHAPE), A(randn(3, *SHAPE, seed=1))
    t = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    together = method(DENOISE, A, measured, PATH)(x, t)
    for i in range(3):
        alone = method(DENOISE, A, measured[i : i + 1], PATH)(x[i : i + 1], t[i])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-5)


def test_one_measurement_for_all_items(method, A):
    x, measured = randn(3, *SHAPE), A(randn(1, *SHAPE, seed=1))
    whole = measured.expand(3, *A.shape_out)
    torch.testing.assert_close(method(DENOISE, A, measured, PATH)(x, T), method(DENOISE, A, whole, PATH)(x, T))


@pytest.mark.parametrize("factor", [cmath.exp(2j), 1e3 * cmath.exp(-1j)], ids=["phase", "scale"])
def test_scales_with_the_measurement(method, name, A, factor):
    if name == "dps":  # the length of its move does not scale
        factor = factor / abs(factor)
    x, measured = randn(2, *SHAPE), A(randn(2, *SHAPE, seed=1))
    plain, scaled = (method(DENOISE, A, c * measured, PATH)(c * x, T) for c in (1, factor))
    torch.testing.assert_close(scaled, factor * plain, rtol=1e-6, atol=1e-6)


def test_counts_the_calls_of_the_net(method):
    A = undersampled()
    corrected = method(guide.cfg(DENOISE, exact(PATH, 1.0), 2.0), A, A(randn(1, *SHAPE)), PATH)
    with nfe.count() as counter:
        nfe.call(corrected, randn(1, *SHAPE), T)
    assert counter.calls == 2


@pytest.mark.parametrize("grad", [False, True])
def test_samples(method, A, grad):
    out = sample(
        method(DENOISE, A, A(randn(2, *SHAPE, seed=1)), PATH),
        PATH,
        times=times.uniform_logsnr(PATH, 5),
        solver=solvers.ddim(),
        shape=(2, *SHAPE),
        dtype=torch.complex128,
        generator=0,
        grad=grad,
    )
    assert out.nfe == 5
    assert not out.x.is_inference()


def test_gradients_of_the_outside_come_through(method):
    A, x = undersampled(), randn(1, *SHAPE)
    weight = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)

    def shifted(value):
        return method(lambda x, t: value * DENOISE(x, t) + value, A, A(randn(1, *SHAPE, seed=1)), PATH)(x, T)

    (slope,) = torch.autograd.grad(shifted(weight).abs().square().sum(), weight)
    high, low = (shifted(0.9 + step).abs().square().sum() for step in (1e-5, -1e-5))
    assert slope.item() == pytest.approx(((high - low) / 2e-5).item(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_real_states_of_any_precision(method, dtype):
    A = undersampled().parts[0]
    x, measured = randn(2, *SHAPE).real.to(dtype), A(randn(2, *SHAPE, seed=1).real.float())
    got = method(DENOISE, A, measured, PATH)(x, T.float())
    wide = method(DENOISE, A, measured.double(), PATH)(x.double(), T)
    assert got.dtype is dtype
    torch.testing.assert_close(got.double(), wide, rtol=0.03, atol=0.03 if dtype is torch.bfloat16 else 1e-4)


@pytest.mark.parametrize("A", [undersampled(), sense()], ids=["undersampled", "sense"])
def test_refuses_what_does_not_fit(method, A):
    expected = ", ".join(map(str, A.shape_out))
    with pytest.raises(UsageError, match=rf"measured \[batch, {expected}\] as A says, got \[2\]"):
        method(DENOISE, A, torch.zeros(2), PATH)
    with pytest.raises(UsageError, match="as A says, got list"):
        method(DENOISE, A, [0.0], PATH)
    zeros = torch.zeros(1, *A.shape_out)
    with pytest.raises(UsageError, match=r"measured in floating point, got torch\.int64"):
        method(DENOISE, A, zeros.long(), PATH)
    with pytest.raises(UsageError, match="NaN or infinity: leave such elements out"):
        method(DENOISE, A, zeros / 0, PATH)
    with pytest.raises(UsageError, match="expected a complex state"):
        method(DENOISE, A, zeros + 1j, PATH)(torch.zeros(1, *SHAPE), T)
