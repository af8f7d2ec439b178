"""Drifting: balance where laws agree, pull and push, and a law learnt from groups."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill.drifting import Drifting, forces
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.errors import UsageError

PATH = paths.rectified_flow()


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _direction(x, y, temperature=0.2):
    pull, push = forces(torch.cdist(x, y), torch.cdist(x, x), temperature=temperature)
    return pull @ y - push @ x


def test_pull_and_push_balance_in_each_row():
    x, y = (torch.randn(n, 3, generator=_generator(n), dtype=torch.float64) for n in (6, 9))
    pull, push = forces(torch.cdist(x, y), torch.cdist(x, x), temperature=0.3)
    torch.testing.assert_close(pull.sum(1), push.sum(1))
    assert float(pull.sum(1).mean()) == pytest.approx(1)
    assert (push.diagonal() == 0).all()
    moved = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(_direction(x + moved, y + moved), _direction(x, y))


def test_it_is_its_definition():
    """Written out for one answer: the sums over pairs of a datum and another answer."""
    x, y = (torch.randn(n, 2, generator=_generator(n), dtype=torch.float64) for n in (3, 4))
    apart, between = torch.cdist(x, y), torch.cdist(x, x)
    raw = torch.exp(-torch.cat([apart, between], 1) / (0.5 * apart.mean()))
    raw[:, 4:] *= 1 - torch.eye(3, dtype=torch.float64)
    k = (raw / raw.sum(1, keepdim=True) * raw / raw.sum(0)).sqrt()
    v = torch.zeros(3, 2, dtype=torch.float64)
    for i in range(3):
        for p in range(4):
            for q in range(3):
                v[i] += k[i, p] * k[i, 4 + q] * (y[p] - x[q])
    total = sum(float(k[i, :4].sum() * k[i, 4:].sum()) for i in range(3)) / 3
    torch.testing.assert_close(_direction(x, y, 0.5), v / total)


def test_its_mean_is_zero_where_the_laws_agree_and_not_elsewhere():
    generator = _generator()
    draw = lambda n: torch.randn(n, 2, generator=generator, dtype=torch.float64)  # noqa: E731
    same = torch.stack([_direction(draw(32), draw(32)).mean(0) for _ in range(300)])
    assert (same.mean(0).abs() < 4 * same.std(0) / 300**0.5).all()
    away = torch.stack([_direction(draw(32) + torch.tensor([1.0, 0.0]), draw(32)).mean(0) for _ in range(300)])
    assert away.mean(0)[0] < -0.2
    narrow = [(_direction(x, draw(32)) * x).sum(1).mean() for x in (0.3 * draw(32) for _ in range(300))]
    assert torch.stack(narrow).mean() > 0  # outwards: answers that are too much alike are pushed apart


def test_the_gradient_is_the_direction():
    generator = _generator()
    x0, near = torch.zeros(8, 2), torch.randn(2, 16, 2, generator=generator)
    answers = torch.randn(8, 2, generator=generator, requires_grad=True)
    student = lambda x, t: answers  # noqa: E731
    loss = Drifting((0.2,)).loss(Nets(student, student, student), PATH, Items(x0, near=near), _generator())
    assert loss.shape == (8,)
    (gradient,) = torch.autograd.grad(loss.sum(), answers)
    for group in range(2):
        rows = slice(4 * group, 4 * group + 4)
        expected = _direction(answers[rows].detach() / 2**0.5, near[group] / 2**0.5)
        torch.testing.assert_close(gradient[rows], -expected / 2**0.5)
        torch.testing.assert_close(loss[rows].detach(), expected.square().sum(1) / 2)


def test_what_is_carried_moves_by_its_handle():
    class Chances:
        def __call__(self, x):
            return [x.sigmoid()]

        def carried(self, x):
            return self(x), [(x.sigmoid(), x)]

    generator = _generator()
    logits = torch.randn(6, 3, generator=generator, requires_grad=True)
    near = torch.randn(1, 5, 3, generator=generator) * 4
    student = lambda x, t: logits  # noqa: E731
    recipe = Drifting((0.3,), features=Chances(), weight=2.0)
    loss = recipe.loss(Nets(student, student, student), PATH, Items(torch.zeros(6, 3), near=near), _generator())
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, -2 * _direction(logits.detach().sigmoid(), near[0].sigmoid(), 0.3))


def test_a_student_learns_two_modes_from_one_and_keeps_both():
    """A line of answers around zero becomes two clusters; a regression would stay between them."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer, generator = torch.optim.Adam(net.parameters(), 1e-2), _generator()
    student = lambda x, t: net(x)  # noqa: E731

    def data(*shape):
        side = torch.randint(2, shape, generator=generator) * 2 - 1
        return side + 0.1 * torch.randn(shape, generator=generator)

    recipe = Drifting()
    for _ in range(800):
        items = Items(torch.zeros(64, 1), near=data(4, 48, 1))
        loss = recipe.loss(Nets(student, student, student), PATH, items, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = net(torch.randn(4000, 1, generator=generator))[:, 0]
    assert 0.4 < float((found > 0).float().mean()) < 0.6
    assert float(((found.abs() - 1).abs() < 0.3).float().mean()) > 0.8


def test_batches_without_groups_are_refused():
    student = lambda x, t: x  # noqa: E731
    nets, x0 = Nets(student, student, student), torch.zeros(6, 2)
    for near in (None, torch.zeros(4, 3, 2), torch.zeros(6, 3, 2)):
        with pytest.raises(UsageError, match="needs groups of at least 2 items"):
            Drifting().loss(nets, PATH, Items(x0, near=near), _generator())
    with pytest.raises(UsageError, match="no padded items"):
        Drifting().loss(nets, PATH, Items(x0, near=torch.zeros(3, 3, 2), mask=torch.ones(6, 2)), _generator())
    for temperatures in ((), (0.1, 0.0)):
        with pytest.raises(UsageError, match="positive temperatures"):
            Drifting(temperatures)
