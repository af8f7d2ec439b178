"""Rows from any earlier state, written in terms of the newest one: the table walks through the same states."""

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample
from fewstep.core.solvers.recorder import Recorder
from fewstep.core.solvers.stages import look_up

PATH = paths.edm()
TIMES = [3.0, 2.0, 2.5, 1.0, 1.0, 0.4, 0.2]


@pytest.mark.parametrize("seed", range(6))
def test_any_base(seed):
    draw = np.random.default_rng(seed)
    k = look_up(PATH, TIMES)
    mix = draw.normal(size=(len(TIMES), 2))
    rows = Recorder(PATH, "random", k, mix)
    x = np.array([[0.7, -1.1]])
    states, answers = [x], []
    for i in range(len(TIMES) - 1):
        answers.append(mix[i, 0] * states[i] + mix[i, 1] * np.tanh(states[i]))
        base = int(draw.integers(0, i + 1))
        of_base, weights = draw.normal() + 2, {j: draw.normal() for j in range(i + 1) if draw.random() < 0.6}
        assert rows.newest == i
        rows.row(i + 1, i, of_base, weights, base=base)
        states.append(of_base * states[base] + sum(w * answers[j] for j, w in weights.items()))
    table = rows.table()
    np.testing.assert_allclose(table.times, TIMES)
    seen = []
    out = sample(
        lambda x, t: torch.tanh(x),
        PATH,
        solver=table,
        x=torch.from_numpy(x.copy()),
        callback=lambda info: seen.append(info.x.clone()),
    )
    np.testing.assert_allclose(out.x, states[-1], rtol=1e-8, atol=1e-8)
    for got, expected in zip(seen, states[1:], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8)


def test_noise_between_is_refused():
    rows = Recorder(PATH, "noisy", look_up(PATH, TIMES), np.tile([0.0, 1.0], (len(TIMES), 1)))
    rows.row(1, 0, 1.0, {0: 0.5}, noise=0.3)
    rows.row(3, 0, 1.0, {1: 0.5}, base=0)
    with pytest.raises(AssertionError, match="no noise may have been drawn since"):
        rows.table()
