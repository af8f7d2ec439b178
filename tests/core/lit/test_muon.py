"""Muon: steps of matrices are orthogonal, others are AdamW's, and its state survives a save."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from fewstep.core.lit.muon import Muon, built, groups, orthogonal

WIDE = 64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (64, 256)])
def test_singular_values_are_brought_to_one(shape):
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator()), full_matrices=False)
    matrix = u * torch.linspace(7.0, 0.7, 64) @ v
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_singular_vectors_stay():
    u, _ = torch.linalg.qr(torch.randn(64, 64, generator=generator(1), dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(80, 64, generator=generator(2), dtype=torch.float64))
    matrix = u @ torch.diag(torch.linspace(1, 5, 64, dtype=torch.float64)) @ v.T
    inner = u.T @ orthogonal(matrix, iterations=5) @ v
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-9


def test_a_step_has_the_size_of_an_adam_step():
    value = nn.Parameter(torch.zeros(64, 256))
    value.grad = torch.randn(64, 256, generator=generator()) * 1e-3
    Muon([value], lr=1e-2, weight_decay=0.0).step()
    assert value.detach().square().mean().sqrt().item() == pytest.approx(0.2 * 1e-2, rel=0.25)


def test_groups_take_inner_layers_alone():
    module = nn.Sequential(nn.Embedding(100, WIDE), nn.Linear(WIDE, WIDE), nn.LayerNorm(WIDE), nn.Linear(WIDE, 3))
    frozen = nn.Linear(WIDE, WIDE).requires_grad_(False)
    found = groups(nn.ModuleList([module, frozen]))
    assert [id(value) for value in found[0]["params"]] == [id(module[1].weight)]
    assert len(found[1]["params"]) == 6


def test_kernels_are_matrices_of_inputs_and_taps():
    convolution = nn.Conv2d(8, WIDE, 3)
    several = [nn.Conv2d(3, WIDE, 3), nn.Conv1d(WIDE, WIDE, 7, groups=WIDE), nn.Conv2d(WIDE, 12, 3)]
    found = groups(nn.ModuleList([convolution, *several]))
    assert [id(value) for value in found[0]["params"]] == [id(convolution.weight)]
    before = convolution.weight.detach().clone()
    convolution(torch.randn(2, 8, 9, 9, generator=generator())).square().mean().backward()
    built(partial(Muon, lr=1e-2, weight_decay=0.0), convolution).step()
    moved = torch.linalg.svdvals((convolution.weight.detach() - before).flatten(1) / (0.2 * 72**0.5 * 1e-2))
    assert 0.5 < moved.min() < moved.max() < 1.3


def test_the_rest_is_moved_as_adamw_moves_it():
    ours = nn.Linear(5, 3)
    theirs = copy.deepcopy(ours)
    several = [
        built(partial(Muon, lr=3e-3, weight_decay=0.1), ours),
        torch.optim.AdamW(theirs.parameters(), lr=3e-3, weight_decay=0.1),
    ]
    x = torch.randn(16, 5, generator=generator())
    for _ in range(20):
        for net, optimizer in zip((ours, theirs), several, strict=True):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)


def test_resumed_steps_are_the_same_steps():
    def run(stop):
        net = nn.Sequential(nn.Linear(8, WIDE), nn.Linear(WIDE, WIDE), nn.Linear(WIDE, 2))
        torch.nn.init.normal_(net[1].weight, std=0.1, generator=generator(3))
        with torch.no_grad():
            for value in (net[0].weight, net[0].bias, net[1].bias, net[2].weight, net[2].bias):
                value.fill_(0.1)
        optimizer = built(partial(Muon, lr=1e-2), net)
        for step in range(8):
            if step == stop:
                states = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
                net = copy.deepcopy(net)
                optimizer = built(partial(Muon, lr=5.0), net)
                net.load_state_dict(states[0])
                optimizer.load_state_dict(states[1])
            optimizer.zero_grad()
            net(torch.randn(4, 8, generator=generator(step))).square().mean().backward()
            optimizer.step()
        return net[1].weight.detach()

    assert torch.equal(run(None), run(4))
