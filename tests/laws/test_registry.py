"""What holds for every solver of the registry: its order, its ends, and what it does with constant answers."""

import pytest
import torch

from fewstep.benchmarks.core import BRIDGES, PATHS
from fewstep.core import solvers, times
from fewstep.core.errors import UsageError
from fewstep.core.sample import sample
from fewstep.core.solvers.registry import REGISTRY, facts, measured_order

NOT_TABLES = {"Default", "default", "default_for", "default_of", "tune", "consistency", "stitch"}
"""Exported by the solvers' package, but not solvers with an order of their own."""

MEASURED_ON = ["vp_linear", "ou", "rectified_flow", "sb_ve"]


def applies(name, path):
    entry = REGISTRY[name]
    return not (entry.falling and path in BRIDGES) and not (entry.equal and path != "edm")


@pytest.mark.parametrize("name", REGISTRY)
def test_order_is_the_nominal_one(name):
    """Within 5 % on the variance-preserving path; on the others at least that (some do better on Gaussian data)."""
    entry = REGISTRY[name]
    if entry.equal:
        assert measured_order(entry, PATHS["edm"]()) == pytest.approx(entry.order, rel=0.05)
        return
    for path in MEASURED_ON:
        if applies(name, path):
            measured = measured_order(entry, PATHS[path]())
            assert measured >= 0.95 * entry.order, path
            assert path != "vp_linear" or measured <= 1.05 * entry.order


@pytest.mark.parametrize("name", REGISTRY)
def test_finite_from_end_to_end_at_any_number_of_steps(name):
    """From t_max to 0, where lam may be infinite at both ends; no noise is left where the path has none."""
    solver = REGISTRY[name].make()
    for path in ("vp_linear", "vp_cosine", "rectified_flow", "edm", "ve", "ou", "resshift", "sb_ve"):
        if REGISTRY[name].falling and path in BRIDGES:
            with pytest.raises(UsageError, match="noise that falls towards the data"):
                solver.tableau(PATHS[path](), [0.98, 0.6])
            continue
        for steps in (1, 2, 3, 5):
            table = solver.tableau(PATHS[path](), times.uniform(PATHS[path](), steps))
            assert table.steps == steps
            assert path == "ve" or table.noise[-1] == 0


@pytest.mark.parametrize("name", [name for name, entry in REGISTRY.items() if entry.constant])
def test_constant_answers_are_integrated_exactly(name):
    """With D = d the exact solution keeps eps_hat: u_n = a_n d + s_n/s_p (u_p − a_p d); in mean, with noise."""
    for path in ("vp_linear", "ou", "rectified_flow"):
        p = PATHS[path]()
        grid = p.inverse(torch.linspace(max(-1.5, float(p.lam(p.t_max))), 1.5, 6, dtype=torch.float64))
        table = REGISTRY[name].make().tableau(p, grid)
        if table.noise.any():
            continue
        x = torch.tensor([[1.3]], dtype=torch.float64)
        out = sample(lambda x, t: torch.full_like(x, 0.7), p, solver=table, x=x).x
        a, _, s = p.coefficients(grid)
        torch.testing.assert_close(out, a[-1] * 0.7 + s[-1] / s[0] * (x - a[0] * 0.7), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", [n for n, e in REGISTRY.items() if not e.in_time and "pndm" not in n])
def test_y_and_the_path_do_not_matter_at_equal_lam(name):
    """In u/a the table depends on lam only."""
    if REGISTRY[name].falling:
        pytest.skip("the noise rule reads s itself")
    lam = torch.linspace(-0.5, 2.0, 6, dtype=torch.float64)
    found = []
    for path in ("edm", "vp_linear", "ou"):
        p = PATHS[path]()
        table = REGISTRY[name].make().tableau(p, p.inverse(lam))
        table = type(table)(**{**table.__dict__, "noise": 0 * table.noise})
        x0 = torch.tensor([[0.9, -2.0]], dtype=torch.float64)
        y = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
        a, b, _ = p.coefficients(p.inverse(lam[[0, -1]]))

        def denoise(x, t, p=p, y=y):
            a, b, s = p.coefficients(t)
            return torch.tanh((x - b * y) / a) / (1 + s / a)

        out = sample(denoise, p, solver=table, x=a[0] * x0 + b[0] * y, y=y).x
        found.append((out - b[1] * y) / a[1])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[2], found[0], rtol=1e-9, atol=1e-9)


def test_every_solver_is_registered():
    made = {entry.make().tableau(PATHS["vp_linear"](), [1.0, 0.5]).solver.split("(")[0] for entry in REGISTRY.values()}
    presets = {"s_pndm": "pndm", "f_pndm": "pndm", "mr_sampler": "dpmpp_2m"}
    other = {"Tableau", "Statistics", "as_diffusers_scheduler", "from_k_diffusion"}
    public = {name for name in solvers.__all__ if name not in other and name in vars(solvers)}
    assert {presets.get(name, name) for name in public} - made <= NOT_TABLES


def test_facts():
    path = PATHS["vp_linear"]()
    two = facts(REGISTRY["dpmpp_2m"], path)
    assert (two.nfe_per_step, two.stochastic, two.states) == (1, False, 3)
    assert facts(REGISTRY["rk4"], path).nfe_per_step == 4
    assert facts(REGISTRY["heavy_ball"], path).states == 3
    assert facts(REGISTRY["seeds 2"], path).stochastic
