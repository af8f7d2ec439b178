"""Conjugate gradients: against a dense solve, each item on its own, and where there is nothing left to do."""

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.core.operators import Coils, Diagonal, Fourier, Identity, Matrix, conjugate_gradient

G = torch.Generator().manual_seed(1)


def positive(n=12, items=3, dtype=torch.complex128):
    values = torch.randn(items, n + 4, n, dtype=dtype, generator=G)
    return Matrix(values.mH @ values / n)


def randn(*shape, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=G)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("damping", [0.0, 0.5, torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)], ids=["0", "1", "3"])
@pytest.mark.parametrize("start", [False, True])
def test_is_the_dense_solution(dtype, damping, start):
    A, b = positive(dtype=dtype), randn(3, 12, dtype=dtype)
    guess = randn(3, 12, dtype=dtype) if start else None
    before = None if guess is None else guess.clone()
    got = conjugate_gradient(A, b, guess, iterations=60, damping=damping)
    shift = torch.as_tensor(damping, dtype=torch.float64).reshape(-1, 1, 1) * torch.eye(12, dtype=dtype)
    expected = torch.linalg.solve(A.values + shift, b.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(got.x, expected, rtol=1e-9, atol=1e-9)
    assert guess is None or torch.equal(guess, before)


def test_residuals_are_those_of_the_answer():
    A, b = positive(), randn(3, 12)
    for steps in (0, 1, 4):
        got = conjugate_gradient(A, b, iterations=steps, damping=0.2)
        true = torch.linalg.vector_norm(b - A(got.x) - 0.2 * got.x, dim=1)
        assert got.residuals.shape == (steps + 1, 3)
        torch.testing.assert_close(got.residuals[-1], true, rtol=1e-10, atol=1e-12)


def test_as_many_steps_as_there_are_eigenvalues():
    A = Diagonal(torch.tensor([1.0, 2.0, 3.0, 3.0, 2.0, 1.0], dtype=torch.float64), (6,))
    residuals = conjugate_gradient(A, randn(1, 6), iterations=3).residuals[:, 0]
    assert residuals[2] > 1e-6 * residuals[0]
    assert residuals[3] < 1e-12 * residuals[0]


@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_batch_is_loop(tolerance):
    A, b = positive(), randn(3, 12) * torch.tensor([[1e-6], [1.0], [1e6]])
    A = Matrix(A.values + torch.tensor([0.0, 3.0, 50.0], dtype=torch.float64).reshape(3, 1, 1) * torch.eye(12))
    together = conjugate_gradient(A, b, iterations=8, tolerance=tolerance)
    steps = []
    for i in range(3):
        alone = conjugate_gradient(Matrix(A.values[i]), b[i : i + 1], iterations=8, tolerance=tolerance)
        torch.testing.assert_close(together.x[i : i + 1], alone.x, rtol=1e-9, atol=0)
        steps.append(len(alone.residuals))
    assert len(together.residuals) == max(steps)
    assert tolerance == 0 or len(set(steps)) > 1


def test_tolerance_is_relative_to_the_right_side():
    A, b = positive(), randn(3, 12)
    got = conjugate_gradient(A, b, iterations=200, tolerance=1e-4)
    assert len(got.residuals) < 40
    assert (torch.linalg.vector_norm(b - A(got.x), dim=1) <= 1.01e-4 * torch.linalg.vector_norm(b, dim=1)).all()


def test_stays_finite_where_nothing_is_left_to_do():
    zero = torch.zeros(2, 4)
    assert torch.equal(conjugate_gradient(Identity((4,)), zero, iterations=3).x, zero)
    b = torch.ones(1, 4)
    assert torch.equal(conjugate_gradient(Identity((4,)), b, iterations=50).x, b)
    assert torch.equal(conjugate_gradient(Identity((4,)), b, b, iterations=5).x, b)
    nothing = Diagonal(torch.zeros(4), (4,))
    assert torch.equal(conjugate_gradient(nothing, b, iterations=5).x, torch.zeros(1, 4))


def test_singular_operators_get_the_nearest_solution_to_the_start():
    A, guess = Diagonal(torch.tensor([1.0, 0.0, 2.0]), (3,)), torch.tensor([[5.0, 7.0, 9.0]])
    got = conjugate_gradient(A, torch.tensor([[1.0, 0.0, 2.0]]), guess, iterations=10)
    torch.testing.assert_close(got.x, torch.tensor([[1.0, 7.0, 1.0]]))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_rounding_is_not_blown_up_by_what_a_singular_operator_does_not_see(dtype):
    A = Diagonal(torch.rand(15, generator=G) < 0.4, (16, 15)) @ Fourier((16, 15), (0, 1))
    image, guess = (randn(2, 16, 15, dtype=dtype) for _ in range(2))
    expected = guess + A.H(A(image - guess))
    for steps in (1, 2, 5, 40):
        got = conjugate_gradient(A.N, A.H(A(image)), guess, iterations=steps)
        torch.testing.assert_close(got.x, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_any_gradient_mode(mode):
    A, b = positive(), randn(3, 12)
    with mode():
        got = conjugate_gradient(A, b, iterations=30).x
    torch.testing.assert_close(A(got.clone()), b)


def test_gradients_are_those_of_the_solution():
    A, b = positive(4, 1, torch.float64), randn(1, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: conjugate_gradient(A, b, iterations=4, damping=0.1).x, b, atol=1e-4)


def test_sense_in_single_precision():
    shape, whole = (16, 15), (4, 16, 15)
    columns = torch.rand(15, generator=G) < 0.6
    maps = Coils(randn(4, *shape, dtype=torch.complex64), shape)
    A = Diagonal(columns, whole) @ Fourier(whole, (-2, -1)) @ maps
    image = randn(2, *shape, dtype=torch.complex64)
    got = conjugate_gradient(A.N, A.H(A(image)), iterations=150, tolerance=1e-6)
    torch.testing.assert_close(got.x, image, rtol=1e-3, atol=1e-3)


def test_errors():
    A, b = Identity((3,)), torch.zeros(2, 3)
    with pytest.raises(UsageError, match=r"square operator, such as A.N, got \[4\] to \[3\]"):
        conjugate_gradient(Matrix(torch.zeros(3, 4)), b, iterations=1)
    with pytest.raises(UsageError, match=r"expected \[batch, 3\] for the right side"):
        conjugate_gradient(A, torch.zeros(2, 4), iterations=1)
    with pytest.raises(UsageError, match=r"expected x0 shaped like b, \[2, 3\], got \[1, 3\]"):
        conjugate_gradient(A, b, torch.zeros(1, 3), iterations=1)
    for option in ({"iterations": -1}, {"iterations": 1, "tolerance": -1.0}, {"iterations": 1, "damping": -1.0}):
        with pytest.raises(UsageError, match="iterations, tolerance and damping >= 0"):
            conjugate_gradient(A, b, **option)
    with pytest.raises(UsageError, match="one damping or one per item, 2, got 3"):
        conjugate_gradient(A, b, iterations=1, damping=torch.ones(3))
    with pytest.raises(UsageError, match="expected b to be complex"):
        conjugate_gradient(Diagonal(torch.ones(3, dtype=torch.complex64), (3,)), b, iterations=1)
