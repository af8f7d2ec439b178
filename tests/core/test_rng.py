"""Streams: reproducible, one per item, and away from the global state."""

import pytest
import torch

from fewstep.core import rng
from fewstep.core.errors import UsageError


def drawn(streams):
    return torch.stack([torch.rand(8, generator=stream) for stream in streams])


def test_item_i_depends_on_seed_and_i_only():
    assert torch.equal(drawn(rng.streams(7, 5))[:3], drawn(rng.streams(7, 3)))
    assert len(drawn(rng.streams(7, 200)).unique(dim=0)) == 200
    assert not torch.equal(drawn(rng.streams(7, 1)), drawn(rng.streams(8, 1)))


def test_seeds_are_one_stream_each():
    both = drawn(rng.seeded([3, 9]))
    assert torch.equal(both[1:], drawn(rng.seeded([9])))
    assert len(drawn(rng.seeded(range(200))).unique(dim=0)) == 200


def test_a_generator_gives_the_seed():
    first, second = (drawn(rng.streams(torch.Generator().manual_seed(s), 2)) for s in (1, 1))
    assert torch.equal(first, second)
    shared = torch.Generator().manual_seed(1)
    assert not torch.equal(drawn(rng.streams(shared, 2)), drawn(rng.streams(shared, 2)))


def test_none_is_fresh():
    assert not torch.equal(drawn(rng.streams(None, 1)), drawn(rng.streams(None, 1)))


def test_keys_make_other_streams():
    keys = [(0,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    assert len(drawn([rng.generator(*key) for key in keys]).unique(dim=0)) == len(keys)
    assert torch.equal(drawn([rng.generator(4, 2)]), drawn([rng.generator(4, 2)]))


def test_complex_noise_has_unit_variance_in_total():
    z = rng.normal((2, 50_000), rng.streams(0, 2), torch.complex64)
    assert z.dtype == torch.complex64
    assert float(z.abs().square().mean()) == pytest.approx(1, abs=0.02)
    assert float(z.real.var()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_single(dtype):
    half, single = (rng.normal((1, 9), rng.streams(0, 1), d) for d in (dtype, torch.float32))
    assert torch.equal(half, single.to(dtype))


def test_global_state_is_neither_read_nor_changed():
    before = torch.get_rng_state()
    rng.normal((2, 3), rng.streams(None, 2))
    rng.generator(3, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_errors():
    with pytest.raises(UsageError, match="at least 0, got -1"):
        rng.streams(-1, 2)
    with pytest.raises(UsageError, match="at least 0, got -2"):
        rng.seeded([1, -2])
    with pytest.raises(UsageError, match="one generator per item, 3, got 2"):
        rng.streams(rng.streams(0, 2), 3)
    with pytest.raises(TypeError, match=r"a torch\.Generator or a list of them, got str"):
        rng.streams("0", 1)
    with pytest.raises(UsageError, match="one stream per item"):
        rng.normal((3, 2), rng.streams(0, 2))
