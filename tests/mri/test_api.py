"""The reconstructor: what it takes, what it reports, and that it hides no worse residual."""

import json

import pytest
import torch

from fewstep.core import paths
from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError
from fewstep.core.nn.preconditioned import Preconditioned
from fewstep.mri import Reconstructor, metrics
from fewstep.mri.api import prepare
from fewstep.mri.data import simulate
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.models.prior import ComplexUNet
from fewstep.mri.physics.birdcage import birdcage
from fewstep.mri.physics.masks import equispaced

NET = "fewstep.mri.models.prior.ComplexUNet"


def exported(folder, cond_channels):
    inner = {"widths": [8, 8], "cond_channels": cond_channels}
    path = {"_target_": "fewstep.core.paths.edm", "sigma_min": 0.003, "sigma_max": 20.0}
    model = {
        "_target_": "fewstep.core.nn.preconditioned.Preconditioned",
        "inner": {"_target_": NET, **inner},
        "path": path,
        "sigma_data": 0.35,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Preconditioned(ComplexUNet(**inner), paths.edm(sigma_min=0.003, sigma_max=20.0), sigma_data=0.35)
    return export(
        folder, net, {"kind": "diffusion", "model": model, "path": path, "parameterization": "x0", "steps": 4}
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"prior": exported(folder / "prior", 0), "conditional": exported(folder / "conditional", 6)}


@pytest.fixture(scope="module")
def measured():
    """k-space of two slices, mask, images."""
    size = (64, 48)
    images = torch.stack([SyntheticSlices(size=64, share_heads=0)[i][:, :48] for i in (0, 3)])
    g = torch.Generator().manual_seed(0)
    maps = birdcage(6, size)
    kspace = torch.stack([simulate.acquire(x, maps, noise_std=0.01, generator=g) for x in images])
    mask = equispaced(size, acceleration=3, centre_fraction=0.4, seed=0)
    return kspace * mask, mask, images


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense", "l1-wavelet", "tv"])
def test_classical_methods_need_no_model(method, measured):
    kspace, mask, images = measured
    result = Reconstructor.load(method=method)(kspace, mask=mask)
    assert result.image.shape == images.shape
    assert result.std is None
    assert result.report["nfe"] == 0
    assert method in result.report["residual"]
    json.dumps(result.report)


@pytest.mark.parametrize("method", ["dds", "diffpir", "ddnm", "pnp-cm"])
def test_diffusion_methods_sample_report_and_follow_the_data(method, measured, models):
    kspace, mask, images = measured
    reconstruct = Reconstructor.load(models["prior"], method=method, steps=2, samples=2)
    result = reconstruct(kspace, mask=mask, seed=3)
    assert result.std.shape == images.shape
    assert result.std.dtype == torch.float32
    report = result.report
    assert (report["method"], report["nfe"], report["samples"], report["seed"]) == (method, 2, 2, 3)
    assert report["model"]["name"] == "prior"
    assert len(report["model"]["sha256"]) == 64
    assert report["coil_maps"]["method"] == "espirit"
    assert set(report["residual"]) == {method, "zero-filled", "cg-sense", "l1-wavelet"}
    json.dumps(report)
    turned = reconstruct(kspace * 5j, mask=mask, seed=3)
    assert float((turned.image - 5j * result.image).abs().max()) < 5e-3 * float(turned.image.abs().max())


def test_a_conditional_net_is_told_the_measurement(measured, models):
    kspace, mask, images = measured
    reconstruct = Reconstructor.load(models["conditional"], method="conditional", steps=1, samples=1, compare=False)
    result = reconstruct(kspace, mask=mask)
    assert result.image.shape == images.shape
    assert result.others == {}
    for correction in ("project", "none"):
        Reconstructor.load(models["conditional"], method="conditional", correction=correction, samples=1)(
            kspace, mask=mask
        )


def test_a_worse_residual_is_pointed_out(measured):
    kspace, mask, _ = measured
    result = Reconstructor.load(method="tv", weight=0.5, iterations=30)(kspace, mask=mask)
    assert result.report["residual"]["tv"][0] > result.report["residual"]["cg-sense"][0]
    assert any("tv agrees less with the data than cg-sense in 2 of 2 slices" in w for w in result.report["warnings"])


def test_few_calibration_lines_inflate_the_noise_unless_it_is_said(measured, models):
    kspace, _, _ = measured
    mask = equispaced((64, 48), acceleration=3, centre_fraction=0.06, seed=0)
    options = {"method": "dds", "steps": 1, "samples": 1, "compare": False}
    adapted = Reconstructor.load(models["prior"], **options)(kspace * mask, mask=mask).report
    assert adapted["options"]["inflate"] == 2.0
    assert any("lines: the noise is taken to be 2 times" in w for w in adapted["warnings"])
    assert any("were refined by a first image of 4 network calls" in w for w in adapted["warnings"])
    assert adapted["nfe_for_coil_maps"] == 4
    assert adapted["coil_maps"]["refined"] is True
    said = Reconstructor.load(models["prior"], **options, inflate=1.0)(kspace * mask, mask=mask).report
    assert said["options"]["inflate"] == 1.0
    assert said["nfe_for_coil_maps"] == 0


def test_k_space_alone_is_enough(measured):
    """One slice, and the mask from its zeros."""
    kspace, mask, images = measured
    result = Reconstructor.load(method="cg-sense")(kspace[0])
    given = Reconstructor.load(method="cg-sense")(kspace[:1], mask=mask)
    torch.testing.assert_close(result.image, given.image, rtol=1e-3, atol=1e-4)
    assert any("no mask was given" in w for w in result.report["warnings"])
    assert metrics.psnr(result.image, images[:1]) > metrics.psnr(result.zero_filled, images[:1])


def test_given_maps_are_taken(measured):
    kspace, mask, _ = measured
    maps = birdcage(6, (64, 48)).expand(2, -1, -1, -1)
    problem, told, lines = prepare(kspace, mask=mask, coil_maps=maps, noise=0.5)
    assert problem.coil_maps is maps
    assert problem.noise_std == 0.5
    assert told["coil_maps"] == {"method": "given"}
    assert lines is None
    assert prepare(problem)[0] is problem


def test_virtual_coils_say_nearly_what_all_coils_say(measured):
    kspace, mask, images = measured
    many = torch.cat([kspace, 0.5j * kspace], 1)  # twelve coils that hold what six hold
    load = Reconstructor.load
    whole, few = (load(method="cg-sense", virtual_coils=n)(many, mask=mask, noise=0.01) for n in (None, 6))
    assert metrics.psnr(few.image, images) > metrics.psnr(whole.image, images) - 1.0
    told = few.report["coil_maps"]
    assert (told["coils"], told["virtual_coils"]) == (12, 6)
    assert told["energy_kept"] == pytest.approx(1.0, abs=1e-5)
    assert "virtual_coils" not in load(method="cg-sense", virtual_coils=12)(many, mask=mask).report["coil_maps"]
    maps = birdcage(6, (64, 48)).expand(2, -1, -1, -1)
    assert prepare(kspace, mask=mask, coil_maps=maps, virtual_coils=2)[0].kspace.shape[1] == 6, "known maps are kept"


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: Reconstructor.load(method="ddss"), "no such method.*dds"),
        (lambda m: Reconstructor.load(method="dds", stepss=3), "method dds has no option 'stepss'.*steps"),
        (lambda m: Reconstructor.load("mri-prior", method="tv"), "uses no model"),
        (lambda m: Reconstructor.load(method="tv", virtual_coils=0), "at least one virtual coil, got 0"),
        (lambda m: Reconstructor.load(method="regression"), "regression needs a model"),
        (lambda m: Reconstructor.load(m["prior"], method="conditional"), "expected a conditional net"),
        (lambda m: Reconstructor.load(m["conditional"], method="dds"), "expected a prior without a condition"),
        (lambda m: Reconstructor.load(method="cg-sense")(torch.ones(4, 4)), "expected complex k-space"),
        (lambda m: Reconstructor.load(method="cg-sense")("scan.h5"), "expected complex k-space .* or a scan, got str"),
    ],
)
def test_mistakes_are_told(call, says, models):
    with pytest.raises(UsageError, match=says):
        call(models)
