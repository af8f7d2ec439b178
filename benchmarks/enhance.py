"""Speech enhancement: quality by network calls, against the predictive net and spectral filters; speed; long files.

PESQ (wide band), ESTOI and SI-SDR are means over held-out phrases in unseen noise (SNR -5 to 15 dB) or unseen rooms
(T60 0.3 to 1 s); word errors come from a recogniser with a loop over the closed vocabulary of these phrases. `data` is
a folder with speech/kathleen and noise; without it phrases are synthesised and all noise is generated.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.audio.enhance.api import SHIPPED, Enhancer
from fewstep.audio.enhance.plot import save_spectrograms
from fewstep.audio.enhance.samplers import PredictorCorrector
from fewstep.benchmarks import _enhance as parts
from fewstep.core.bench import Part, at_once

STEPS = (1, 2, 4, 8, 50)
UNITS = {"pesq": "PESQ", "estoi": "ESTOI", "si_sdr": "SI-SDR dB", "wer": "word error rate"}
LISTENED = ("clean", "noisy", "spectral subtraction", "predictive net", "4 steps")
_PICTURES: dict[str, dict[str, torch.Tensor]] = {}

Progress = Callable[[str], None] | None


def rows(
    *, quick: bool = False, data: Path | None = None, progress: Progress = None, part: Part = at_once
) -> list[dict]:
    """The table of the benchmark."""
    threads = torch.get_num_threads()
    torch.set_flush_denormal(True)
    table: list[dict] = []
    for task in SHIPPED:
        table += _quality(task, 6 if quick else 40, STEPS[:3] if quick else STEPS, data, progress, part)
    torch.set_num_threads(2)
    enhancer = Enhancer.load()
    table += part("speed", lambda: [_speed(enhancer)])
    table += part("joins", lambda: _joins(enhancer, 40.0 if quick else 180.0))
    table += part("memory", lambda: _memory(2.0 if quick else 60.0, progress))
    torch.set_num_threads(threads)
    return table


def plots(rows: list[dict], out: Path) -> None:
    """A chart of all rows, and the spectrograms of three recordings: noisy, enhanced, clean."""
    from fewstep.core.bench import chart

    chart(rows, out / "enhance.png", title="enhance")
    for name, wavs in _PICTURES.items():
        save_spectrograms(out / f"enhance-{name}.png", wavs, parts.RATE)


def _quality(
    task: str, count: int, steps_of: tuple[int, ...], data: Path | None, progress: Progress, part: Part
) -> list[dict]:
    items = list(parts.test_set(data, task, count))
    enhancer = Enhancer.load(task=task)
    systems: dict[str, tuple[int | None, parts.Clean]] = {"noisy": (None, lambda noisy: noisy)}
    if task == "denoise":
        systems["spectral subtraction"] = (None, parts.spectral_subtraction)
        systems["iterative Wiener"] = (None, parts.iterative_wiener)
    systems["predictive net"] = (0, parts.cleaner(enhancer, 0))
    for steps in steps_of:
        systems[f"{steps} step{'s' * (steps > 1)}"] = (steps, parts.cleaner(enhancer, steps))
    if task == "denoise" and max(steps_of) > 8:
        sampler = PredictorCorrector()
        systems["predictor-corrector, 30 steps"] = (60, parts.cleaner(enhancer, 30, sampler))
    recogniser = parts.recogniser()

    def judged(name: str) -> list[dict]:
        if progress:
            progress(f"{task}: {name}")
        calls, clean = systems.get(name, (None, None))
        if clean is None:
            found = {"wer": parts.judge(parts.unsaid(items), lambda wav: wav, recogniser)["wer"]}
        else:
            found = parts.judge(items, clean, recogniser if name in LISTENED else None)
        calls = None if calls is None else calls + 1
        return [_row(f"{task}, {name}", UNITS[metric], value, calls) for metric, value in found.items()]

    table, scores, short = [], {}, {unit: metric for metric, unit in UNITS.items()}
    for name in ("clean", *systems):
        made = part(f"{task}, {name}", partial(judged, name))
        scores[name] = {short[row["metric"]]: row["value"] for row in made}
        table += made
    for i in range(3 if task == "denoise" else 0):
        four = systems["4 steps"][1](items[i].noisy)
        _PICTURES[str(i + 1)] = {"noisy": items[i].noisy, "enhanced": four, "clean": items[i].clean}
    return table + _verdicts(task, scores)


def _verdicts(task: str, scores: dict[str, dict[str, float]]) -> list[dict]:
    """The targets: four steps at least as good as the predictive net, and close to fifty."""
    four, guess = scores["4 steps"], scores["predictive net"]
    name = f"{task}, 4 steps"
    table = [
        _row(
            name, "PESQ above the predictive net", four["pesq"] - guess["pesq"], 5, "predictive net", 0.0, at_least=0.0
        ),
        _row(
            name, "word error rate above the predictive net", four["wer"] - guess["wer"], 5, "predictive net", 0.0, 0.0
        ),
    ]
    if "50 steps" in scores:
        many = scores["50 steps"]
        table += [
            _row(name, "PESQ below 50 steps", many["pesq"] - four["pesq"], 5, "50 steps", 0.0, 0.05),
            _row(name, "SI-SDR below 50 steps, dB", many["si_sdr"] - four["si_sdr"], 5, "50 steps", 0.0, 0.3),
        ]
    return table


def _speed(enhancer: Enhancer) -> dict:
    wav = torch.from_numpy(_hiss(10.0))
    enhancer(wav, parts.RATE, steps=4)
    factor = statistics.median(enhancer(wav, parts.RATE, steps=4).real_time_factor for _ in range(5))
    return _row("denoise, 4 steps", "real-time factor, 2 threads", factor, 5, target=0.3) | {"threads": 2}


def _joins(enhancer: Enhancer, seconds: float) -> list[dict]:
    """Pieces of 8 s against the whole recording at once."""
    wav = torch.from_numpy(_hiss(seconds))
    table = []
    for steps in (0, 4):
        whole = enhancer(wav, parts.RATE, steps=steps, chunk_seconds=seconds + 10).wav
        pieces = enhancer(wav, parts.RATE, steps=steps, chunk_seconds=8).wav
        error = 10 * torch.log10((pieces - whole).square().sum() / whole.square().sum() + 1e-20)
        metric = f"error of pieces of 8 s of {seconds:g} s, dB"
        table.append(_row(f"denoise, {steps} steps", metric, float(error), steps + 1, target=-60.0) | {"threads": 2})
    return table


_CHILD = """
import json, sys, time
import torch
from fewstep.audio.enhance.api import Enhancer
torch.set_num_threads(2); torch.set_flush_denormal(True)
start = time.perf_counter()
report = Enhancer.load().file(sys.argv[1], sys.argv[2], steps=4)
status = open("/proc/self/status").read().split("VmHWM:")  # ru_maxrss begins with the parent's
peak = int(status[1].split()[0]) / 2**20
print(json.dumps([peak, time.perf_counter() - start, report.seconds]))
"""


def _memory(minutes: float, progress: Progress) -> list[dict]:
    """A long file in a process of its own: its largest resident size in GiB, and its time."""
    import soundfile

    if progress:
        progress(f"a file of {minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="fewstep-bench-") as place:
        source = Path(place) / "long.flac"
        with soundfile.SoundFile(source, "w", parts.RATE, 1, subtype="PCM_16", format="FLAC") as stream:
            for minute in range(int(minutes)):
                stream.write(_hiss(60.0, seed=minute))
        command = [sys.executable, "-c", _CHILD, str(source), str(Path(place) / "out.flac")]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peak, took, seconds = json.loads(answer)
    name = f"denoise, 4 steps, file of {minutes:g} minutes"
    return [
        _row(name, "memory, GiB", peak, 5, target=2.0) | {"threads": 2},
        _row(name, "real-time factor with start, 2 threads", took / seconds, 5) | {"threads": 2},
    ]


def _hiss(seconds: float, seed: int = 0) -> np.ndarray:
    """Something that neither net nor codec finds easy: beating tones in noise, float32 [n]."""
    n = int(seconds * parts.RATE)
    t, rng = np.arange(n) / parts.RATE, np.random.default_rng(seed)
    tones = sum(np.sin(2 * np.pi * f * t) for f in (150, 310, 455, 1210, 2600)) * (1 + np.sin(2 * np.pi * 1.3 * t))
    return (0.02 * tones + 0.03 * rng.standard_normal(n)).astype(np.float32)


def _row(
    name: str,
    metric: str,
    value: float,
    nfe: int | None,
    peer: str | None = None,
    peer_value: float | None = None,
    target: float | None = None,
    *,
    at_least: float | None = None,
) -> dict[str, Any]:
    """A row; `target` is an upper limit, `at_least` a lower one."""
    ok = None if target is None and at_least is None else value >= at_least if at_least is not None else value <= target
    return {
        "row": name,
        "metric": metric,
        "value": value,
        "peer": peer,
        "peer_value": peer_value,
        "target": target if at_least is None else at_least,
        "ok": ok,
        "steps": None if nfe is None else 30 if "predictor-corrector" in name else nfe - 1,
        "nfe": nfe,
        "dtype": "float32",
        "device": "cpu",
        "seed": parts.SEED,
    }
