"""Nets start at their base, are local up to their margin, and the chain's numbers are ResShift's."""

import math

import pytest
import torch

from fewstep.core import paths, sample, solvers, times
from fewstep.core.errors import UsageError
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.model import Restoration
from fewstep.restoration.models.base import base, fill, fill_margin
from fewstep.restoration.models.denoiser import Denoiser
from fewstep.restoration.models.regressor import Regressor

TASKS = [("sr", 4), ("sr", 2), ("denoise", 1), ("deblur", 1), ("inpaint", 1)]


def _picture(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) * 2 - 1


def _mask(task, rows, columns):
    if task != "inpaint":
        return None
    return (torch.rand(1, 1, rows, columns, generator=torch.Generator().manual_seed(5)) < 0.4).float()


@pytest.mark.parametrize("task, scale", TASKS)
def test_a_fresh_net_answers_with_its_base(task, scale):
    net = Regressor(task=task, scale=scale, fold=4, width=8, blocks=1)
    lq, mask = _picture(2, 3, 32, 64), _mask(task, 32, 64)
    start = base(task, scale, lq, mask)
    torch.testing.assert_close(net(lq, mask), start)
    far = torch.full((2,), 50.0)
    answer = Denoiser(net, width=8, blocks=1)(start + 50 * torch.randn_like(start), far, lq, mask)
    torch.testing.assert_close(answer, start, atol=1e-3, rtol=0)


@pytest.mark.parametrize("task, scale", TASKS)
def test_tiles_are_exact_beyond_the_margin(task, scale):
    model = Restoration.debug(task, scale)
    step = max(model.multiple, scale)
    near = -(-model.margin // step) * step
    side = 2 * near + 2 * step
    lq, mask = _picture(1, 3, side // scale, side // scale), _mask(task, side // scale, side // scale)
    x, t = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)), torch.tensor([0.6])
    told = model.told(lq, mask)
    whole = model.forward(x, t, lq, mask, told)
    cut = (slice(None), slice(None), slice(step, side), slice(0, side - step))
    small = (slice(None), slice(None), slice(step // scale, side // scale), slice(0, (side - step) // scale))
    part = model.forward(x[cut], t, lq[small], None if mask is None else mask[small], told)
    inner = (slice(None), slice(None), slice(near, None), slice(0, side - step - near))
    torch.testing.assert_close(part[inner], whole[cut][inner], atol=2e-6, rtol=0)
    changed = x.clone()
    changed[..., :step, :step] += 1
    moved = (model.forward(changed, t, lq, mask, told) - whole).abs().amax((0, 1))
    assert moved[step + model.margin :, step + model.margin :].max() < 1e-6
    assert moved[:step, :step].max() > 1e-4


def test_known_pixels_are_kept_and_holes_filled():
    lq, mask = torch.full((1, 3, 40, 50), 0.25), torch.zeros(1, 1, 40, 50)
    mask[..., 10:25, 12:30] = 1
    filled = fill(lq * (1 - mask) - mask, mask)
    torch.testing.assert_close(filled, lq)
    model = Restoration.debug("inpaint", 1)
    noisy = _picture(1, 3, 64, 64)
    hole = _mask("inpaint", 64, 64)
    out = model.mean(noisy, hole)
    assert torch.equal(out[:, :, hole[0, 0] == 0], noisy[:, :, hole[0, 0] == 0])
    assert fill(lq, torch.ones(1, 1, 40, 50)).abs().max() == 0
    far = fill(noisy, hole, levels=3)
    changed = noisy.clone()
    changed[..., 0] += 1
    reach = fill_margin(3) + 1
    assert torch.equal(fill(changed, hole, levels=3)[..., reach:], far[..., reach:])
    assert not torch.equal(fill(changed, hole, levels=3)[..., 1:], far[..., 1:])


def test_a_mask_is_needed_and_of_the_same_size():
    with pytest.raises(UsageError, match="needs a mask of the picture's size"):
        Restoration.debug("inpaint", 1).start(_picture(1, 3, 8, 8))
    with pytest.raises(UsageError, match="got \\[4, 4\\]"):
        Restoration.debug("inpaint", 1).start(_picture(1, 3, 8, 8), torch.zeros(1, 1, 4, 4))


def test_what_is_no_net():
    with pytest.raises(UsageError, match="fold a multiple of scale"):
        Regressor(task="sr", scale=3, fold=4)
    with pytest.raises(UsageError, match="a task of"):
        Regressor(task="dehaze")
    with pytest.raises(UsageError, match="no one-step student"):
        Restoration.debug(student=False).one(_picture(1, 3, 8, 8), _picture(1, 3, 2, 2))


def test_the_schedule_is_the_published_one():
    four = paths.resshift(2.0, 4, min_noise=0.2)
    roots = [math.sqrt(float(four.coefficients(i / 4)[1])) for i in range(1, 5)]
    assert roots == pytest.approx([0.1, 0.52010, 0.76138, 0.99], abs=1e-5)
    fifteen = paths.resshift(2.0, 15, min_noise=0.04)
    roots = [math.sqrt(float(fifteen.coefficients(i / 15)[1])) for i in range(1, 16)]
    assert roots[:3] == pytest.approx([0.02, 0.11717, 0.1763], abs=1e-4)
    assert roots[-1] == pytest.approx(0.99)


def _means_of(path):
    """Posterior of q(x_{t-1} | x_t, x0) by its definition: eta, alpha, kappa."""
    eta = [0.0] + [float(path.coefficients(i / path.n_train)[1]) for i in range(1, path.n_train + 1)]
    return eta, [0.0] + [eta[i] - eta[i - 1] for i in range(1, len(eta))]


def test_the_posterior_solver_is_resshift():
    path, kappa = paths.resshift(2.0, 4, min_noise=0.2), 2.0
    eta, alpha = _means_of(path)
    y, guess = torch.randn(1, 3, 4, 4, dtype=torch.float64), torch.randn(1, 3, 4, 4, dtype=torch.float64)
    x0 = torch.full_like(y, 0.3)
    grid = times.uniform(path, 4)
    states = []
    out = sample(
        lambda x, t: x0, path, times=grid, solver=solvers.resshift(), x=guess, y=y, seeds=[3],
        callback=lambda info: states.append(info.x.clone()),
    )  # fmt: skip
    x = guess
    for i, state in zip((4, 3, 2, 1), states, strict=True):
        mean = eta[i - 1] / eta[i] * x + alpha[i] / eta[i] * x0
        std = kappa * math.sqrt(eta[i - 1] / eta[i] * alpha[i])
        left = (state - mean) / std if std else state - mean
        assert (left.abs().max() < 1e-9) if not std else (0.5 < float(left.std()) < 1.5)
        x = state
    torch.testing.assert_close(out.x, x0)


def test_the_deterministic_step_is_kx0_mx_jy():
    path = paths.resshift(2.0, 4, min_noise=0.2)
    eta, _ = _means_of(path)
    y, x, x0 = (torch.randn(1, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    grid = times.uniform(path, 4)
    states = []
    sample(lambda x, t: x0, path, times=grid, solver=solvers.ddim(), x=x, y=y,
           callback=lambda info: states.append(info.x.clone()))  # fmt: skip
    for i, state in zip((4, 3, 2, 1), states, strict=True):
        m = math.sqrt(eta[i - 1] / eta[i])
        j = eta[i - 1] - math.sqrt(eta[i - 1] * eta[i])
        k = 1 - eta[i - 1] + math.sqrt(eta[i - 1] * eta[i]) - m
        assert k + m + j == pytest.approx(1)
        torch.testing.assert_close(state, k * x0 + m * x + j * y)
        x = state


@pytest.mark.parametrize("path", [paths.resshift(0.5, 4, min_noise=0.1), paths.ir_sde(10.0), paths.resshift(0.2, 15)])
def test_one_net_serves_every_path(path):
    from dataclasses import replace

    model = replace(Restoration.debug("sr", 4), path=path)
    lq = _picture(2, 3, 8, 8)
    y = model.start(lq)
    torch.testing.assert_close(y, imresize(lq, 4))
    x0, eps = _picture(2, 3, 32, 32), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.3, 0.7])
    a, _, s = (value.double() for value in path.coefficients(t.double()))
    direct = model.net(x0 + (s / a).float().reshape(-1, 1, 1, 1) * eps, (s / a).float(), lq)
    torch.testing.assert_close(model.forward(path.sample(x0, eps, t, y), t, lq), direct, atol=1e-4, rtol=1e-4)


def test_debug_nets_are_the_same_each_time():
    first, again = Restoration.debug("deblur", 1), Restoration.debug("deblur", 1)
    lq = _picture(1, 3, 16, 16)
    assert torch.equal(first.mean(lq), again.mean(lq))
    assert first.told(lq).shape == (1, 8)
    assert not torch.equal(first.mean(lq, None, first.told(lq)), first.mean(lq, None, 3 * first.told(lq) + 1))
