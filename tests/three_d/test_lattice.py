import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.lattice import Cells, Lattice


class Ball:
    def __init__(self, radius=0.3, hole=0.0):
        self.radius, self.hole = radius, hole

    def sdf(self, points):
        far = np.linalg.norm(points, axis=1)
        return np.maximum(far - self.radius, self.hole - far) if self.hole else far - self.radius

    def colour(self, points):
        return np.clip(points + 0.5, 0, 1)


def _grid(n):
    return (np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1) + 0.5) / n - 0.5


@pytest.mark.parametrize("samples, block", [(32, 4), (24, 3), (16, 2), (16, 1)])
@pytest.mark.parametrize("hole", [0.0, 0.14])
def test_filled_cells_have_every_sample_on_its_side(samples, block, hole):
    lattice, ball = Lattice(samples, block), Ball(hole=hole)
    cells = lattice.take(ball)
    field = lattice.fill(cells)
    truth = ball.sdf(_grid(samples).reshape(-1, 3)).reshape([samples] * 3)
    np.testing.assert_array_equal(field.sdf < 0, truth < 0)


def test_active_cells_are_those_that_the_surface_touches():
    lattice, ball = Lattice(32, 4), Ball()
    inside = ball.sdf(_grid(32).reshape(-1, 3)).reshape(32, 32, 32) < 0
    touched = np.zeros((32, 32, 32), bool)
    for axis in range(3):
        edge = np.diff(inside, axis=axis)
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -1), slice(1, None)
        touched[tuple(low)] |= edge
        touched[tuple(high)] |= edge
    expected = touched.reshape(8, 4, 8, 4, 8, 4).any((1, 3, 5))
    found = np.zeros((8, 8, 8), bool)
    found[tuple(lattice.take(ball).coords.T)] = True
    np.testing.assert_array_equal(found, expected)


def test_values_are_those_of_the_solid_at_the_samples():
    lattice, ball = Lattice(32, 4), Ball()
    cells = lattice.take(ball)
    sdf, colour = lattice.scatter(cells)
    known = ~np.isnan(sdf)
    points = _grid(32)[known].astype(np.float32)
    np.testing.assert_allclose(sdf[known], np.clip(ball.sdf(points) / lattice.reach, -1, 1), atol=1e-5)
    np.testing.assert_allclose(colour[known], ball.colour(points), atol=1e-6)


def test_cells_beside_the_active_ones_take_a_colour():
    lattice = Lattice(32, 4)
    field = lattice.fill(lattice.take(Ball()))
    near = np.abs(np.linalg.norm(_grid(32), axis=3) - 0.3) < 1.5 / 32
    assert field.colour[near].min() > 0.02


def test_nothing_is_outside():
    lattice = Lattice(16, 4)
    empty = Cells(np.zeros((0, 3), np.int64), np.zeros((0, 64), np.float32), np.zeros((0, 64, 3), np.float32))
    assert (lattice.fill(empty).sdf == 1).all()
    assert len(lattice.take(Ball(radius=-1)).coords) == 0


@pytest.mark.parametrize("samples, block", [(64, 5), (0, 4), (64, 0)])
def test_sizes_that_do_not_fit_are_refused(samples, block):
    with pytest.raises(UsageError, match="multiple of block"):
        Lattice(samples, block)
