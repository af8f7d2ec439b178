"""The methods, each with options that fit data of unit variance, and operators to measure with."""

from functools import partial

import pytest
import torch

from fewstep.core import consistency
from fewstep.core.operators import Coils, Diagonal, Fourier

SHAPE = (5, 6)
COLUMNS = torch.tensor([True, False, True, True, False, False])
METHODS = {
    "project": consistency.project,
    "prox": partial(consistency.prox, sigma_y=0.1, sigma_data=1.0),
    "dds": partial(consistency.dds, iterations=5),
    "dds, noise": partial(consistency.dds, sigma_y=0.1, sigma_data=1.0, iterations=5),
    "dps": partial(consistency.dps, zeta=0.5),
    "pigdm": partial(consistency.pigdm, sigma_data=1.0),
    "pigdm, noise": partial(consistency.pigdm, sigma_data=1.0, sigma_y=0.1),
}


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def method(name):
    return METHODS[name]


def undersampled():
    return Diagonal(COLUMNS, SHAPE) @ Fourier(SHAPE, (0, 1))


def sense():
    maps = torch.randn(3, *SHAPE, dtype=torch.complex128, generator=torch.Generator().manual_seed(9))
    return Diagonal(COLUMNS, (3, *SHAPE)) @ Fourier((3, *SHAPE), (-2, -1)) @ Coils(maps, SHAPE)


@pytest.fixture(params=[undersampled, sense], ids=["undersampled", "sense"])
def A(request):
    return request.param()
