import warnings

import numpy as np
import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri.physics import masks
from fewstep.mri.physics.acs import Region, find_acs
from fewstep.mri.physics.masks import KINDS, make
from fewstep.mri.physics.masks_2d import poisson

FASTMRI = {
    "random": "RandomMaskFunc",
    "equispaced": "EquiSpacedMaskFunc",
    "equispaced_fraction": "EquispacedMaskFractionFunc",
    "magic": "MagicMaskFunc",
    "magic_fraction": "MagicMaskFractionFunc",
}


def theirs(kind, columns, acceleration, fraction, seed, offset=None):
    pytest.importorskip("fastmri")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastmri.data import subsample
    mask, _ = getattr(subsample, FASTMRI[kind])([fraction], [acceleration])((1, columns, 2), offset, seed)
    return mask.reshape(1, columns) > 0


@pytest.mark.parametrize("seed", [0, 5, (102, 105, 108, 101)])
@pytest.mark.parametrize(
    "columns, acceleration, fraction", [(368, 4, 0.08), (372, 8, 0.04), (129, 4, 0.08), (64, 3, 0.1)]
)
@pytest.mark.parametrize("kind", FASTMRI)
def test_against_fastmri(kind, columns, acceleration, fraction, seed):
    ours = make(kind, (10, columns), acceleration=acceleration, centre_fraction=fraction, seed=seed)
    assert torch.equal(ours, theirs(kind, columns, acceleration, fraction, seed))


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", sorted(set(FASTMRI) - {"random"}))
def test_offset_against_fastmri(kind, offset):
    ours = KINDS[kind]((10, 320), acceleration=4, centre_fraction=0.08, seed=1, offset=offset)
    assert torch.equal(ours, theirs(kind, 320, 4, 0.08, 1, offset))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    one, same, other = (make(kind, (48, 45), acceleration=4, centre_fraction=0.12, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert one.dtype is torch.bool
    assert one.shape in [(1, 45), (48, 45)]
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert find_acs(one, (48, 45)).lines >= 5


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "radial", "gaussian_lines"])
def test_keeps_the_budget(kind):
    mask = make(kind, (64, 60), acceleration=5, centre_fraction=0.1, seed=0)
    assert 5 <= mask.numel() / int(mask.sum()) < 5.5
    half = mask[..., 15:45].float().mean()
    assert half > mask.float().mean() * 1.2  # denser in the middle


def test_poisson_points_keep_their_distance():
    mask = poisson((64, 64), acceleration=6, centre_fraction=0.02, seed=0)
    points = torch.nonzero(mask).double()
    outside = points[((points - 32).norm(dim=1) > 16)]
    gaps = torch.cdist(outside, outside) + 1e9 * torch.eye(len(outside))
    assert float(gaps.min()) >= 2


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("randon", {}, "did you mean"),
        ("random", {"acceleration": 1}, "acceleration above 1"),
        ("equispaced", {"acceleration": 2.5}, "whole acceleration above 1"),
        ("magic", {"acceleration": 0}, "whole acceleration"),
        ("gaussian", {"acceleration": 0.5}, "acceleration above 1"),
        ("random", {"centre_fraction": 0.0}, "centre of at least one"),
        ("random", {"centre_fraction": 1.0}, "and not all"),
        ("equispaced_fraction", {"centre_fraction": 0.5}, "smaller centre_fraction"),
        ("magic_fraction", {"centre_fraction": 0.5}, "smaller centre_fraction"),
        ("poisson", {"centre_fraction": 0.9}, "smaller centre_fraction"),
    ],
)
def test_refuses(kind, options, message):
    with pytest.raises(UsageError, match=message):
        make(kind, (32, 40), **({"acceleration": 4, "centre_fraction": 0.1, "seed": 0} | options))


def test_all_names_are_functions():
    assert all(getattr(masks, name) is function for name, function in KINDS.items())


def columns(*sampled, n=12):
    mask = torch.zeros(1, n, dtype=torch.bool)
    mask[0, list(sampled)] = True
    return mask


def test_acs_of_columns():
    assert find_acs(columns(0, 4, 5, 6, 7, 10), (9, 12)) == Region((0, 9), (4, 8))
    assert find_acs(columns(*range(12)), (9, 12)) == Region((0, 9), (0, 12))
    assert find_acs(columns(5, 6).mT, (12, 9)) == Region((5, 7), (0, 9))


def test_acs_of_points():
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[7:13, 8:14] = True
    mask[10] = True
    assert find_acs(mask, (20, 20)) == Region((7, 13), (8, 14))


def test_acs_of_partial_fourier():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[5:, 6:11] = True
    assert find_acs(mask, (16, 16)) == Region((5, 16), (6, 11))


def test_acs_of_a_batch_is_what_all_have():
    both = torch.stack((columns(4, 5, 6, 7), columns(5, 6, 7, 8)))
    assert find_acs(both, (9, 12)).columns == (5, 8)


@pytest.mark.parametrize("sampled", [(), (0, 1), (6,), (2, 6, 10), (5, 7)])
def test_no_acs(sampled):
    with pytest.raises(UsageError, match="fully sampled centre"):
        find_acs(columns(*sampled), (9, 12))


def test_part_of_a_region():
    region = Region((0, 100), (40, 50))
    assert region.centred(24, (100, 90)) == Region((38, 62), (40, 50))
    assert Region((5, 16), (6, 11)).centred(4, (16, 16)) == Region((6, 10), (6, 10))
