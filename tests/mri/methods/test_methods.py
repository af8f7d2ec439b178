"""What holds for every method: it sees no reference, follows the scale and phase of the data, and batch = loop."""

import dataclasses

import pytest
import torch

from fewstep.core.errors import UsageError
from fewstep.mri import metrics
from fewstep.mri.methods import DDNM, DDS, DPS, METHODS, CgSense, DiffPIR, L1Wavelet, PnPCM, TotalVariation, ZeroFilled
from fewstep.mri.problem import Problem, normalised

from .conftest import scan

CLASSICAL = {
    "zero-filled": ZeroFilled(),
    "cg-sense": CgSense(),
    "l1-wavelet": L1Wavelet(weight=1e-3, iterations=40, levels=2),
    "tv": TotalVariation(weight=1e-3),
}


def diffusion(prior):
    options = {"prior": prior, "samples": 2}
    return {
        "dds": DDS(**options, steps=3),
        "diffpir": DiffPIR(**options, steps=3),
        "ddnm": DDNM(**options, steps=3),
        "dps": DPS(**options, steps=20, zeta=20.0),
        "pnp-cm": PnPCM(**options, steps=3),
    }


NAMES = [*CLASSICAL, "dds", "diffpir", "ddnm", "dps", "pnp-cm"]


def method(name, prior):
    return CLASSICAL[name] if name in CLASSICAL else diffusion(prior)[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_result_follows_scale_and_phase_of_the_data(name, prior):
    problem, _ = scan()
    factor = 37.0 * torch.polar(torch.tensor(1.0), torch.tensor(2.1)).item()
    other = dataclasses.replace(problem, kspace=problem.kspace * factor, noise_std=problem.noise_std * abs(factor))
    one, two = method(name, prior)(problem, seed=3), method(name, prior)(other, seed=3)
    assert float((two.image - factor * one.image).abs().max()) <= 2e-4 * abs(factor) * float(one.image.abs().max())
    torch.testing.assert_close(two.residual, one.residual, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_a_loop(name, prior):
    problem, _ = scan(seeds=(0, 4))
    whole = method(name, prior)(problem, seed=7)
    for i in range(2):
        alone = method(name, prior)(problem.item(i), seed=7 + i)
        assert torch.equal(alone.image[0], whole.image[i])
        assert torch.equal(alone.residual[0], whole.residual[i])


@pytest.mark.parametrize("size", [(32, 32), (41, 37)])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_reconstructs_what_is_nearly_determined(name, size, prior):
    """Twofold with 4 coils and little noise: all but the zero-filled image agree with the data and the truth."""
    problem, images = scan(size=size)
    result = method(name, prior)(problem)
    assert result.image.shape == images.shape
    assert result.image.dtype == torch.complex64
    if name == "dps":  # far from done after so few steps
        assert float(result.residual) < 0.3
    elif name != "zero-filled":
        assert float(result.residual) < 0.08
        assert metrics.nmse(result.image, images) < 0.9 * metrics.nmse(ZeroFilled()(problem).image, images)
    assert result.nfe == {"dds": 3, "diffpir": 3, "ddnm": 3, "dps": 20, "pnp-cm": 3}.get(name, 0)


def test_a_projection_keeps_what_was_measured_to_rounding(prior):
    """One coil on a Cartesian grid; the last step of the path adds no noise."""
    problem, _ = scan(coils=1, noise=0.0)
    result = DDNM(prior=prior, steps=4, samples=1)(problem)
    assert float(result.residual) <= 1e-5


def test_samples_do_not_depend_on_their_number_and_the_image_is_their_mean(prior):
    problem, _ = scan()
    few, more = (DDS(prior=prior, steps=2, samples=n)(problem, seed=1) for n in (2, 3))
    torch.testing.assert_close(more.samples[:, :2], few.samples, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(few.image, few.samples.mean(1))
    torch.testing.assert_close(few.std[0], few.spread * torch.from_numpy(few.samples[0].numpy().std(0, ddof=1)))
    assert DDS(prior=prior, steps=2, samples=1)(problem).std is None
    assert CgSense()(problem).samples is None


@pytest.mark.parametrize("shared, starts", [(True, 1), (False, 3)])
def test_a_start_of_its_own_for_each_sample_depends_on_its_seed_only(prior, shared, starts, monkeypatch):
    """The calls are those of each sample; the first sample is the same however many there are."""
    problem, _ = scan()
    seen = []
    plain = prior.net.forward
    monkeypatch.setattr(prior.net, "forward", lambda x, t: seen.append(len(x)) or plain(x, t))
    three = DDS(prior, steps=4, samples=3, shared=shared)(problem, seed=5)
    assert seen == [starts] * 3 + [3]
    assert three.nfe == 4
    one = DDS(prior, steps=4, samples=1, shared=shared)(problem, seed=5)
    torch.testing.assert_close(one.samples[:, 0] if one.samples is not None else one.image, three.samples[:, 0])
    assert three.spread == (4.2 if shared else 3.2)


def test_seeds_change_samples_and_the_global_state_stays(prior):
    problem, _ = scan()
    before = torch.get_rng_state()
    one, same, other = (DDS(prior=prior, steps=2, samples=1)(problem, seed=s).image for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_unit_is_taken_from_the_data():
    problem, _ = scan()
    one = normalised(problem)
    again = normalised(one.problem)
    assert abs(again.scale - 1) < 1e-4
    assert one.problem.noise_std == pytest.approx(problem.noise_std / abs(one.scale))
    turn = (one.sense * one.sense.abs()).sum()
    assert abs(float(turn.imag)) < 1e-3 * float(turn.real)


def test_every_name_is_a_method():
    assert all(hasattr(kind, "solve") for kind in METHODS.values())


def _bad(**changes):
    problem, _ = scan()
    fields = {f.name: getattr(problem, f.name) for f in dataclasses.fields(problem)}
    return Problem(**(fields | {k: v(fields[k]) for k, v in changes.items()}))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"kspace": lambda k: k[0]}, r"expected complex k-space \[batch, coil, y, x\]"),
        ({"kspace": lambda k: k.real}, "expected complex k-space"),
        ({"coil_maps": lambda m: m[:, :2]}, "expected coil maps shaped like k-space"),
        ({"noise_std": lambda s: -1.0}, "expected noise_std >= 0"),
        ({"kspace": lambda k: k * float("nan")}, "expected finite k-space"),
        ({"kspace": lambda k: k * 0}, "all zero"),
    ],
)
def test_bad_problems_are_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        _bad(**changes)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda p: L1Wavelet(weight=-1), "expected weight >= 0"),
        (lambda p: TotalVariation(iterations=0), "at least one iteration"),
        (lambda p: DDS(p, steps=0), "steps and samples of at least 1"),
        (lambda p: DDS(p, last=1.0, start=0.3), "expected 0 < last <= start"),
        (lambda p: DDS(p, guess="best"), "expected a guess among"),
    ],
)
def test_bad_options_are_refused(make, says, prior):
    with pytest.raises(UsageError, match=says):
        make(prior)
