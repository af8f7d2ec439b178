import pytest
import torch

from fewstep.benchmarks import _enhance as parts
from fewstep.benchmarks import enhance
from fewstep.core.bench import complete


def scores(**changes):
    table = {
        name: {"pesq": 2.0, "estoi": 0.8, "si_sdr": 12.0, "wer": 0.1}
        for name in ("noisy", "predictive net", "4 steps", "50 steps")
    }
    for name, values in changes.items():
        table[name.replace("_", " ")] |= values
    return table


@pytest.mark.parametrize(
    "changes, failed",
    [
        ({}, []),
        ({"predictive_net": {"pesq": 2.1}}, ["PESQ above the predictive net"]),
        ({"predictive_net": {"wer": 0.05}}, ["word error rate above the predictive net"]),
    ],
)
def test_verdicts(changes, failed):
    rows = complete(enhance._verdicts("denoise", scores(**changes)))
    assert [row["metric"] for row in rows if row["ok"] is False] == failed
    assert len(rows) == 4


def test_fifty_steps_that_are_better_are_a_failure():
    table = scores()
    table["50 steps"] |= {"pesq": 2.06, "si_sdr": 12.4}
    failed = [row["metric"] for row in enhance._verdicts("denoise", table) if row["ok"] is False]
    assert failed == ["PESQ below 50 steps", "SI-SDR below 50 steps, dB"]


def test_spectral_filters_answer_in_time():
    t = torch.arange(16000) / 16000
    clean = 0.3 * torch.sin(2 * torch.pi * 300 * t) * (torch.sin(2 * torch.pi * 3 * t) > 0)
    noisy = clean + 0.02 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    for filtered in (parts.spectral_subtraction(noisy), parts.iterative_wiener(noisy)):
        assert filtered.shape == noisy.shape
        assert torch.isfinite(filtered).all()
        assert torch.nn.functional.cosine_similarity(filtered, clean, 0) > 0.8


def test_a_test_set_needs_its_phrases(tmp_path):
    folder = tmp_path / "speech" / "kathleen"
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"metadata\.csv not found"):
        next(parts.test_set(tmp_path, "denoise", 2))
