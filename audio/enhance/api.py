"""Speech enhancement from Python.

enhancer = Enhancer.load("enhance-small")
clean = enhancer(wav, sample_rate)                  # [channels, n] in, the same out
enhancer.file("noisy.wav", "clean.wav")             # any length, in constant memory
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.audio.enhance.files import Reader, Writer, require_apart
from fewstep.audio.enhance.plan import Plan
from fewstep.audio.enhance.samplers import Even, Sampler
from fewstep.audio.io import write_wav
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.core import checkpoint, hub
from fewstep.core.build import build
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

KIND, MOST_CHANNELS = "enhance", 64
SHIPPED = {"denoise": "enhance-small", "dereverb": "dereverb-small"}


@dataclass(frozen=True)
class Enhanced:
    """Enhanced speech.

    Attributes
    ----------
    wav : Tensor
        float32 [channels, n] in [-1, 1].
    sample_rate : int
        Hz.
    steps, nfe : int
        Steps of the diffusion, and network calls of every piece, the predictive one included.
    compute_seconds : float
        Time that it took.
    """

    wav: Tensor
    sample_rate: int
    steps: int
    nfe: int
    compute_seconds: float

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return self.wav.shape[-1] / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Computing time divided by duration."""
        return self.compute_seconds / self.seconds

    def save(self, file: str | Path) -> None:
        """Write 16-bit wav (see `fewstep.audio.io.write_wav`)."""
        write_wav(file, self.wav, self.sample_rate)


@dataclass(frozen=True)
class Report:
    """What was done to a file: names, duration in seconds, and how."""

    file: str
    output: str
    seconds: float
    sample_rate: int
    channels: int
    task: str
    steps: int
    nfe: int
    real_time_factor: float


class Enhancer:
    """Nets, path and transform. Use `Enhancer.load`; the constructor takes parts that are built already."""

    def __init__(
        self,
        model: Enhancement,
        path: AffinePath | None,
        *,
        steps: int,
        parameterization: str = "x0",
        task: str = "denoise",
        level: str = "loud",
        sampler: Sampler | None = None,
    ):
        self.model, self.path, self.default_steps = model.eval(), path, steps
        self.parameterization, self.task, self.level = parameterization, task, level
        self.sampler: Sampler = sampler or Even()

    @classmethod
    def load(
        cls, name: str | Path | None = None, *, task: str = "denoise", device: str | torch.device = "cpu"
    ) -> Enhancer:
        """Load an enhancer.

        Parameters
        ----------
        name : str or path, optional
            A model that ships, a folder, or a hub id; default: the one that ships for the task.
        task : {"denoise", "dereverb"}
            Picks the default.
        device : str or torch.device
            Where the nets run.

        Raises
        ------
        UsageError
            If there is no such model or task, or its files are not what they should be.
        """
        if task not in SHIPPED:
            raise UsageError(f"expected a task out of {', '.join(SHIPPED)}, got {task!r}")
        model, config = checkpoint.load(hub.resolve(name or SHIPPED[task], kind=KIND), kind=KIND, device=device)
        if not isinstance(model, Enhancement):
            raise UsageError(f"{name}: expected an Enhancement, its config names a {type(model).__name__}")
        path = build(config["path"]) if config.get("path") else None
        options = {key: config[key] for key in ("parameterization", "task", "level") if key in config}
        sampler = build(config["sampler"]) if config.get("sampler") else None
        return cls(model, path, steps=int(config.get("steps", 4)), sampler=sampler, **options)

    @property
    def sample_rate(self) -> int:
        """Hz at which the nets work."""
        return self.model.spectrum.sample_rate

    def __call__(
        self,
        wav: Tensor,
        sample_rate: int,
        *,
        steps: int | None = None,
        strength: float = 1.0,
        keep_rate: bool = False,
        seed: int = 0,
        chunk_seconds: float = 16.0,
    ) -> Enhanced:
        """Enhance a recording.

        Parameters
        ----------
        wav : Tensor
            Real [n] or [channels, n], full scale 1. Channels keep their relation in phase and level.
        sample_rate : int
            Hz.
        steps : int, optional
            Steps of the diffusion; 0 is the predictive net alone; default: what the model was made for.
        strength : float
            0 leaves the recording as it is, 1 is the model's answer; in between, a mix of both.
        keep_rate : bool
            Give back the recording's own rate, with the band above the model's as it was; otherwise the model's rate.
        seed : int
            Equal seeds give equal audio.
        chunk_seconds : float
            Length of the pieces that are computed at once.

        Returns
        -------
        Enhanced

        Raises
        ------
        UsageError
            If an argument is out of its range, or the recording is empty or holds NaN or infinity.
        """
        data = np.atleast_2d(torch.as_tensor(wav).detach().cpu().float().numpy())
        if data.ndim != 2 or not data.shape[1] or not data.shape[0]:
            raise UsageError(f"expected audio [n] or [channels, n] with at least one sample, got {list(data.shape)}")
        if data.shape[0] > max(MOST_CHANNELS, data.shape[1]):
            raise UsageError(f"expected audio [channels, n], got {list(data.shape)}: is it the transpose?")
        if not np.isfinite(data).all():
            raise UsageError("the recording holds NaN or infinite samples")
        plan = self._plan(sample_rate, steps, strength, keep_rate, seed, chunk_seconds)
        start = time.perf_counter()
        parts = list(plan.run(lambda: _blocks(data)))
        rate = sample_rate if keep_rate else self.sample_rate
        return Enhanced(torch.cat(parts, 1), rate, plan.steps, self._calls(plan.steps), time.perf_counter() - start)

    def file(
        self,
        source: str | Path,
        output: str | Path,
        *,
        steps: int | None = None,
        strength: float = 1.0,
        keep_rate: bool = False,
        seed: int = 0,
        chunk_seconds: float = 16.0,
        progress: Callable[[float], None] | None = None,
    ) -> Report:
        """Enhance a file into another, in memory that does not grow with its length.

        Parameters
        ----------
        source : path
            Anything that libsndfile reads.
        output : path
            .wav, .flac, .ogg, .opus or .mp3; written under a temporary name and renamed.
        steps, strength, keep_rate, seed, chunk_seconds
            As in a call.
        progress : callable, optional
            Told the share done, now and then.

        Returns
        -------
        Report

        Raises
        ------
        UsageError
            If the input is no audio, empty, cut off or not finite, the output is the input, or an argument is out of
            its range.
        """
        reader = Reader(Path(source))
        require_apart(Path(source), Path(output))
        facts = reader.facts
        plan = self._plan(facts.sample_rate, steps, strength, keep_rate, seed, chunk_seconds)
        rate = facts.sample_rate if keep_rate else self.sample_rate
        start, done = time.perf_counter(), 0
        with Writer(Path(output), rate, facts) as writer:
            for part in plan.run(reader.blocks):
                writer.write(part.numpy())
                done += part.shape[-1]
                if progress:
                    progress(min(1.0, done / rate / max(facts.seconds, 1e-9)))
        took = time.perf_counter() - start
        return Report(
            str(source), str(output), round(done / rate, 3), rate, facts.channels, self.task, plan.steps,
            self._calls(plan.steps), round(took * rate / max(done, 1), 4),
        )  # fmt: skip

    def _calls(self, steps: int) -> int:
        return (self.model.predictor is not None) + (self.sampler.calls(steps) if steps else 0)

    def _plan(
        self, rate: int, steps: int | None, strength: float, keep_rate: bool, seed: int, chunk_seconds: float
    ) -> Plan:
        steps = self.default_steps if steps is None else steps
        for name, value, low, high in (("steps", steps, 0, 1000), ("seed", seed, 0, 2**63 - 1)):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{name} is a whole number from {low} to {high}, got {value!r}")
        if steps == 0 and self.model.predictor is None:
            raise UsageError("steps=0 is the predictive net alone, and this model has none: give at least 1")
        if steps and (self.model.net is None or self.path is None):
            steps = 0
        if not (isinstance(strength, int | float) and 0 <= strength <= 1):
            raise UsageError(f"strength is a number from 0 to 1, got {strength!r}")
        if not (isinstance(rate, int) and 1000 <= rate <= 768000):
            raise UsageError(f"the sample rate is a whole number from 1000 to 768000 Hz, got {rate!r}")
        if not chunk_seconds >= 0.5:
            raise UsageError(f"chunk_seconds is at least 0.5, got {chunk_seconds}")
        return Plan(self, rate, steps, float(strength), keep_rate, seed, chunk_seconds)


def _blocks(wav: np.ndarray, size: int = 1 << 16) -> Iterator[np.ndarray]:
    yield from (wav[:, i : i + size] for i in range(0, wav.shape[1], size))
