import pytest
import torch
from torch.nn import functional

from fewstep.core import rng
from fewstep.three_d.models.sparse import Cells, SparseResBlock, SubMConv3d, pooled


def scattered(counts=(60, 0, 31), side=6, seed=0):
    found = []
    for item, count in enumerate(counts):
        order = torch.randperm(side**3, generator=rng.generator(seed, item))[:count]
        found.append(torch.stack([order // side**2, order // side % side, order % side], 1))
    item = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Cells(item, torch.cat(found))


def on_grid(x, cells, batch, side):
    dense = x.new_zeros(batch, side, side, side, x.shape[1])
    dense[cells.item, cells.coords[:, 0], cells.coords[:, 1], cells.coords[:, 2]] = x
    return dense.movedim(-1, 1)


def off_grid(dense, cells):
    return dense.movedim(1, -1)[cells.item, cells.coords[:, 0], cells.coords[:, 1], cells.coords[:, 2]]


def conv(wide, out, dtype=torch.float64):
    layer = SubMConv3d(wide, out).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng.generator(1)))
        layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng.generator(2)))
    return layer


@pytest.mark.parametrize("counts", [(60, 0, 31), (216,), (1,), (0, 2)])
def test_convolution_is_the_dense_one_seen_from_the_cells(counts):
    cells, layer = scattered(counts), conv(3, 5)
    x = torch.randn(len(cells.item), 3, generator=rng.generator(3), dtype=torch.float64, requires_grad=True)
    want = functional.conv3d(
        on_grid(x, cells, len(counts), 6), layer.weight.permute(0, 4, 1, 2, 3), layer.bias, padding=1
    )
    got, want = layer(x, cells), off_grid(want, cells)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    pull = torch.randn(got.shape, generator=rng.generator(4), dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((y * pull).sum(), (x, layer.weight), retain_graph=True) for y in (got, want))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)


def test_neighbours_do_not_cross_items_or_borders():
    cells = Cells(torch.tensor([0, 0, 1]), torch.tensor([[0, 0, 5], [0, 1, 0], [0, 0, 4]]))
    assert sum(len(here) for here, _ in cells.pairs) == 3  # each its own neighbour alone


def test_pairs_go_both_ways():
    cells = scattered()
    for forth, back in zip(cells.pairs, reversed(cells.pairs), strict=True):
        assert {(a.item(), b.item()) for a, b in zip(*forth, strict=True)} == {
            (b.item(), a.item()) for a, b in zip(*back, strict=True)
        }


def test_half_the_resolution_and_back():
    cells = scattered()
    coarse, parent = cells.halved()
    assert torch.equal(coarse.coords[parent], cells.coords // 2)
    assert torch.equal(coarse.item[parent], cells.item)
    assert len({(i.item(), *c.tolist()) for i, c in zip(coarse.item, coarse.coords, strict=True)}) == len(coarse.item)
    values = torch.randn(len(coarse.item), 3, generator=rng.generator(0))
    children = torch.bincount(parent)[:, None]
    back = pooled(values[parent], parent, len(coarse.item))
    torch.testing.assert_close(back, values * children / (children + 1))


def test_pooling_counts_the_zero_it_starts_from():
    got = pooled(torch.tensor([[2.0], [4.0], [9.0]]), torch.tensor([0, 0, 1]), 2)
    assert torch.equal(got, torch.tensor([[2.0], [4.5]]))  # (2 + 4) / 3 and 9 / 2, as the official layer


def test_padding_and_packing():
    cells = scattered((3, 0, 5))
    values = torch.arange(8.0)[:, None] + 1
    padded, mask = cells.padded(values, 3)
    assert padded.shape == (3, 5, 1)
    assert mask.sum(1).tolist() == [3, 0, 5]
    assert torch.equal(padded[mask], values)
    assert not padded[~mask].any()
    coords, _ = cells.padded(cells.coords, 3)
    again = Cells.of(coords, mask)
    assert torch.equal(again.item, cells.item)
    assert torch.equal(again.coords, cells.coords)


def test_a_block_is_its_skip_at_first():
    cells = scattered()
    block = SparseResBlock(8, 16, 8)
    x = torch.randn(len(cells.item), 8, generator=rng.generator(0))
    assert torch.equal(block(x, torch.zeros(3, 16), cells), x)
