"""Loose parts are joined by rods where the gap is narrow, and only there."""

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d.lattice import Field
from fewstep.three_d.mesh.bridge import bridged
from fewstep.three_d.mesh.clean import volumes
from fewstep.three_d.mesh.isosurface import isosurface
from tests.three_d.solids import ball, tint

R = 48


def broken(*gaps, r=R):
    """A ball and further balls in a row beside it, at these distances in samples; distances in units of 5 samples."""
    sdf, end = ball(0.15, r, at=(-0.3, 0, 0)), -0.15
    for gap in gaps:
        centre = end + gap / r + 0.06
        sdf, end = np.minimum(sdf, ball(0.06, r, at=(centre, 0, 0))), centre + 0.06
    return Field((sdf * r / 5).clip(-1, 1).astype(np.float32), tint(r).astype(np.float32))


def parts(field):
    return len(volumes(isosurface(field.sdf, field.colour)))


@pytest.mark.parametrize(("gaps", "before", "after"), [((3,), 2, 1), ((3, 3), 3, 1), ((15,), 2, 2), ((3, 15), 3, 2)])
def test_narrow_gaps_are_closed(gaps, before, after):
    field = broken(*gaps)
    mended, joined = bridged(field, unit=5.0)
    assert (parts(field), parts(mended), joined) == (before, after, before - after)
    assert isosurface(mended.sdf, mended.colour).watertight


def test_what_is_far_from_the_gap_stays():
    field = broken(3)
    mended, _ = bridged(field, unit=5.0)
    changed = np.argwhere((mended.sdf < 0) != (field.sdf < 0))
    assert 0 < len(changed) < 80
    middle = (np.array([-0.15 + 1.5 / R, 0, 0]) + 0.5) * R - 0.5
    assert np.abs(changed - middle).max() < 6
    assert (mended.sdf <= field.sdf).all()
    away = np.abs(np.stack(np.indices(field.sdf.shape), -1) - middle).max(-1) > 8
    assert np.array_equal(mended.sdf[away], field.sdf[away])
    assert np.array_equal(mended.colour[away], field.colour[away])


def test_rods_have_the_colours_of_their_ends():
    field = broken(5)
    x = np.arange(R)[:, None, None, None] / R - 0.5
    left, right = np.array([1, 0, 0], np.float32), np.array([0, 0, 1], np.float32)
    painted = Field(field.sdf, np.where(x < -0.1, left, right).astype(np.float32) * np.ones((R, R, R, 1), np.float32))
    mended, joined = bridged(painted, unit=5.0, gap=0.2)
    new = (mended.sdf < 0) & (field.sdf >= 0)
    assert joined == 1
    assert {tuple(colour) for colour in mended.colour[new]} == {(1, 0, 0), (0, 0, 1)}


def test_the_smaller_a_crumb_the_narrower_the_gap_that_is_closed():
    near, far = broken(3), broken(9)  # the small ball has 6 % of the volume
    told = [[bridged(field, unit=5.0, share=share)[1] for field in (near, far)] for share in (0.02, 0.5, 0.9)]
    assert told == [[1, 1], [1, 0], [0, 0]]


def test_a_whole_shape_is_untouched():
    field = broken(3)
    assert bridged(field, unit=5.0, gap=0)[0] is field
    whole = broken()
    assert bridged(whole, unit=5.0)[0] is whole
    empty = Field(np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8, 3), np.float32))
    assert bridged(empty, unit=5.0) == (empty, 0)
    with pytest.raises(UsageError, match="a gap of at least 0"):
        bridged(field, unit=5.0, gap=-1)
