"""The MRI benchmark on a small volume: rows as agreed, verdicts against the best classical method, pictures."""

import pytest
import torch

from fewstep.benchmarks import _mri, mri
from fewstep.core.bench import complete
from fewstep.core.build import build
from fewstep.core.checkpoint import export
from fewstep.mri.api import REGRESSION_KIND
from fewstep.mri.data.synthetic import SyntheticSlices


@pytest.fixture(scope="module")
def volume():
    slices = SyntheticSlices(size=64, share_heads=0)
    return _mri._scanned("test", torch.stack([slices[0], slices[3]]))


def test_rows_of_a_case(volume):
    names = ("zero-filled", "CG", "TV")
    options = {"oracle": False, "quick": True, "progress": None, "only": names}
    rows = complete(mri.compare(volume, "case", "equispaced_fraction", 4, **options))
    assert {row["metric"] for row in rows} == set(mri.METRICS[:6])
    values = {(row["row"], row["metric"]): row["value"] for row in rows}
    assert values["case: CG-SENSE, best-tuned", "PSNR dB"] > values["case: zero-filled", "PSNR dB"]


def test_oracle_maps_are_not_inflated_and_acs_maps_are_where_lines_are_few(volume):
    plain, oracle = (_mri.problems(volume, "random", 8, oracle=o)[0] for o in (False, True))  # 3 lines of 64
    assert torch.equal(plain.kspace, oracle.kspace)
    assert plain.noise_std == pytest.approx(2 * oracle.noise_std)
    assert float(oracle.residual(_mri.combined(volume, [oracle]))) < 0.2


def test_verdicts_are_against_the_best_of_each_metric():
    found = {
        "L1-wavelet, best-tuned": {"PSNR dB": 30.0, "SSIM": 0.80},
        "TV, best-tuned": {"PSNR dB": 29.0, "SSIM": 0.85},
        "DDS, 8 steps, mean of 4": {"PSNR dB": 30.6, "SSIM": 0.86},
        "DDS, 4 steps, mean of 4": {"PSNR dB": 30.0, "SSIM": 0.85},
        "DDS, 20 steps, mean of 4": {"PSNR dB": 30.9, "SSIM": 0.87},
        "conditional, 4 steps, mean of 4": {"PSNR dB": 30.5, "SSIM": 0.86},
    }
    rows = {(row["row"], row["metric"]): row for row in complete(mri.verdicts("c", found))}
    psnr = rows["c: DDS, 8 steps, mean of 4", "PSNR dB above the best classical"]
    ssim = rows["c: DDS, 8 steps, mean of 4", "SSIM above the best classical"]
    assert (psnr["peer"], psnr["ok"]) == ("L1-wavelet, best-tuned", True)
    assert (ssim["peer"], ssim["ok"]) == ("TV, best-tuned", False)
    assert rows["c: DDS, 4 steps, mean of 4", "PSNR dB below 20 steps"]["ok"] is False
    assert rows["c: conditional, 4 steps, mean of 4", "PSNR dB above DDS"]["ok"] is False
    assert mri.verdicts("c", {"DDS, 8 steps, mean of 4": found["DDS, 8 steps, mean of 4"]}) == []


def test_the_page_holds_its_pictures(tmp_path):
    row = {"reference": torch.rand(8, 8), "error": torch.zeros(8, 8)}
    text = _mri.page([("one", row), ("two", row)], tmp_path).read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "<h2>two</h2>" in text


@pytest.mark.parametrize("make", [lambda folder: _mri.human(folder, (0,)), _mri.phantom])
def test_missing_data_are_told(make, tmp_path):
    pytest.importorskip("pydicom")
    with pytest.raises(ValueError, match="has no mri/"):
        make(tmp_path)


def test_nets_to_compare_with_come_from_a_folder_of_runs(volume, tmp_path):
    assert _mri.rivals(tmp_path) == {}
    recipe = {"_target_": "fewstep.mri.models.resnet.ReconResNet", "width": 4, "blocks": 1, "cascades": 1}
    export(tmp_path / "mri-unet" / "export", build(recipe), {"kind": REGRESSION_KIND, "model": recipe})
    path = {"_target_": "fewstep.core.paths.edm"}
    inner = {"_target_": "fewstep.mri.models.prior.ComplexUNet", "widths": [8, 16]}
    model = {
        "_target_": "fewstep.core.nn.preconditioned.Preconditioned", "inner": inner, "path": path, "sigma_data": 0.35,
    }  # fmt: skip
    config = {"kind": "diffusion", "model": model, "path": path, "parameterization": "x0", "steps": 1}
    export(tmp_path / "mri-consistency" / "export", build(model), {**config, "sigma_data": 0.35})
    found = _mri.rivals(tmp_path)
    assert list(found) == ["U-Net of fastMRI"] + [f"PnP, consistency model, {n} steps, mean of 4" for n in (2, 4, 8)]
    problem = _mri.problems(volume, "random", 4, oracle=False)[0]
    calls = [methods[0](problem).nfe for methods in found.values()]
    assert calls == [1, 2, 4, 8]
