"""The energy score: its definition, that it is proper, and that it teaches a law from draws."""

import pytest
import torch

from fewstep.core import paths
from fewstep.core.distill.energy import EnergyScore, energy_score
from fewstep.core.distill.recipe import Items, Nets
from fewstep.core.distill.reflow import Ends
from fewstep.core.errors import UsageError

PATH = paths.rectified_flow()


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _nets(student):
    return Nets(student, student, student)


def test_it_is_its_definition():
    x, *answers = torch.randn(4, 5, 3, generator=_generator(), dtype=torch.float64)
    two = lambda z: [z, 2 * z[:, :1]]  # noqa: E731
    far = lambda a, b: (a - b).norm(dim=1) + 2 * (a - b)[:, 0].abs()  # noqa: E731
    expected = sum(far(a, x) for a in answers) / 3
    expected -= (far(answers[0], answers[1]) + far(answers[0], answers[2]) + far(answers[1], answers[2])) / 6
    torch.testing.assert_close(energy_score(answers, x, features=two, floor=0.0), expected)


def test_it_is_least_where_the_answers_have_the_datas_law():
    draw = torch.randn(3, 200_000, 1, generator=_generator(), dtype=torch.float64)
    truth = 0.3 + 0.7 * draw[0]
    score = lambda mean, std: energy_score([mean + std * z for z in draw[1:]], truth).mean()  # noqa: E731
    least = score(0.3, 0.7)
    assert all(score(*law) > least + 1e-4 for law in ((0.4, 0.7), (0.2, 0.7), (0.3, 0.8), (0.3, 0.6), (0.3, 0.0)))
    mean, std = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.3, 0.7))
    at_truth = torch.autograd.grad(score(mean, std), (mean, std))
    assert max(abs(float(g)) for g in at_truth) < 5e-3
    shrunk = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(score(0.3, shrunk), shrunk)[0] < -0.1  # answers are kept apart


def test_equal_answers_have_a_gradient_that_is_finite():
    x = torch.zeros(2, 3)
    answers = [torch.zeros(2, 3, requires_grad=True) for _ in range(2)]
    energy_score(answers, x).sum().backward()
    assert all(torch.isfinite(a.grad).all() for a in answers)


def test_a_student_learns_a_conditional_law_without_a_teacher():
    """Data of either of two labels: mean ±1, deviation 0.2 and 0.6."""
    torch.manual_seed(0)
    mean, std = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.full((2,), 0.05))
    optimizer, generator = torch.optim.Adam([mean, std], 0.03), _generator()
    recipe = EnergyScore(draws=3)
    for _ in range(400):
        label = torch.randint(2, (256,), generator=generator)
        x0 = (2 * label - 1 + torch.tensor([0.2, 0.6])[label] * torch.randn(256, generator=generator))[:, None]

        def student(x, t, label=label):
            assert (t == 1).all()
            return mean[label, None] + std[label, None] * x

        loss = recipe.loss(_nets(student), PATH, Items(x0), generator)
        assert loss.shape == (256,)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    torch.testing.assert_close(mean.detach(), torch.tensor([-1.0, 1.0]), rtol=0, atol=0.08)
    torch.testing.assert_close(std.detach().abs(), torch.tensor([0.2, 0.6]), rtol=0, atol=0.08)


def test_padding_is_not_seen():
    mask = torch.tensor([[1.0, 1.0, 0.0]])

    def student(x, t):
        assert (x[:, 2] == 0).all()
        return x + torch.tensor([[0.0, 0.0, 9.0]]) * t[:, None]

    scores = []
    for last in (0.0, 5.0):
        items = Items(torch.tensor([[0.1, 0.2, last]]), mask=mask)
        scores.append(EnergyScore(weight=2.0).loss(_nets(student), PATH, items, _generator()))
    torch.testing.assert_close(*scores)
    assert scores[0] < 4


def test_batches_of_data_are_learnt_from_beside_trajectories():
    student = lambda x, t: x  # noqa: E731
    beside, x0 = EnergyScore(), torch.zeros(4, 2)
    both = Ends(beside=beside)
    data = both.loss(_nets(student), PATH, Items(x0), _generator())
    torch.testing.assert_close(data, beside.loss(_nets(student), PATH, Items(x0), _generator()))
    items = Items(x0, eps=torch.ones(4, 2), t=torch.ones(4))
    torch.testing.assert_close(both.loss(_nets(student), PATH, items, _generator()), torch.ones(4))
    with pytest.raises(UsageError, match="pairs"):
        Ends().loss(_nets(student), PATH, Items(x0), _generator())


def test_one_answer_is_too_few():
    with pytest.raises(UsageError, match="at least 2 draws, got 1"):
        EnergyScore(draws=1)
    with pytest.raises(UsageError, match="at least 2, got 1"):
        energy_score([torch.zeros(2, 3)], torch.zeros(2, 3))
