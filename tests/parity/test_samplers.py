"""Our tables against the samplers that people use: the same endpoint at the same grid, denoiser and noise."""

import pytest
import torch

from fewstep.benchmarks import sampler_parity as parity
from fewstep.core import solvers


def differences(cases):
    return {case.name: parity.difference(case)[0] for case in cases}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_against_diffusers():
    """DDIM, DDPM, PNDM, DEIS, DPM++ 1/2M/3M/2S/SDE, UniPC, Heun, Euler, ancestral, LMS, flow matching."""
    pytest.importorskip("diffusers")
    found = differences(parity.diffusers_cases())
    assert len(found) > 25
    assert {name: value for name, value in found.items() if not value <= parity.TARGET} == {}
    kept_in_float64 = [
        v for k, v in found.items() if k.split()[1].startswith(("DDIM", "DDPM", "PNDM", "DEIS", "UniPC"))
    ]
    assert max(kept_in_float64) < 1e-11


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_against_k_diffusion():
    for package in ("k_diffusion", "torchsde", "torchdiffeq"):
        if parity.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    found = differences(parity.k_diffusion_cases())
    assert len(found) > 25
    assert {name: value for name, value in found.items() if not value <= 1e-12} == {}


def test_a_wrong_solver_differs():
    case = next(case for case in parity.k_diffusion_cases() if case.name.endswith("sample_dpmpp_2m"))
    if parity.util.find_spec("k_diffusion") is None:
        pytest.skip("k_diffusion is not installed")
    wrong = parity.Case(solvers.dpmpp_2m("taylor"), case.path, case.times, case.peer, case.name)
    assert parity.difference(wrong)[0] > 1e-3


def test_absent_peer_is_named(monkeypatch):
    monkeypatch.delitem(parity.sys.modules, "k_diffusion.sampling", raising=False)
    monkeypatch.setattr(parity.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps k-diffusion"):
        parity.k_diffusion_sampling()
    assert parity.rows() == []


def test_rows(monkeypatch):
    from fewstep.core.bench import complete

    cases = parity.k_diffusion_cases()[:1]
    monkeypatch.setattr(parity, "k_diffusion_cases", lambda: [])
    monkeypatch.setattr(parity, "diffusers_cases", lambda: [])
    own = parity.Case(cases[0].solver, cases[0].path, cases[0].times, _ddim, "itself")
    monkeypatch.setattr(parity, "k_diffusion_cases", lambda: [own])
    if parity.util.find_spec("k_diffusion") is None:
        monkeypatch.setattr(parity, "diffusers_cases", lambda: [own])
        if parity.util.find_spec("diffusers") is None:
            pytest.skip("no peer is installed")
    (row,) = complete(parity.rows())
    assert row["ok"]
    assert (row["steps"], row["nfe"]) == (10, 10)


def _ddim(start, noises):
    x = start
    for now, then in zip(parity.KARRAS[:-1], parity.KARRAS[1:], strict=True):
        denoised = parity.mixture(x, now)
        x = denoised + then / now * (x - denoised)
    return torch.as_tensor(x)
