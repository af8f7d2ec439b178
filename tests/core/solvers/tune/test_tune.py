"""Solvers that learn: known optima are found, nothing gets worse, and tables serve what they were tuned for only."""

import dataclasses

import numpy as np
import pytest
import torch

from fewstep.core import paths, sample, solvers
from fewstep.core.errors import UsageError
from fewstep.core.solvers import tune
from fewstep.core.solvers.tune import (
    compensation,
    evolution,
    fingerprint,
    gradient,
    grid,
    load,
    save,
    schedule,
    statistics,
    weights,
)
from fewstep.core.solvers.tune.compensation import compensated
from fewstep.core.solvers.tune.evolution import Angles
from fewstep.core.solvers.tune.follow import follow
from fewstep.core.solvers.tune.schedule import Decisions

PATH = paths.vp_linear()
STD = torch.tensor([2.0, 0.9, 0.3, 0.1], dtype=torch.float64)
BASE = solvers.default(sigma_data=0.5, scale=0.5)


VARIANCE = STD.square()


def gaussian(x, t, variance=VARIANCE):
    """The denoiser of N(0, diag variance)."""
    a, _, s = PATH.coefficients(t.double())
    return x * a * variance / (a * a * variance + s * s)


def starts(n=24, seed=0):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tuned(method, *, steps=4, **options):
    return tune(gaussian, PATH, steps=steps, x=starts(), start=BASE, method=method, **options)


METHODS = {
    "grid": grid(orders=[2], runs=15),
    "weights": weights(),
    "times by gradient": gradient("times", iterations=15),
    "weights by gradient": gradient("weights", iterations=15, rate=1e-3),
    "evolution": evolution(population=8, generations=5),
    "schedule": schedule(population=6, generations=4),
    "compensation": compensation(),
    "statistics": statistics(points=24),
}


def test_the_ends_that_are_given_are_fitted():
    ends = 0.5 * follow(gaussian, BASE.tableau(PATH, 300), starts())[-1]
    own, given = (tuned(weights(), wanted=wanted) for wanted in (None, ends))
    reached = [sample(gaussian, PATH, solver=one.table, x=starts()).x for one in (own, given)]
    assert (reached[1] - ends).square().mean() < 0.2 * (reached[0] - ends).square().mean()
    with pytest.raises(UsageError, match=r"wanted: expected shape \[24, 4\] like x, got \[3, 4\]"):
        tuned(weights(), wanted=ends[:3])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_improves_on_the_start_and_generalises(name):
    found = tuned(METHODS[name])
    assert found.after < found.before
    assert found.after == min(found.history)
    assert found.before == found.history[0]
    others = starts(64, seed=1)
    wanted = follow(gaussian, BASE.tableau(PATH, 300), others)[-1]

    def error(table):
        return (sample(gaussian, PATH, solver=table, x=others).x - wanted).square().mean()

    assert error(found.table) < error(BASE.tableau(PATH, 4))


def test_calibration_finds_the_standard_deviation_of_isotropic_data():
    def isotropic(x, t):
        return gaussian(x, t, torch.tensor(1.7**2))

    found = tune(isotropic, PATH, steps=3, x=starts(), start=BASE, method=grid(orders=[2], runs=80))
    assert found.after < 1e-4 * found.before


def test_free_weights_fit_two_directions_of_gaussian_data():
    def two(x, t):
        return gaussian(x, t, STD[[0, 2, 0, 2]].square())

    found = tune(two, PATH, steps=4, x=starts(), start=BASE, method=weights(ridges=[0.0]))
    fine, got, plain = (
        follow(two, table, starts(seed=3))[-1]
        for table in (BASE.tableau(PATH, 300), found.table, BASE.tableau(PATH, 4))
    )
    assert (got - fine).abs().max() < 0.01 * (plain - fine).abs().max()


@pytest.mark.parametrize("method", [evolution(population=20, generations=10), gradient("times", iterations=80)])
def test_one_free_time_is_found(method):
    found = tuned(method, steps=2, objective="mean")
    angles, x = Angles(PATH, BASE.scale), starts()
    wanted = follow(gaussian, BASE.tableau(PATH, 300), x)[-1]
    losses = []
    for part in np.linspace(0.02, 0.98, 193):
        end = follow(gaussian, BASE.tableau(PATH, angles.times(np.array([part]))), x)[-1]
        losses.append(float((end - wanted).square().mean().sqrt()))
    assert found.after < 1.02 * min(losses)


def test_angles_are_times_and_back():
    parts = np.array([0.1, 0.4, 0.9])
    angles = Angles(PATH, 0.3)
    np.testing.assert_allclose(angles.parts(angles.times(parts)), parts, rtol=1e-10)


def test_a_ratio_of_one_compensates_nothing():
    table = BASE.tableau(PATH, 6)
    same = compensated(table, np.ones(6))
    np.testing.assert_array_equal(same.history, table.history)
    other = compensated(table, [1, 1, 1, 0.9, 1, 1])
    changed = (other.history != table.history).any(1)
    assert changed.tolist() == [False, False, False, True, False, False]


def test_compensation_reads_the_answer_at_the_other_time():
    """Answers that are a parabola in t are read exactly."""
    table, rho = BASE.tableau(PATH, 5), 0.7
    parabola = 1 + 2 * table.times - 3 * table.times**2
    row = compensated(table, [1, 1, 1, 1, rho]).history[4] - table.history[4]
    at = table.times[3] + rho * (table.times[4] - table.times[3])
    wanted = table.history[4, 0] * (1 + 2 * at - 3 * at**2 - parabola[4])
    assert row @ parabola[4:1:-1] == pytest.approx(wanted)


@pytest.mark.parametrize("basis, name", [(0, "trig"), (1, "lambda"), (2, "eps"), (3, "rho")])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("corrector", [False, True])
def test_equal_decisions_are_a_multistep_solver(basis, name, order, corrector):
    angles, parts = Angles(PATH, 0.5), np.array([0.1, 0.3, 0.5, 0.8])
    decisions = Decisions(parts, np.full(5, order), np.full(5, corrector), basis)
    got = decisions.tableau(PATH, angles.times(parts), 0.5)
    wanted = solvers.multistep(order, name, corrector=corrector, sigma_data=0.5).tableau(PATH, angles.times(parts))
    x = starts()
    torch.testing.assert_close(follow(gaussian, got, x)[-1], follow(gaussian, wanted, x)[-1], rtol=1e-9, atol=1e-10)


def test_following_is_sampling():
    path, y = paths.ou(), starts(seed=5)
    table, x = solvers.multistep(2).tableau(path, [1.0, 0.6, 0.3, 0.1]), starts()

    def denoise(x, t):
        return torch.tanh(x) * (1 - t)

    last = follow(denoise, table, x, y)[-1] + table.b[-1] * y
    torch.testing.assert_close(last, sample(denoise, path, solver=table, x=x, y=y).x)


def test_a_degraded_end_is_taken_along():
    path, y = paths.ou(), starts(seed=5)

    def denoise(x, t):
        a, b, s = path.coefficients(t)
        return (x - b * y) * a * 0.3 / (a * a * 0.3 + s * s)

    found = tune(denoise, path, steps=3, x=path.prior(starts(), y), y=y, start=BASE, method=[grid(runs=20), weights()])
    assert found.after < 0.1 * found.before


def test_the_budget_is_kept_and_the_best_with_it():
    found = tuned(evolution(), budget=7)
    assert len(found.history) == 7
    assert found.after <= found.before


def test_a_table_that_is_good_already_stays():
    best = tuned([grid(orders=[2], runs=40), weights()])
    again = tuned(gradient("weights", iterations=2, rate=10.0), first=best.table)
    assert again.table == best.table
    assert again.after == again.before == best.after


def test_an_objective_may_be_given():
    found = tuned(
        evolution(population=4, generations=2), objective=lambda got, wanted: float((got - wanted).abs().max())
    )
    assert found.after <= found.before


def test_what_cannot_be_tuned_is_refused():
    with pytest.raises(UsageError, match="objective out of median, mean, got 'fid'"):
        tuned(weights(), objective="fid")
    with pytest.raises(UsageError, match="at least one step and one run, got steps=4, budget=0"):
        tuned(weights(), budget=0)
    with pytest.raises(UsageError, match="expected a table of 4 steps, got Tableau"):
        tuned(weights(), first=BASE.tableau(PATH, 5))
    with pytest.raises(UsageError, match="draws noise"):
        tuned(weights(), first=solvers.ddpm().tableau(PATH, [1.0, 0.7, 0.4, 0.2, 0.0]))
    staged = solvers.heun().tableau(PATH, [1.0, 0.7, 0.4, 0.2, 0.01])
    with pytest.raises(UsageError, match="without stages"):
        tuned(weights(), first=staged)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: grid(orders=[]), "orders of at least 1"),
        (lambda: weights(depth=0), "ridges >= 0 and depth >= 1"),
        (lambda: gradient("steps"), "gradient of 'times' or 'weights'"),
        (lambda: gradient(iterations=0), "iterations >= 1 and rate > 0"),
        (lambda: evolution(parents=0), "expected positive numbers"),
        (lambda: schedule(guesses=0), "expected positive numbers"),
        (lambda: compensation(reach=0), "expected reach > 0"),
        (lambda: compensated(BASE.tableau(PATH, 3), [1.0]), "expected 3 ratios, one per row, got 1"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_table_is_kept_for_its_net_path_and_steps(tmp_path):
    net, other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    with torch.no_grad():
        other.weight.copy_(net.weight + 1)
    table = BASE.tableau(PATH, 5)
    file = save(table, tmp_path / "net.tableau.safetensors", net=net)
    assert load(file, net=net, path=PATH, steps=5) == table
    assert load(file, net=fingerprint(net), path=PATH) == table
    with pytest.raises(UsageError, match=f"tuned for the net {fingerprint(net)}, not for {fingerprint(other)}"):
        load(file, net=other, path=PATH)
    with pytest.raises(UsageError, match="made for vp_linear"):
        load(file, net=net, path=paths.edm())
    with pytest.raises(UsageError, match="tuned for 5 steps, not for 8"):
        load(file, net=net, path=PATH, steps=8)
    with pytest.raises(UsageError, match="ends in .tableau.safetensors, got net.safetensors"):
        save(table, tmp_path / "net.safetensors", net=net)


def test_a_table_without_a_net_is_refused(tmp_path):
    BASE.tableau(PATH, 5).save(tmp_path / "x.tableau.safetensors")
    with pytest.raises(UsageError, match="tuned for the net None"):
        load(tmp_path / "x.tableau.safetensors", net="0" * 16, path=PATH)


def test_results_are_frozen():
    found = tuned(compensation())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.after = 0
