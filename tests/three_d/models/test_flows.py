import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from fewstep.core import rng
from fewstep.core.errors import UsageError
from fewstep.three_d.models.attention import _ragged, attend, placed, rotated, rotations
from fewstep.three_d.models.blocks import plain_norm
from fewstep.three_d.models.slat_flow import SlatFlow
from fewstep.three_d.models.structure_flow import StructureFlow

SMALL = {"model_channels": 32, "cond_channels": 24, "num_blocks": 2, "num_heads": 2}
SPARSE = {"resolution": 8, "in_channels": 4, "out_channels": 4, **SMALL}
IO = {"patch_size": 2, "io_block_channels": [16]}
KINDS = [
    {},
    {"pe_mode": "rope"},
    {"share_mod": True, "qk_rms_norm_cross": True},
    IO,
    IO | {"use_skip_connection": False},
]


def filled(net, seed=0):
    """Random weights everywhere: as built the answer is 0, and every fault would pass."""
    generator = rng.generator(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1 + ("gamma" in name) * 1.0)
    return net


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=rng.generator(seed, 1), dtype=dtype)


def ragged(counts=(23, 9, 40), side=8):
    grid = torch.cartesian_prod(*[torch.arange(side)] * 3)
    coords = torch.zeros(len(counts), max(counts), 3, dtype=torch.long)
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    for item, count in enumerate(counts):
        near = (grid - side / 2).pow(2).sum(1).argsort(stable=True)[: 2 * count]
        coords[item, :count] = grid[near[torch.randperm(2 * count, generator=rng.generator(item))[:count]]]
    return coords, mask


def sparse_inputs(dtype=torch.float32, **options):
    coords, mask = ragged(**options)
    x = normal(*mask.shape, 4, dtype=dtype) * mask[..., None]
    return x, torch.linspace(0.1, 1, len(x), dtype=dtype), normal(len(x), 5, 24, seed=1, dtype=dtype), coords, mask


@pytest.mark.parametrize("options", [{}, {"pe_mode": "rope"}, {"patch_size": 2}, {"share_mod": True}])
def test_a_dense_flow_starts_at_zero_and_learns_everywhere(options):
    net = StructureFlow(resolution=4, in_channels=3, out_channels=5, **SMALL, **options)
    x, t, cond = normal(2, 3, 4, 4, 4), torch.tensor([0.2, 1.0]), normal(2, 7, 24)
    assert net(x, t, cond).shape == (2, 5, 4, 4, 4)
    assert not net(x, t, cond).any()
    filled(net)(x, t, cond).square().mean().backward()
    silent = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("options", KINDS)
def test_a_sparse_flow_starts_at_zero_and_learns_everywhere(options):
    net = SlatFlow(**SPARSE, **options)
    inputs = sparse_inputs()
    assert not net(*inputs).any()
    filled(net)(*inputs).square().mean().backward()
    silent = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("options", KINDS)
def test_an_item_alone_is_the_item_in_a_batch(options):
    net = filled(SlatFlow(**SPARSE, **options))
    x, t, cond, coords, mask = sparse_inputs()
    together = net(x, t, cond, coords, mask)
    assert not together[~mask].any()
    for item, count in enumerate(mask.sum(1)):
        one = slice(item, item + 1)
        alone = net(x[one, :count], t[one], cond[one], coords[one, :count], mask[one, :count])
        torch.testing.assert_close(alone[0], together[item, :count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("rubbish", [float("nan"), 1e30])
def test_what_lies_in_padding_is_not_read(options, rubbish):
    net = filled(SlatFlow(**SPARSE, **options))
    x, t, cond, coords, mask = sparse_inputs()
    dirty = torch.where(mask[..., None], x, rubbish).requires_grad_()
    got = net(dirty, t, cond, torch.where(mask[..., None], coords, 7), mask)
    torch.testing.assert_close(got, net(x, t, cond, coords, mask), rtol=0, atol=1e-6)
    got.square().sum().backward()
    assert dirty.grad.isfinite().all()
    assert not dirty.grad[~mask].any()
    assert all(value.grad.isfinite().all() for value in net.parameters())


@pytest.mark.parametrize("options", KINDS)
def test_the_order_of_cells_means_nothing(options):
    net = filled(SlatFlow(**SPARSE, **options))
    x, t, cond, coords, mask = sparse_inputs(counts=(20, 20))
    order = torch.randperm(20, generator=rng.generator(3))
    got = net(x[:, order], t, cond, coords[:, order], mask)
    torch.testing.assert_close(got, net(x, t, cond, coords, mask)[:, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", KINDS)
def test_an_item_without_cells_harms_nobody(options):
    net = filled(SlatFlow(**SPARSE, **options))
    x, t, cond, coords, mask = sparse_inputs()
    mask = mask & torch.tensor([True, False, True])[:, None]
    got = net(x, t, cond, coords, mask)
    got.square().sum().backward()
    assert got.isfinite().all()
    assert not got[1].any()
    assert all(value.grad.isfinite().all() for value in net.parameters())


def test_a_full_grid_of_cells_is_the_dense_flow():
    """The same weights answer the same on all cells of a grid, in either form."""
    dense = filled(StructureFlow(resolution=4, in_channels=4, out_channels=4, **SMALL))
    sparse = SlatFlow(**SPARSE)
    sparse.load_state_dict({k: v for k, v in dense.state_dict().items() if k != "pos_emb"})
    x, t, cond = normal(2, 4, 4, 4, 4), torch.tensor([0.3, 0.8]), normal(2, 7, 24)
    coords = torch.cartesian_prod(*[torch.arange(4)] * 3).expand(2, -1, -1)
    got = sparse(x.flatten(2).transpose(1, 2), t, cond, coords, torch.ones(2, 64, dtype=torch.bool))
    torch.testing.assert_close(got.transpose(1, 2).reshape(x.shape), dense(x, t, cond), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", KINDS)
def test_double_precision_agrees_with_single(options):
    net = filled(SlatFlow(**SPARSE, **options))
    single = net(*sparse_inputs())
    x, t, cond, coords, mask = sparse_inputs()
    double = net.double()(x.double(), t.double(), cond.double(), coords, mask)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=3e-4)


@pytest.mark.parametrize("options", KINDS)
def test_half_precision_is_near(options):
    net = filled(SlatFlow(**SPARSE, **options))
    inputs = sparse_inputs()
    exact = net(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = net(*inputs)
    x, t, cond, coords, mask = inputs
    half = net.bfloat16()(x.bfloat16(), t, cond.bfloat16(), coords, mask)
    assert half.dtype == torch.bfloat16
    for got in (near, half):
        assert (got.float() - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("options", [{}, IO, {"share_mod": True}])
def test_keys_made_once_answer_the_same_bits(options):
    net = filled(SlatFlow(**SPARSE, **options))
    x, t, cond, coords, mask = sparse_inputs()
    kept = net.keys(cond)
    for time in (t, t / 2):
        assert torch.equal(net(x, time, kept, coords, mask), net(x, time, cond, coords, mask))
    dense = filled(StructureFlow(resolution=2, in_channels=4, out_channels=4, **SMALL))
    assert torch.equal(dense(x[:, :8].reshape(3, 4, 2, 2, 2), t, dense.keys(cond)),
                       dense(x[:, :8].reshape(3, 4, 2, 2, 2), t, cond))  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on its first jvp
def test_forward_mode_derivative_of_a_flow():
    """dv/dt along a direction, as continuous-time distillation asks for it, is the difference quotient's limit."""
    net = filled(StructureFlow(resolution=2, in_channels=4, out_channels=4, **SMALL)).double()
    x, t, cond = (normal(2, *s, dtype=torch.float64) for s in ((4, 2, 2, 2), (), (5, 24)))
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        x, t = x, t.abs().clamp(0.1, 0.9)
        _, slope = torch.func.jvp(lambda x, t: net(x, t, cond), (x, t), (x, torch.zeros_like(t)))
        step = 1e-5
        quotient = (net(x + step * x, t, cond) - net(x - step * x, t, cond)) / (2 * step)
    torch.testing.assert_close(slope, quotient, rtol=1e-4, atol=1e-6)


def test_times_are_of_size_one():
    net = filled(StructureFlow(resolution=2, in_channels=4, out_channels=4, **SMALL))
    x, cond = normal(1, 4, 2, 2, 2).expand(3, -1, -1, -1, -1), normal(1, 5, 24).expand(3, -1, -1)
    near, same, far = net(x, torch.tensor([0.5, 0.5, 0.9]), cond)
    assert torch.allclose(near, same, atol=1e-6)
    assert (near - far).abs().max() > 1e-2


def test_turning_depends_on_differences_only():
    q, k = normal(1, 2, 5, 32), normal(1, 2, 5, 32, seed=1)
    coords = torch.randint(0, 6, (5, 3), generator=rng.generator(0))
    scores = [rotated(q, r) @ rotated(k, r).mT for r in (rotations(coords, 32), rotations(coords + 9, 32))]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4)
    assert torch.equal(rotated(q, rotations(coords, 32))[..., 30:], q[..., 30:])  # two channels are left over


def test_places_tell_cells_apart():
    places = placed(torch.cartesian_prod(*[torch.arange(16)] * 3), 64)
    assert torch.equal(places[:, 60:], torch.zeros(4096, 4))
    assert torch.cdist(places, places).add(torch.eye(4096)).min() > 0.1


def test_attention_over_nothing_is_finite():
    q, mask = normal(2, 2, 3, 8), torch.tensor([[True, False, True], [False, False, False]])
    got = attend(q, q, q, mask)
    torch.testing.assert_close(got[:1], attend(q[:1, :, :], q[:1, :, ::2], q[:1, :, ::2]))
    assert got.isfinite().all()


def test_the_ragged_kernel_is_given_what_it_expects(monkeypatch):
    """FlashAttention is asked for packed tokens and their ends; a stand-in attends item by item."""

    def attention(q, k, v, ends, k_ends, longest, k_longest):
        assert (ends.dtype, longest, k_longest) == (torch.int32, 40, 40)
        assert torch.equal(ends, k_ends)
        parts = (slice(a, b) for a, b in pairwise(ends.tolist()))
        return torch.cat([attend(*(x[p].transpose(0, 1)[None] for x in (q, k, v)))[0].transpose(0, 1) for p in parts])

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_varlen_func=attention))
    _, mask = ragged()
    q, k, v = (normal(3, 2, 40, 8, seed=seed) for seed in range(3))
    want = attend(q, k, v, mask) * mask[:, None, :, None]
    torch.testing.assert_close(_ragged(q, k, v, mask), want, rtol=0, atol=1e-6)


def test_the_norm_keeps_types():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert plain_norm(normal(2, 8).to(dtype)).dtype == dtype


def test_bad_options():
    with pytest.raises(UsageError, match="resolution 5 is no multiple of patch_size 2"):
        StructureFlow(resolution=5, patch_size=2)
    with pytest.raises(UsageError, match="expected pe_mode 'ape' or 'rope', got 'sine'"):
        StructureFlow(pe_mode="sine")
    with pytest.raises(UsageError, match="expected pe_mode 'ape' or 'rope', got 'sine'"):
        SlatFlow(pe_mode="sine")
    with pytest.raises(UsageError, match=r"patch_size 4 needs 4 = 2\^n"):
        SlatFlow(patch_size=4, io_block_channels=[16])
    with pytest.raises(UsageError, match=r"num_heads 3 does not divide model_channels 32"):
        SlatFlow(**(SPARSE | {"num_heads": 3}))
    net = StructureFlow(resolution=4, **SMALL)
    with pytest.raises(UsageError, match=r"expected latents \[batch, 8, 4, 4, 4\], got \[1, 8, 2, 2, 2\]"):
        net(torch.zeros(1, 8, 2, 2, 2), torch.ones(1), torch.zeros(1, 3, 24))
