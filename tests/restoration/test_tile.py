"""Tiles put together equal the whole, exactly; windows cover it once; memory that runs out makes tiles smaller."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fewstep.core.errors import UsageError
from fewstep.restoration import tile
from fewstep.restoration.tile import auto_size, out_of_memory, tiled, windows


@given(
    rows=st.integers(1, 9), columns=st.integers(1, 9), size=st.integers(1, 30), margin=st.integers(0, 9),
    multiple=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_windows_cover_each_pixel_once_with_their_margin(rows, columns, size, margin, multiple):
    shape = (rows * multiple, columns * multiple)
    count = torch.zeros(shape)
    for window in windows(shape, size, margin=margin, multiple=multiple):
        count[window.keep] += 1
        for k, o, i, n in zip(window.keep, window.outer, window.inner, shape, strict=True):
            assert o.start == 0 or k.start - o.start >= margin
            assert o.stop == n or o.stop - k.stop >= margin
            assert o.start % multiple == k.start % multiple == 0
            assert (i.start + o.start, i.stop + o.start) == (k.start, k.stop)
    assert bool((count == 1).all())


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(10, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1)).double()


def forward_of(net, scale):
    def forward(x, t, lq, mask, told):
        up = lq.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        hole = mask.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        folded = nn.functional.pixel_unshuffle(torch.cat([x, up, hole], 1).sum(1, keepdim=True) * told, 2)
        lines = torch.cat([folded, folded, folded[:, :2]], 1)
        return nn.functional.pixel_shuffle(net(lines), 2)

    return forward


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 6, 10, 16, 1000])
def test_tiles_equal_the_whole(net, scale, size):
    generator = torch.Generator().manual_seed(1)
    lq = torch.randn(2, 3, 14, 18, generator=generator, dtype=torch.float64)
    mask = (torch.rand(2, 1, 14, 18, generator=generator) < 0.3).double()
    x = torch.randn(2, 3, 14 * scale, 18 * scale, generator=generator, dtype=torch.float64)
    arguments = (x, torch.tensor(0.5), lq, mask, 0.7)
    forward, seen = forward_of(net, scale), []
    options = {"scale": scale, "margin": 4, "multiple": 2, "tick": lambda n, of: seen.append((n, of))}
    with torch.no_grad():
        out = tiled(forward, size=size, **options)(*arguments)
        assert float((out - forward(*arguments)).abs().max()) < 1e-12
        assert float((tiled(forward, size=0, **options)(*arguments) - out).abs().max()) < 1e-12
    assert seen[-1] == (1, 1)
    step = max(math.lcm(2, scale), size // math.lcm(2, scale) * math.lcm(2, scale))
    if size < 14:
        expected = math.ceil(14 * scale / step) * math.ceil(18 * scale / step)
        assert [n for n, of in seen[:-1]] == list(range(1, expected + 1))


def test_too_small_a_margin_is_seen(net):
    lq, mask = torch.ones(1, 3, 16, 16).double(), torch.ones(1, 1, 16, 16).double()
    forward, x = forward_of(net, 1), torch.zeros(1, 3, 16, 16).double()
    with torch.no_grad():
        out = tiled(forward, scale=1, size=8, margin=0, multiple=2)(x, None, lq, mask, 1.0)
        assert float((out - forward(x, None, lq, mask, 1.0)).abs().max()) > 1e-3


def test_memory_that_runs_out_makes_tiles_smaller(caplog):
    shapes = []

    def forward(x, t, lq, mask, told):
        shapes.append(lq.shape[-1])
        if lq.shape[-1] > 70:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return lq

    lq = torch.rand(1, 3, 256, 256)
    call = tiled(forward, scale=1, size=0, margin=1, multiple=1)
    assert torch.equal(call(None, None, lq, None, None), lq)
    assert "going on with tiles of 64 pixels" in caplog.text
    shapes.clear()
    call(None, None, lq, None, None)
    assert max(shapes) == 66  # it remembers


def test_memory_for_no_tile_at_all_is_told():
    def forward(*_):
        raise MemoryError

    with pytest.raises(UsageError, match="out of memory even with tiles of"):
        tiled(forward, scale=1, size=256, margin=1, multiple=1)(None, None, torch.zeros(1, 3, 512, 512), None, None)


def test_other_errors_are_not_mistaken_for_it():
    def forward(*_):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        tiled(forward, scale=1, size=0, margin=1, multiple=1)(None, None, torch.zeros(1, 3, 8, 8), None, None)
    assert out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize(
    "shape, size, margin, multiple, match",
    [
        ((7, 8), 4, 1, 2, "multiples of 2"),
        ((8, 8), 0, 1, 2, "positive tile"),
        ((8, 8), 4, -1, 2, "margin of at least 0"),
    ],
)
def test_bad_windows(shape, size, margin, multiple, match):
    with pytest.raises(UsageError, match=match):
        list(windows(shape, size, margin=margin, multiple=multiple))


def test_bad_tiles():
    with pytest.raises(UsageError, match="a tile has at least 1 pixel"):
        tiled(lambda *_: None, scale=1, size=-1, margin=1, multiple=1)


def test_the_size_follows_memory():
    assert auto_size(4, available=1 << 40) == 2 * auto_size(2, available=1 << 40) == 1772
    assert auto_size(4, available=1) == 128
    assert auto_size(4, available=256 << 20) < auto_size(4, available=1 << 30)
    assert tile.free_memory() > 0
