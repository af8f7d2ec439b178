"""A cache on a real job: the voice teacher in 50 steps, with what `fewstep cache tune` finds at half of the calls.

Word errors and mel-cepstral distortion as in `fewstep bench tts`, over three seeds of the noise; their spread without a
cache is what a difference has to be seen against. Beside it, as many plain steps as take the same time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch
from torch import Tensor

from fewstep.audio.api import TextToSpeech
from fewstep.audio.caching import cache_job
from fewstep.audio.metrics import ClosedVocabularyRecogniser, mel_cepstral_distortion
from fewstep.audio.models.generate import generate
from fewstep.audio.text.frontend import phonemize
from fewstep.audio.text.symbols import INDEX
from fewstep.benchmarks.tts import SEEDS, TEACHER, _recordings, _word_error_rate, phrase_list
from fewstep.core import caches, hub

STEPS, CALLS, FASTER = 50, 25, 1.8


def rows(*, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None) -> list[dict]:
    """The teacher, the teacher with its cache, and fewer steps.

    Parameters
    ----------
    quick
        Fewer phrases, steps and seeds.
    data
        Folder with speech/kathleen, for the distortion; without it only word errors.
    progress
        Told what is being done.

    Returns
    -------
    list of dict
        In the format of `fewstep.core.bench`.
    """
    tell = progress or (lambda message: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        return _rows(quick, data, tell)
    finally:
        torch.set_num_threads(threads)


def _rows(quick: bool, data: Path | None, tell: Callable[[str], None]) -> list[dict]:
    steps, calls, phrases = (20, 10, phrase_list()[:6]) if quick else (STEPS, CALLS, phrase_list())
    voice, job = TextToSpeech.load(TEACHER), cache_job(hub.resolve(TEACHER), samples=2)
    tell("tuning on other sentences")
    cache = caches.tune(
        job.net, lambda: job.draw(steps, 0), scope=list(job.scopes), budget=calls, times=job.times(steps)
    )
    recordings = _recordings(data, phrases, voice.sample_rate) if data else {}
    judge, seeds = ClosedVocabularyRecogniser(phrase_list()), SEEDS[: 1 if quick else None]
    spoken, spent = {}, {}
    for name, (count, used) in {"plain": (steps, ()), "cached": (steps, (cache,))}.items():
        tell(name)
        spoken[name], spent[name] = _say(voice, phrases, seeds, count, used)
    fewer = max(1, round(steps * spent["cached"] / spent["plain"]))
    tell(f"{fewer} steps")
    spoken["fewer"], spent["fewer"] = _say(voice, phrases, seeds, fewer, ())
    table = [_row("cached", "times as fast", spent["plain"] / spent["cached"], steps, FASTER, least=True)]
    errors = {
        name: [_word_error_rate(judge, said[seed], voice.sample_rate) for seed in seeds]
        for name, said in spoken.items()
    }
    table += _judged("word error rate", errors, steps, fewer)
    if recordings:
        distances = {
            name: [
                statistics.fmean(
                    mel_cepstral_distortion(wav, recordings[text], voice.net.mel)
                    for (text, _), wav in said[seed].items()
                )
                for seed in seeds
            ]
            for name, said in spoken.items()
        }
        table += _judged("mel-cepstral distortion dB", distances, steps, fewer)
    return table


def _say(
    voice: TextToSpeech, phrases: list[str], seeds: tuple[int, ...], steps: int, used: tuple
) -> tuple[dict[int, dict[tuple[str, int], Tensor]], float]:
    """All phrases by seed, and the seconds of CPU that the net took."""
    said: dict[int, dict[tuple[str, int], Tensor]] = {seed: {} for seed in seeds}
    spent = 0.0
    with torch.inference_mode():
        for text in phrases:
            cond = voice.net.condition(torch.tensor([[INDEX[t] for t in phonemize(text).tokens]]))
            for seed in seeds:
                began = process_time()
                x0, _ = generate(voice.net, voice.path, cond, steps=steps, seed=seed, cache=used)
                spent += process_time() - began
                said[seed][text, seed] = voice.vocoder(voice.net.denormalise(x0))[0]
    return said, spent


def _judged(metric: str, found: dict[str, list[float]], steps: int, fewer: int) -> list[dict]:
    mean = {name: statistics.fmean(values) for name, values in found.items()}
    noise = statistics.stdev(found["plain"]) if len(found["plain"]) > 1 else 0.0
    bound = mean["plain"] + noise
    return [
        _row("plain", metric, mean["plain"], steps),
        _row("plain", f"{metric}, deviation over seeds", noise, steps),
        _row("cached", metric, mean["cached"], steps, bound, peer=("plain", mean["plain"])),
        _row("fewer steps in the same time", metric, mean["fewer"], fewer, peer=("plain", mean["plain"])),
    ]


def _row(
    name: str,
    metric: str,
    value: float,
    steps: int,
    target: float | None = None,
    *,
    peer: tuple[str, float] | None = None,
    least: bool = False,
) -> dict:
    return {
        "row": f"{TEACHER}, {name}",
        "metric": metric,
        "value": value,
        "peer": None if peer is None else peer[0],
        "peer_value": None if peer is None else peer[1],
        "target": target,
        "ok": None if target is None else (value >= target if least else value <= target),
        "steps": steps,
        "nfe": steps if name != "cached" else None,
        "dtype": "float32",
        "device": "cpu",
        "seed": SEEDS[0],
    }
