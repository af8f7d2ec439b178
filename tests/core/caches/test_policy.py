"""Policies as lists of rows."""

import pytest
import torch

from fewstep.core.caches import Cache, Every, Gate, Newton, Scale, Schedule, Stability, Window
from fewstep.core.caches.policy import Moment
from fewstep.core.errors import UsageError


def rows(policy, count, *, told=True):
    """What a policy wants, by first letters."""
    return "".join(policy.want(Moment(row, count if told else None, 0))[0] for row in range(count))


def test_every():
    assert rows(Every(1), 4) == "cccc"
    assert rows(Every(3), 8) == "cppcppcp"
    assert rows(Every(3, warmup=2), 8) == "cccppcpp"
    assert rows(Every(4, tail=2), 8) == "cpppcpcc"


def test_a_tail_must_know_the_end():
    with pytest.raises(UsageError, match="pass times= to caches.attach"):
        rows(Every(2, tail=1), 3, told=False)


def test_schedule():
    assert rows(Schedule(6, (0, 2, 5)), 6) == "cpcppc"
    assert rows(Schedule(6, [0, 2.0, 5]), 6, told=False) == "cpcppc"


@pytest.mark.parametrize("told", [True, False])
def test_a_schedule_of_another_length(told):
    with pytest.raises(UsageError, match="schedule is for 6 rows, the run has"):
        rows(Schedule(6, (0, 2)), 7, told=told)
    if told:
        with pytest.raises(UsageError, match="the run has 5"):
            rows(Schedule(6, (0, 2)), 5)


@pytest.mark.parametrize("refresh", [(), (1, 2), (0, 2, 2), (0, 6)])
def test_bad_schedules(refresh):
    with pytest.raises(UsageError, match="increasing rows from 0 below 6"):
        Schedule(6, refresh)


def test_windows_are_stages():
    assert rows(Window(Every(2), 0, 3), 6) == "cpcooo"
    assert rows(Window(Every(2), 3), 6) == "ooocpc"
    assert rows(Window(Every(3, tail=1), 0, 5), 6) == "cppcco"


@pytest.mark.parametrize("ends", [(-1, 3), (3, 3)])
def test_bad_windows(ends):
    with pytest.raises(UsageError, match="rows 0 <= first < until"):
        Window(Every(2), *ends)


@pytest.mark.parametrize("bad", [{"interval": 0}, {"interval": 2, "warmup": -1}, {"interval": 2, "tail": -1}])
def test_bad_intervals(bad):
    with pytest.raises(UsageError, match="expected interval >= 1, warmup >= 0 and tail >= 0"):
        Every(**bad)


def test_gates_reduce_over_the_batch():
    forecast, said = torch.ones(3, 2), torch.tensor([[1.0, 1], [1.1, 1.1], [1.5, 1.5]])
    surprised = {how: Gate(0.3, reduce=how).surprised(said, forecast).tolist() for how in ("mean", "max", "sample")}
    assert surprised == {"mean": [False], "max": [True], "sample": [False, False, True]}
    assert Gate(0.4, reduce="sample", relative_to="actual").surprised(said, forecast).tolist() == [False] * 3


def test_bad_gates():
    with pytest.raises(UsageError, match="reduce out of max, sample, mean, got 'min'"):
        Gate(0.1, reduce="min")
    with pytest.raises(UsageError, match="warmup >= 1 and max_skip >= 1, got 0 and None"):
        Gate(0.1, warmup=0)
    with pytest.raises(UsageError, match=r"needs the predictor Reuse\(\)"):
        Cache("blocks", Gate(0.1, reduce="sample"), Newton(1))
    with pytest.raises(UsageError, match="it takes no correction"):
        Cache("blocks", Gate(0.1, reduce="sample"), correction=Scale({1: 0.5}))


def test_stability_looks_at_the_bend_of_each_item():
    zero, up = torch.zeros(2, 3), torch.ones(2, 3)
    policy = Stability(3, 2)
    bent, straight = (up, zero, zero), (2 * up, up, zero)  # f0, f1, f2: m = (f1 - f2) - (f0 - f1)
    assert policy.want(Moment(5, None, 0, straight)) == "predict"
    assert policy.want(Moment(5, None, 0, bent)) == "predict"  # m = -1
    assert policy.want(Moment(5, None, 0, (zero, zero, -up))) == "compute"  # m = 1
    one = torch.tensor([[0.0], [1.0]]) * up  # the second item alone would compute
    assert policy.want(Moment(5, None, 0, (zero, zero, -one))) == "compute"
    assert policy.want(Moment(2, None, 0, straight)) == "compute"
    assert policy.want(Moment(5, None, 2, straight)) == "compute"
    assert policy.want(Moment(5, None, 0, straight[:2])) == "compute"


def test_bad_stability():
    with pytest.raises(UsageError, match="warmup >= 3 and max_skip >= 1"):
        Stability(2)


def test_bad_stages():
    with pytest.raises(UsageError, match="stages >= 1, got 0"):
        Cache("blocks", Every(2), stages=0)
