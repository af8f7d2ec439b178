"""The restoration benchmark with tiny nets: rows as agreed, verdicts, baselines that work, pages of pictures."""

import numpy as np
import pytest
import torch

from fewstep.benchmarks import _restoration as part
from fewstep.benchmarks import restoration
from fewstep.core.bench import complete
from fewstep.restoration import Restorer
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.model import Restoration

MODELS = {"sr-x4": ("sr", 4), "denoise": ("denoise", 1), "deblur": ("deblur", 1), "inpaint": ("inpaint", 1)}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(part, "restorer", lambda name: Restorer(Restoration.debug(*MODELS[name]), name=name))
    plain = part.generated()
    monkeypatch.setattr(part, "generated", lambda: [(name, x[:104, :104].copy()) for name, x in plain])


def values(rows):
    return {(row["row"], row["metric"]): row for row in complete(rows)}


def test_a_quick_run(tiny, tmp_path):
    table = restoration.rows(quick=True)
    rows = values(table)
    assert rows["bicubic", "values within 1 level of the definition, %"]["value"] == 100
    assert rows["tiling, tiles of 64", "largest difference to the whole, levels"]["ok"] is True
    assert rows["tiling, tiles of 64", "seam index, ratio to the whole's"]["ok"] is True
    for name in ("denoise 25: mean", "motion deblur: mean", "inpaint thin: mean", "inpaint box: sample, 4 steps"):
        assert rows[name, "PSNR RGB dB"]["value"] > 5
    noisy = rows["denoise 25: noisy", "PSNR RGB dB"]["value"]
    assert noisy == pytest.approx(20.5, abs=0.8)
    assert rows["denoise 25: NLM of scikit-image, told sigma", "PSNR RGB dB"]["value"] > noisy + 3
    assert rows["denoise 25: wavelet of scikit-image, told sigma", "PSNR RGB dB"]["value"] > noisy + 3
    blurred = rows["motion deblur: blurred", "PSNR RGB dB"]["value"]
    assert rows["motion deblur: Wiener, true kernel, best-tuned", "PSNR RGB dB"]["value"] > blurred + 1
    assert rows["IR-SDE x4: MR Sampler 2 ODE, 5 steps", "PSNR-Y dB below 100 steps"]["nfe"] == 5
    restoration.plots(table, tmp_path)
    assert (tmp_path / "restoration.png").is_file()
    assert (tmp_path / "restoration.html").read_text().count("<figure>") == len(restoration._SHOWN) > 5


def test_without_weights_the_baselines_are_left(monkeypatch):
    monkeypatch.setattr(part, "restorer", lambda name: None)
    rows = values(restoration.enlarge("Set5", part.enlargements(None, "Set5")[:1], None, quick=True, say=print))
    assert {name for name, _ in rows} == {"x4 Set5: bicubic"}
    assert restoration.memory(say=print) == []


def test_verdicts():
    score = {"PSNR-Y dB": 28.0, "HF energy ratio": 0.1, "NIQE": 8.0, "NIQE, distance to the reference's": 3.0}
    score["LR consistency dB"] = 40.0
    found = {
        "bicubic": score,
        "mean": {**score, "PSNR-Y dB": 31.0, "LR consistency dB": 60.0},
        "sample, 15 steps": {**score, "PSNR-Y dB": 29.0, "HF energy ratio": 0.6, "NIQE": 5.0},
        "sample, 4 steps": {**score, "PSNR-Y dB": 28.8, "HF energy ratio": 0.6, "NIQE": 5.05},
        "sample, 1 step (student)": {**score, "PSNR-Y dB": 28.6},
    }
    rows = values(restoration._verdicts("Set5", found, 15))
    assert rows["x4 Set5: mean", "PSNR-Y dB above bicubic"]["ok"] is True
    assert rows["x4 Set5: mean", "LR consistency dB, to be reached"]["ok"] is True
    assert rows["x4 Set5: sample, 4 steps", "LR consistency dB, to be reached"]["ok"] is False
    assert rows["x4 Set5: sample, 4 steps", "PSNR-Y dB below 15 steps"]["ok"] is False
    assert rows["x4 Set5: sample, 4 steps", "NIQE, % from 15 steps"]["ok"] is True
    assert rows["x4 Set5: sample, 4 steps", "HF energy ratio, distance to 1, below the mean's"]["ok"] is True
    assert rows["x4 Set5: sample, 1 step (student)", "PSNR-Y dB below 4 steps"]["ok"] is True
    assert restoration._verdicts("Set5", {"bicubic": score}, 15) == []


def test_the_direct_definition_agrees_with_ours():
    line = np.random.default_rng(3).normal(size=37)
    for scale in (0.25, 1 / 3, 2.0):
        ours = imresize(torch.from_numpy(line)[None, :].expand(4, -1), scale).numpy()[0]
        assert np.abs(part.direct_bicubic(line, scale) - ours).max() < 1e-9


def test_wiener_inverts_a_kernel_without_noise():
    y, x = np.mgrid[:96, :96]
    good = np.stack([127 + 60 * np.sin(x / 5) * np.cos(y / 7)] * 3, -1).round().astype(np.uint8)
    kernel = np.zeros((9, 9), np.float32)
    kernel[4, 2:8] = 1 / 6
    bad = part.bytes_of(part.kernels.blurred(part.unit(good)[0], torch.from_numpy(kernel))[None])
    pair = part.Pair("waves", good, bad, kernel=kernel)
    assert part.inside(part.best_wiener(pair), good) > part.inside(bad, good) + 8


def test_the_distance_of_patches():
    good = [x for _, x in part.generated()]
    assert part.patch_distance(good, good) == 0
    softer = [part.bicubic(part.bytes_of(imresize(part.unit(x), 0.25))) for x in good]
    half = [((a.astype(int) + b) // 2).astype(np.uint8) for a, b in zip(good, softer, strict=True)]
    assert part.patch_distance(softer, good) > part.patch_distance(half, good) > 0.1


def test_missing_data_are_told(tmp_path):
    with pytest.raises(ValueError, match="has no Set5/x4"):
        part.enlargements(tmp_path, "Set5")
    with pytest.raises(ValueError, match="has no bsds500/test"):
        part.pictures(tmp_path, 3)
