"""What holds for every linear operator."""

import dataclasses

import pytest
import torch

from fewstep.core import operators
from fewstep.core.operators import (
    Circulant,
    Coils,
    Composition,
    Diagonal,
    Downsample,
    Fourier,
    Identity,
    Matrix,
    Stack,
    adjoint_error,
    blur,
    linearity_error,
    normal_error,
)
from fewstep.core.operators.laws import probe

ODD, EVEN, BATCH = (5, 7), (4, 6), 3
G = torch.Generator().manual_seed(3)


def randn(*shape, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=G)


def mask(*shape):
    return torch.rand(shape, generator=G) < 0.5


def sense(shape, coils=3, batch=()):
    whole = (coils, *shape)
    maps = Coils(randn(*batch, coils, *shape), shape)
    return Diagonal(mask(*batch, *[1] * len(batch), *shape), whole) @ Fourier(whole, (-2, -1)) @ maps


OPERATORS = {
    "identity": Identity(ODD),
    "diagonal": Diagonal(randn(*ODD), ODD),
    "diagonal, broadcast": Diagonal(randn(7), ODD),
    "diagonal, real": Diagonal(randn(*ODD, dtype=torch.float64), ODD),
    "diagonal, by item": Diagonal(randn(BATCH, 5, 1), ODD),
    "mask": Diagonal(mask(*EVEN), EVEN),
    "matrix": Matrix(randn(5, 8)),
    "matrix, by item": Matrix(randn(BATCH, 8, 5)),
    "fourier, odd": Fourier(ODD, (0, 1)),
    "fourier, even": Fourier(EVEN, (-2, -1)),
    "fourier, one axis": Fourier((3, 4, 5), (1,)),
    "circulant": Circulant(randn(*ODD), (0, 1), ODD),
    "circulant, by item": Circulant(randn(BATCH, *ODD), (0, 1), ODD),
    "blur": blur(randn(3, 5), (2, *ODD)),
    "blur, one axis, even kernel": blur(randn(4), EVEN),
    "coils": Coils(randn(3, *ODD), ODD),
    "coils, by item": Coils(randn(BATCH, 3, *EVEN), EVEN),
    "coils, volume": Coils(randn(2, 3, 4, 5), (3, 4, 5)),
    "downsample": Downsample((2, 6, 9), (2, 3)),
    "downsample, one axis": Downsample((9,), (3,)),
    "adjoint": Coils(randn(3, *ODD), ODD).H,
    "undersampled, odd": Diagonal(mask(*ODD), ODD) @ Fourier(ODD, (0, 1)),
    "undersampled columns": Diagonal(mask(7), ODD) @ Fourier(ODD, (0, 1)),
    "undersampled, one axis": Diagonal(mask(4, 1), (3, 4, 5)) @ Fourier((3, 4, 5), (1,)),
    "weighted, by item": Diagonal(randn(BATCH, *EVEN), EVEN) @ Fourier(EVEN, (0, 1)),
    "sense, odd": sense(ODD),
    "sense, by item": sense(EVEN, batch=(BATCH,)),
    "blurred and averaged": Downsample((6, 9), (3, 3)) @ blur(randn(3, 3), (6, 9)),
    "adjoint of sense": sense(EVEN).H,
    "diagonal of diagonal": Diagonal(randn(*ODD), ODD) @ Diagonal(randn(*ODD), ODD),
    "scaled": sense(ODD) * (2 - 0.5j),
    "product with a multiple": (Diagonal(mask(*ODD), ODD) * 3j) @ Fourier(ODD, (0, 1)),
    "negative": -Fourier(ODD, (0,)),
    "sum": sense(ODD) + sense(ODD),
    "difference": Identity(ODD) - blur(randn(3, 3), ODD),
    "stack": Stack((Fourier(ODD, (0,)), Diagonal(randn(*ODD), ODD))),
    "normal": sense(ODD).N,
}
REAL = {
    "blur, real": blur(randn(3, 4, dtype=torch.float64), ODD),
    "blurred and averaged, real": Downsample((6, 9), (3, 3)) @ blur(randn(3, 3, dtype=torch.float64), (6, 9)),
    "matrix, real": Matrix(randn(3, 4, dtype=torch.float64)),
    "mask, real": Diagonal(mask(*ODD), ODD),
}
ALL = OPERATORS | REAL
CASES = [(name, torch.complex128) for name in ALL] + [(name, torch.float64) for name in REAL]
every = pytest.mark.parametrize("name, dtype", CASES, ids=lambda value: str(value).removeprefix("torch."))
LAWS = [adjoint_error, linearity_error, normal_error]


def dense(A, items=1):
    """The operator as matrices [items, out, in], column by column."""
    n = torch.Size(A.shape_in).numel()
    columns = torch.eye(n, dtype=torch.complex128).reshape(n, 1, *A.shape_in).expand(-1, items, *A.shape_in)
    return torch.stack([A(column).flatten(1) for column in columns], dim=-1)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@every
def test_laws(name, dtype, law):
    assert law(ALL[name], dtype=dtype) < 1e-10


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", OPERATORS)
def test_laws_in_single_precision(name, law):
    A = OPERATORS[name].to(torch.zeros(0, dtype=torch.float32))
    assert A(probe(A, A.shape_in, 2, torch.complex64, 0)).dtype is torch.complex64
    assert law(A, dtype=torch.complex64) < 2e-5


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_laws_find_a_fault(law):
    class Wrong(Identity):
        """Its adjoint is another, its normal operator too, and it is not linear."""

        @property
        def H(self):
            return Diagonal(torch.full((3,), 1 + 1e-6), (3,))

        def apply(self, x):
            return x + 1e-6

    assert law(Wrong((3,))) > 1e-8


@every
def test_batch_is_loop(name, dtype):
    A = ALL[name]
    x = probe(A, A.shape_in, 3, dtype, 5)
    whole = A(x)
    for i in range(len(x)):
        alone = A(x[i : i + 1]) if A.batch is None else _item(name, i)(x[i : i + 1])
        torch.testing.assert_close(whole[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def _item(name, i):
    A = ALL[name]
    parts = [_one(part, i) for part in (A.parts if isinstance(A, Composition) else (A,))]
    return operators.compose(parts)


def _one(part, i):
    for field in ("values", "maps", "spectrum"):
        if part.batch is not None and hasattr(part, field):
            return dataclasses.replace(part, **{field: getattr(part, field)[i : i + 1]})
    return part


@every
def test_strides_do_not_matter_and_nothing_is_changed(name, dtype):
    A = ALL[name]
    x = probe(A, A.shape_in, 3, dtype, 6)
    strided = torch.stack([x, x + 1], dim=-1)[..., 0].transpose(0, -1).contiguous().transpose(0, -1)
    assert not strided.is_contiguous() or x.ndim == 1
    before = strided.clone()
    torch.testing.assert_close(A(strided), A(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(A.N(strided), A.N(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(strided, before)


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("name", ALL)
def test_closed_inverses_are_those_of_the_matrix(name, damping):
    A = ALL[name]
    closed = A.ridge(damping)
    if closed is None:
        assert "sense" in name or name in ("sum", "difference", "stack", "normal", *HAVE_NONE)
        return
    matrix = dense(A, A.batch or 1)
    if damping:
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
        expected = torch.linalg.solve(matrix.mH @ matrix + damping * eye, matrix.mH)
    else:
        expected = torch.linalg.pinv(matrix, rtol=1e-9)
    torch.testing.assert_close(dense(closed, A.batch or 1), expected, rtol=1e-8, atol=1e-8)


HAVE_NONE = (
    "adjoint",
    "blurred and averaged",
    "blurred and averaged, real",
    "diagonal of diagonal",
    "scaled",
    "product with a multiple",
)


@pytest.mark.parametrize(
    "name", ["identity", "diagonal", "matrix, by item", "undersampled, odd", "coils", "downsample"]
)
def test_one_damping_per_item(name):
    A = ALL[name]
    y = probe(A, A.shape_out, 3, torch.complex128, 7)
    dampings = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    together = A.ridge(dampings)(y)
    for i, damping in enumerate(dampings.tolist()):
        torch.testing.assert_close(together[i], A.ridge(damping)(y)[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_isometries_are_what_they_say(name):
    A = ALL[name]
    for B, c in ((A, A.isometry), (A.H, A.coisometry)):
        if c is not None:
            x = probe(B, B.shape_in, 2, torch.complex128, 8)
            torch.testing.assert_close(B.H(B(x)), c * x)
