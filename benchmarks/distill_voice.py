"""Distillation of the voice that ships: four recipes, one teacher, equal iterations; word errors, distortion, calls.

Students are trained by ``fewstep fit experiment=audio/distill`` into `runs/voice-NAME`, or read from there; they speak
the held-out phrases with predicted prosody. `data` is an LJSpeech-style folder or one with speech/kathleen in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fewstep.audio.api import TextToSpeech
from fewstep.audio.distill import VoiceStudent
from fewstep.audio.metrics import ClosedVocabularyRecogniser, mel_cepstral_distortion, variance_loss
from fewstep.audio.text.frontend import phonemize
from fewstep.audio.text.symbols import INDEX
from fewstep.benchmarks import tts
from fewstep.benchmarks._students import trained
from fewstep.core.errors import UsageError

TEACHER, ITERATIONS, SEEDS = "kathleen-prodiff-teacher", 150, (0,)
DISTILL = "fewstep.core.distill"
_DISTANCE = f"distance: {{_target_: {DISTILL}.distance.l1, _partial_: true}}"
_STEP = f"step: {{_target_: {DISTILL}.segment.ddim, _partial_: true}}"
METHODS = {
    "progressive": f"progressive.Progressive, steps: 2, {_DISTANCE}",
    "consistency": f"consistency.Consistency, sigma_data: 1.0, steps: 4, {_STEP}, {_DISTANCE}",
    "ctm": f"ctm.ConsistencyTrajectory, sigma_data: 1.0, steps: 4, leaps: 2, {_STEP}, {_DISTANCE}",
    "reflow": f"reflow.Reflow, limit: 1.0, {_DISTANCE}",
}
"""Every distance is L1, as the teacher's own, and every grid has the teacher's four steps."""


def rows(*, quick: bool = False, data: Path | None = None, progress: Callable[[str], None] | None = None) -> list[dict]:
    """The table of the benchmark.

    Raises
    ------
    UsageError
        If there is no data: the recipes learn from recordings.
    """
    if data is None:
        raise UsageError("the recipes learn from recordings: give --data, an LJSpeech-style folder")
    folder = data / "speech" / "kathleen" if (data / "speech" / "kathleen").is_dir() else data
    torch.set_flush_denormal(True)
    teacher = TextToSpeech.load(TEACHER)
    phrases = tts.phrase_list()[: 5 if quick else None]
    say_so = progress or (lambda line: None)
    judge = Judge(
        teacher, phrases, tts._recordings(folder, phrases, teacher.sample_rate), SEEDS[: 1 if quick else None]
    )
    table = []
    for steps in (1, 2, 4):
        table += judge.rows("teacher", steps, tts._speaker(teacher, steps))
        say_so(_line(table[-3:]))
    for name, method in METHODS.items():
        export, cost = trained(
            f"voice-{'quick-' if quick else ''}{name}", [_job(method, folder, 2 if quick else ITERATIONS)]
        )
        student = VoiceStudent.load(export)
        for steps in (1, 2):
            table += judge.rows(name, steps, _speaker(student, teacher, steps))
            say_so(_line(table[-3:]))
        table += [tts._row(name, metric, value, None) for metric, value in cost.items()]
    return table


def _line(rows: list[dict]) -> str:
    return f"{rows[0]['row']}: " + ", ".join(f"{row['metric']} {row['value']:.4g}" for row in rows)


def _job(method: str, folder: Path, iterations: int) -> list[str]:
    return [
        "experiment=audio/distill", f"data.folder={folder}", f"trainer.max_steps={iterations}",
        "trainer.check_val_every_n_epoch=1000", "~module.method", f"+module.method={{_target_: {DISTILL}.{method}}}",
    ]  # fmt: skip


def _speaker(student: VoiceStudent, teacher: TextToSpeech, steps: int) -> tts.Say:
    @torch.inference_mode()
    def say(text: str, seed: int) -> Tensor:
        tokens = torch.tensor([[INDEX[t] for t in phonemize(text).tokens]])
        x0 = student.speak(teacher.net.condition(tokens), steps=steps, seed=seed)
        return teacher.vocoder(teacher.net.denormalise(x0))[0]

    return say


class Judge:
    """Speaks all phrases and measures."""

    def __init__(self, voice: TextToSpeech, phrases: list[str], recordings: dict[str, Tensor], seeds: tuple[int, ...]):
        self.voice, self.phrases, self.recordings, self.seeds = voice, phrases, recordings, seeds
        self.recogniser = ClosedVocabularyRecogniser(tts.phrase_list())

    def rows(self, name: str, steps: int, say: tts.Say) -> list[dict]:
        """Word errors, distortion and lost variance of a system."""
        rate, spec = self.voice.sample_rate, self.voice.net.mel
        spoken = {(text, seed): say(text, seed) for text in self.phrases for seed in self.seeds}
        pairs = [(wav, self.recordings[text], spec) for (text, _), wav in spoken.items()]
        values = {
            "word error rate": tts._word_error_rate(self.recogniser, spoken, rate),
            "mel-cepstral distortion dB": statistics.fmean(mel_cepstral_distortion(*pair) for pair in pairs),
            "cepstral variance lost dB": statistics.fmean(variance_loss(*pair) for pair in pairs),
        }
        return [tts._row(f"{name}, {steps} steps", metric, value, steps) for metric, value in values.items()]
