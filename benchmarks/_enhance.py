"""The test set of `fewstep bench enhance`, its systems, and how each answer is judged."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.audio.data.features import read_metadata
from fewstep.audio.data.split import split_by_phrase
from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.enhance.corpus import Clips, audio_files, decode
from fewstep.audio.enhance.data import SIDES, parts_of
from fewstep.audio.enhance.metrics import perceived, si_sdr
from fewstep.audio.enhance.mix import Mixer
from fewstep.audio.enhance.rooms import bank
from fewstep.audio.enhance.samplers import Sampler
from fewstep.audio.metrics import ClosedVocabularyRecogniser, spoken_words, word_errors
from fewstep.benchmarks.tts import phrase_list

RATE, SEED, ROOMS = 16000, 2024, 40
Clean = Callable[[Tensor], Tensor]  # noisy [n] -> enhanced [n]
METRICS = ("pesq", "estoi", "si_sdr")


@dataclass(frozen=True)
class Item:
    """A phrase that no model was trained on, clean and degraded [n], at 16 kHz."""

    text: str
    clean: Tensor
    noisy: Tensor


def test_set(data: Path | None, task: str, count: int) -> Iterator[Item]:
    """The first recordings of `count` held-out phrases, in noise or rooms that no model was trained on.

    Without `data` the phrases are synthesised, and all noise is generated.
    """
    phrases = phrase_list()[:count]
    with tempfile.TemporaryDirectory(prefix="fewstep-bench-") as cache:
        voices = _recorded(data, phrases, cache) if data else _synthesised(phrases)
        noise = decode(audio_files(data / "noise"), RATE, cache) if data and (data / "noise").is_dir() else None
        mixer = Mixer(
            voices,
            RATE,
            noise=None if noise is None else parts_of(noise, *SIDES["test"]),
            responses=bank(cache, RATE, count=min(ROOMS, count), seed=2) if task == "dereverb" else (),
            task=task,
            augment=False,
        )
        for i, text in enumerate(phrases):
            clean, noisy = mixer.degrade(voices[i], np.random.default_rng((SEED, i)))
            yield Item(text, torch.from_numpy(clean), torch.from_numpy(noisy))


def _recorded(data: Path, phrases: list[str], cache: str) -> Clips:
    folder = data / "speech" / "kathleen" if (data / "speech" / "kathleen").is_dir() else data
    first: dict[str, Path] = {}
    for item in split_by_phrase(read_metadata(folder)[0]).test:
        first.setdefault(item.text, item.file)
    missing = [p for p in phrases if p not in first]
    if missing:
        raise ValueError(f"{folder} lacks a held-out recording of {len(missing)} phrases, the first: {missing[0]!r}")
    return decode([first[p] for p in phrases], RATE, cache, loudness=True)


def _synthesised(phrases: list[str]) -> Clips:
    from fewstep.audio.api import TextToSpeech
    from fewstep.audio.io import resample

    voice = TextToSpeech.load()
    wavs = [resample(voice(text, seed=0).wav, voice.sample_rate, RATE)[0].numpy() for text in phrases]
    samples = np.concatenate([np.round(wav * 32767).astype(np.int16) for wav in wavs])
    return Clips(samples, tuple(np.cumsum([0, *map(len, wavs)]).tolist()), tuple(phrases))


def cleaner(enhancer: Enhancer, steps: int, sampler: Sampler | None = None) -> Clean:
    """One call of an enhancer, by another sampler if one is given."""
    if sampler is not None:
        enhancer = Enhancer(
            enhancer.model,
            enhancer.path,
            steps=steps,
            parameterization=enhancer.parameterization,
            task=enhancer.task,
            level=enhancer.level,
            sampler=sampler,
        )
    return lambda noisy: enhancer(noisy, RATE, steps=steps).wav[0]


def spectral_subtraction(noisy: Tensor) -> Tensor:
    """pyroomacoustics' spectral subtraction (Boll 1979, doi:10.1109/TASSP.1979.1163209), as it comes."""
    import pyroomacoustics

    out = pyroomacoustics.denoise.apply_spectral_sub(noisy.double().numpy())
    return _fitted(out, noisy)


def iterative_wiener(noisy: Tensor) -> Tensor:
    """pyroomacoustics' iterative Wiener filter (Lim & Oppenheim 1978, doi:10.1109/TASSP.1978.1163086), as it comes."""
    import pyroomacoustics

    with np.errstate(all="ignore"):
        out = pyroomacoustics.denoise.apply_iterative_wiener(noisy.double().numpy())
    return _fitted(np.nan_to_num(out), noisy)


def _fitted(out: np.ndarray, noisy: Tensor) -> Tensor:
    """As long as the input; these filters answer late by a part of a frame, which is taken back."""
    n = len(noisy)
    out = np.pad(out, (0, max(0, n - len(out))))[:n]
    shifts = range(0, 513, 32)
    best = max(shifts, key=lambda k: float(np.dot(out[k:], noisy.numpy()[: n - k])))
    return torch.from_numpy(np.pad(out[best:], (0, best))).float()


def judge(items: list[Item], clean: Clean, recogniser: ClosedVocabularyRecogniser | None) -> dict[str, float]:
    """Means of PESQ, ESTOI and SI-SDR, and the word error rate if there is a recogniser."""
    scores: list[dict[str, float]] = []
    errors = words = 0
    for item in items:
        wav = clean(item.noisy)
        scores.append(perceived(wav, item.clean) | {"si_sdr": float(si_sdr(wav, item.clean))})
        if recogniser is not None:
            said = spoken_words(item.text)
            errors, words = errors + word_errors(recogniser(wav, RATE), said), words + len(said)
    means = {name: statistics.fmean(score[name] for score in scores) for name in METRICS}
    return means | ({"wer": errors / words} if words else {})


def unsaid(items: list[Item]) -> list[Item]:
    """The same items with the clean recording as input."""
    return [replace(item, noisy=item.clean) for item in items]


def recogniser() -> ClosedVocabularyRecogniser:
    """A loop over the words of the held-out phrases."""
    return ClosedVocabularyRecogniser(phrase_list())
