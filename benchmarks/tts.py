"""Text to speech: intelligible, faithful, fast, and is distillation worth it? Teacher against student by steps.

Word errors come from a recogniser with a loop over the closed vocabulary of the 40 held-out phrases; mel-cepstral
distortion and lost cepstral variance are taken to the first recording of each phrase. Figures of synthesised speech
are means over the seeds of the noise. Without `data` there are no recordings, so only the synthesised rows. `data` is
an LJSpeech-style folder or one with speech/kathleen in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from fewstep.audio.api import TextToSpeech
from fewstep.audio.data.features import normalise_loudness, read_metadata
from fewstep.audio.data.split import split_by_phrase
from fewstep.audio.io import read_audio
from fewstep.audio.mel import MelSpec, mel_spectrogram
from fewstep.audio.metrics import (
    ClosedVocabularyRecogniser,
    mel_cepstral_distortion,
    spoken_words,
    variance_loss,
    word_errors,
)
from fewstep.audio.models.generate import generate
from fewstep.audio.models.griffin_lim import GriffinLim
from fewstep.audio.text.frontend import phonemize
from fewstep.audio.text.symbols import INDEX

SEEDS = (0, 1, 2)
STUDENT, TEACHER = "kathleen-prodiff", "kathleen-prodiff-teacher"

LONG = ("teacher, 4 steps", "teacher, 4 steps, stochastic")

Say = Callable[[str, int], Tensor]  # text, seed -> wav [n]


def rows(*, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None) -> list[dict]:
    """The table of the benchmark."""
    threads = torch.get_num_threads()
    torch.set_flush_denormal(True)
    student, teacher = TextToSpeech.load(STUDENT), TextToSpeech.load(TEACHER)
    phrases = phrase_list()[: 10 if quick else None]
    recordings = _recordings(data, phrases, student.sample_rate) if data else {}
    systems: dict[str, tuple[int | None, Say]] = {}
    if recordings:
        spec, plain = student.net.mel, GriffinLim(student.net.mel)
        systems["recording"] = (None, lambda text, seed: recordings[text])
        systems["vocoded recording"] = (None, lambda text, seed: _copy(student.vocoder, recordings[text], spec))
        systems["recording through Griffin-Lim"] = (None, lambda text, seed: _copy(plain, recordings[text], spec))
    systems |= {
        "teacher, 4 steps": (4, _speaker(teacher, 4)),
        "teacher, 4 steps, stochastic": (4, _speaker(teacher, 4, stochastic=True)),
        "teacher, 2 steps": (2, _speaker(teacher, 2)),
        "teacher, 4 steps stopped after 2": (2, _speaker(teacher, 4, stop=2)),
        "student, 2 steps": (2, _speaker(student, 2, shift=student.shift)),
        "student, 1 step": (1, _speaker(student, 1, shift=student.shift)),
    }
    if student.shift != 1:
        systems["teacher, the student's 2 steps"] = (2, _speaker(teacher, 2, shift=student.shift))
    judge = ClosedVocabularyRecogniser(phrase_list())
    wer, mcd, smooth = {}, {}, {}
    for name, (calls, say) in systems.items():
        if progress:
            progress(name)
        seeds = SEEDS[: 1 if quick or calls is None else None]
        spoken = {(text, seed): say(text, seed) for text in phrases for seed in seeds}
        wer[name] = _word_error_rate(judge, spoken, student.sample_rate)
        if recordings:
            pairs = [(wav, recordings[text], student.net.mel) for (text, _), wav in spoken.items()]
            mcd[name] = statistics.fmean(mel_cepstral_distortion(*pair) for pair in pairs)
            smooth[name] = statistics.fmean(variance_loss(*pair) for pair in pairs)
    table = [_row(name, "word error rate", wer[name], steps) for name, (steps, _) in systems.items()]
    table += [_row(name, "mel-cepstral distortion dB", mcd[name], systems[name][0]) for name in mcd]
    table += [_row(name, "cepstral variance lost dB", smooth[name], systems[name][0]) for name in smooth]
    table += _verdicts(wer, mcd)
    torch.set_num_threads(2)
    table.append(_speed(student, phrases[:10]))
    torch.set_num_threads(threads)
    return table


def phrase_list() -> list[str]:
    """The 40 phrases that no shipped voice was trained on."""
    return resources.files("fewstep.benchmarks").joinpath("tts_phrases.txt").read_text().splitlines()


def _recordings(data: Path, phrases: list[str], rate: int) -> dict[str, Tensor]:
    folder = data / "speech" / "kathleen" if (data / "speech" / "kathleen").is_dir() else data
    first: dict[str, Path] = {}
    for item in split_by_phrase(read_metadata(folder)[0]).test:
        first.setdefault(item.text, item.file)
    missing = [p for p in phrases if p not in first]
    if missing:
        raise ValueError(f"{folder} lacks a held-out recording of {len(missing)} phrases, the first: {missing[0]!r}")
    wavs = {p: read_audio(first[p], rate)[0][0].numpy() for p in phrases}
    return {p: torch.from_numpy(normalise_loudness(wav)).float() for p, wav in wavs.items()}


@torch.inference_mode()
def _copy(vocoder: torch.nn.Module, wav: Tensor, spec: MelSpec) -> Tensor:
    return vocoder(mel_spectrogram(wav[None], spec))[0]


def _speaker(
    voice: TextToSpeech, steps: int, *, shift: float = 1.0, stochastic: bool = False, stop: int | None = None
) -> Say:
    """One phrase with predicted prosody; `stop`: the estimate of x0 after that many calls of the `steps`-step chain."""

    @torch.inference_mode()
    def say(text: str, seed: int) -> Tensor:
        tokens = torch.tensor([[INDEX[t] for t in phonemize(text).tokens]])
        cond = voice.net.condition(tokens)
        x0, _ = generate(
            voice.net, voice.path, cond, steps=steps, seed=seed, shift=shift, stochastic=stochastic, stop=stop
        )
        return voice.vocoder(voice.net.denormalise(x0))[0]

    return say


def _word_error_rate(judge: ClosedVocabularyRecogniser, spoken: dict[tuple[str, int], Tensor], rate: int) -> float:
    errors = sum(word_errors(judge(wav, rate), spoken_words(text)) for (text, _), wav in spoken.items())
    return errors / sum(len(spoken_words(text)) for text, _ in spoken)


def _verdicts(wer: dict[str, float], mcd: dict[str, float]) -> list[dict]:
    table = []
    student, teacher = "student, 2 steps", "teacher, 4 steps"
    early = [name for name in wer if name.startswith("teacher") and name not in LONG]  # the teacher in two calls
    if "recording" in wer:
        gap = wer[student] - wer["recording"]
        table.append(_row(student, "word error rate above the recording's", gap, 2, "recording", 0.0, 0.08))
        ratio = mcd[student] / mcd[teacher]
        table.append(_row(student, "distortion ratio to teacher, 4 steps", ratio, 2, teacher, 1.0, 1.05))
        for peer in early:
            table.append(_row(student, f"distortion below {peer}", mcd[student], 2, peer, mcd[peer], mcd[peer]))
    for peer in early:
        table.append(_row(student, f"word error rate below {peer}", wer[student], 2, peer, wer[peer], wer[peer]))
    return table


def _speed(voice: TextToSpeech, phrases: list[str]) -> dict:
    voice(phrases[0])  # warm up
    factor = statistics.median(voice(text).real_time_factor for text in phrases)
    return _row("student, 2 steps", "real-time factor with vocoder, 2 threads", factor, 2, target=0.10) | {"threads": 2}


def _row(
    name: str,
    metric: str,
    value: float,
    steps: int | None,
    peer: str | None = None,
    peer_value: float | None = None,
    target: float | None = None,
) -> dict:
    return {
        "row": name,
        "metric": metric,
        "value": value,
        "peer": peer,
        "peer_value": peer_value,
        "target": target,
        "ok": None if target is None else value <= target,
        "steps": steps,
        "nfe": steps,
        "dtype": "float32",
        "device": "cpu",
        "seed": SEEDS[0],
    }
