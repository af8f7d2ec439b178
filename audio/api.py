"""Text to speech from Python.

tts = TextToSpeech.load("kathleen-prodiff")
speech = tts("Hello there.", steps=2, seed=0)
speech.save("hello.wav")
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fewstep.audio.io import write_wav
from fewstep.audio.mel import MelSpec
from fewstep.audio.models.condition import Control
from fewstep.audio.models.generate import generate, grid
from fewstep.audio.models.griffin_lim import GriffinLim
from fewstep.audio.models.prodiff import ProDiff
from fewstep.audio.text.frontend import EmptyText, Phones, phonemize
from fewstep.audio.text.lexicon import Lexicon
from fewstep.audio.text.sentences import split_sentences
from fewstep.audio.text.symbols import INDEX
from fewstep.core import checkpoint, hub
from fewstep.core.build import build
from fewstep.core.caches import Cache
from fewstep.core.caches.job import tuned
from fewstep.core.errors import UsageError
from fewstep.core.paths import AffinePath

DEFAULT_VOICE = "kathleen-prodiff"
BACKENDS = ("builtin", "espeak", "gruut")


@dataclass(frozen=True)
class Speech:
    """Synthesised speech.

    Attributes
    ----------
    wav : Tensor
        float32 [1, n] in [-1, 1].
    sample_rate : int
        Hz.
    mel : Tensor
        Log-mel [n_mels, frames] that was vocoded.
    words : tuple of (str, float, float)
        Each word with its start and end in seconds.
    steps, nfe, seed : int
        Sampling steps, network calls per sentence, and the seed.
    acoustic_seconds, vocoder_seconds : float
        Time that the two networks took.
    unknown : tuple of str
        Characters that cannot be said and were skipped.
    guessed : tuple of str
        Words whose pronunciation was guessed from their letters.
    """

    wav: Tensor
    sample_rate: int
    mel: Tensor
    words: tuple[tuple[str, float, float], ...]
    steps: int
    nfe: int
    seed: int
    acoustic_seconds: float
    vocoder_seconds: float
    unknown: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return self.wav.shape[-1] / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Computing time divided by duration, vocoder included."""
        return (self.acoustic_seconds + self.vocoder_seconds) / self.seconds

    def save(self, file: str | Path) -> None:
        """Write 16-bit wav (see `audio.io.write_wav`)."""
        write_wav(file, self.wav, self.sample_rate)


class TextToSpeech:
    """A voice: front end, acoustic model and vocoder.

    Use `TextToSpeech.load`; the constructor takes parts that are built already.
    """

    def __init__(
        self,
        net: ProDiff,
        path: AffinePath,
        vocoder: nn.Module,
        *,
        steps: int,
        shift: float = 1.0,
        lexicon: Lexicon | None = None,
        backend: str = "builtin",
        tuned_in: Path | None = None,
    ):
        if vocoder.mel != net.mel:
            raise ValueError(f"the vocoder reads {vocoder.mel}, the voice makes {net.mel}: they must be the same")
        if backend not in BACKENDS:
            raise ValueError(f"the front end is one of {', '.join(BACKENDS)}, got {backend!r}")
        self.net, self.path, self.vocoder, self.default_steps = net, path, vocoder, steps
        self.shift, self.lexicon, self.backend, self.tuned_in = shift, lexicon, backend, tuned_in

    @classmethod
    def load(
        cls,
        name: str | Path = DEFAULT_VOICE,
        *,
        vocoder: str | Path | None = None,
        device: str | torch.device = "cpu",
        lexicon: Lexicon | None = None,
        backend: str = "builtin",
        cache: str | None = None,
    ) -> TextToSpeech:
        """Load a voice.

        Parameters
        ----------
        name : str or path
            A voice that ships, a folder, or a hub id.
        vocoder : str or path, optional
            Likewise, or "griffin-lim"; default: the one that the voice names.
        device : str or torch.device
            Where the networks run.
        lexicon : Lexicon, optional
            Pronunciations of your own words.
        backend : {"builtin", "espeak", "gruut"}
            Who pronounces words; the latter two are installations of your own.
        cache : {"tuned"}, optional
            Leave out what `fewstep cache tune` found can be left out; only for the numbers of steps that it was
            called with.

        Raises
        ------
        UsageError
            If there is no such voice or vocoder or cache, or its files are not what they should be.
        ValueError
            If voice and vocoder use different spectrograms.
        """
        if cache not in (None, "tuned"):
            raise UsageError(f'expected cache="tuned" or none, got {cache!r}')
        folder = hub.resolve(name, kind="tts")
        net, config = checkpoint.load(folder, kind="tts", device=device)
        wanted = str(vocoder or config.get("vocoder", "griffin-lim"))
        if wanted == "griffin-lim":
            made: nn.Module = GriffinLim(net.mel)
        else:
            made, _ = checkpoint.load(hub.resolve(wanted, kind="vocoder"), kind="vocoder", device=device)
        sampling = {"steps": int(config["steps"]), "shift": float(config.get("shift", 1.0))}
        kept = folder if cache == "tuned" else None
        return cls(net, build(config["path"]), made, **sampling, lexicon=lexicon, backend=backend, tuned_in=kept)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.net.mel.sample_rate

    def __call__(
        self,
        text: str,
        *,
        steps: int | None = None,
        seed: int = 0,
        speed: float = 1.0,
        pitch: float = 0.0,
        energy: float = 0.0,
        pause: float = 0.25,
    ) -> Speech:
        """Say a text of any length.

        Parameters
        ----------
        text : str
            English; phones can be given as [[ HH AH0 L OW1 ]].
        steps : int, optional
            Network calls per sentence; default: what the voice was distilled for.
        seed : int
            Equal seeds give equal audio. Every sentence has its own noise.
        speed : float
            0.25 to 4; 2 is twice as fast.
        pitch : float
            Semitones, -12 to 12.
        energy : float
            Decibels of vocal effort, -12 to 12.
        pause : float
            Seconds of silence between sentences.

        Returns
        -------
        Speech

        Raises
        ------
        EmptyText
            If there is nothing to say.
        ValueError
            If a number is out of its range.
        """
        parts = list(self.stream(text, steps=steps, seed=seed, speed=speed, pitch=pitch, energy=energy))
        if not 0 <= pause <= 10:
            raise ValueError(f"pause is 0 to 10 seconds, got {pause}")
        return join(parts, pause)

    def stream(
        self,
        text: str,
        *,
        steps: int | None = None,
        seed: int = 0,
        speed: float = 1.0,
        pitch: float = 0.0,
        energy: float = 0.0,
    ) -> Iterator[Speech]:
        """The sentences of a text, one after the other, each as soon as it is ready. Arguments as in a call."""
        steps = self.default_steps if steps is None else steps
        _require_whole("steps", steps, 1, 1000)
        _require_whole("seed", seed, 0, 2**63 - 1)
        for name, value, low, high in (
            ("speed", speed, 0.25, 4),
            ("pitch", pitch, -12, 12),
            ("energy", energy, -12, 12),
        ):
            if not (isinstance(value, int | float) and low <= value <= high):
                raise ValueError(f"{name} is a number from {low} to {high}, got {value!r}")
        return self._sentences(text, steps, seed, self._control(speed, pitch, energy))

    def _sentences(self, text: str, steps: int, seed: int, control: Control) -> Iterator[Speech]:
        spoken, unknown = 0, list[str]()
        for sentence in split_sentences(text):
            try:
                phones = phonemize(sentence, lexicon=self.lexicon, backend=self.backend)
            except EmptyText:
                continue  # a lone dash or emoji between sentences
            new = [c for c in phones.unknown if c not in unknown]
            unknown += new
            yield self._say(phones, steps, seed, spoken, control, tuple(new))
            spoken += 1
        if not spoken:
            shown = text if len(text) <= 40 else text[:40] + "..."
            raise EmptyText(f"nothing to say: expected text with at least one word, got {shown!r}")

    def _cache(self, steps: int) -> tuple[Cache, ...]:
        if self.tuned_in is None:
            return ()
        return tuned(self.tuned_in, self.net.denoiser, grid(self.path, steps, self.shift))

    def _control(self, speed: float, pitch: float, energy: float) -> Control:
        """Semitones and decibels in units of the predictors' standard deviations."""
        _, (_, pitch_std), (_, energy_std) = self.net.statistics.tolist()
        return Control(float(speed), pitch * math.log(2) / 12 / pitch_std, energy * math.log(10) / 20 / energy_std)

    @torch.inference_mode()
    def _say(
        self, phones: Phones, steps: int, seed: int, number: int, control: Control, unknown: tuple[str, ...]
    ) -> Speech:
        start = time.perf_counter()
        device = self.net.statistics.device
        tokens = torch.tensor([[INDEX[t] for t in phones.tokens]], device=device)
        cond = self.net.condition(tokens, control=control)
        x0, nfe = generate(
            self.net, self.path, cond, steps=steps, seed=_sentence_seed(seed, number), shift=self.shift,
            cache=self._cache(steps),
        )  # fmt: skip
        mel = self.net.denormalise(x0).clamp(math.log(self.net.mel.floor), 4.0)
        middle = time.perf_counter()
        wav = _fade(self.vocoder(mel).cpu(), self.sample_rate)
        end = time.perf_counter()
        return Speech(
            wav=wav.clamp(-1, 1),
            sample_rate=self.sample_rate,
            mel=mel[0].cpu(),
            words=_timings(phones, cond.durations[0], self.net.mel),
            steps=steps,
            nfe=nfe,
            seed=seed,
            acoustic_seconds=middle - start,
            vocoder_seconds=end - middle,
            unknown=unknown,
            guessed=phones.guessed,
        )


def join(parts: list[Speech], pause: float) -> Speech:
    """One Speech of several, with `pause` seconds of silence between them."""
    first, rate = parts[0], parts[0].sample_rate
    hop = round(first.wav.shape[-1] / first.mel.shape[-1])
    gap = round(pause * rate / hop)
    wavs, mels, words, frames = [], [], [], 0
    for number, part in enumerate(parts):
        if number and gap:
            wavs.append(torch.zeros(1, gap * hop))
            mels.append(torch.full((part.mel.shape[0], gap), float(part.mel.min())))
            frames += gap
        words += [(w, a + frames * hop / rate, b + frames * hop / rate) for w, a, b in part.words]
        wavs.append(part.wav)
        mels.append(part.mel)
        frames += part.mel.shape[-1]
    return Speech(
        wav=torch.cat(wavs, dim=-1),
        sample_rate=rate,
        mel=torch.cat(mels, dim=-1),
        words=tuple(words),
        steps=first.steps,
        nfe=first.nfe,
        seed=first.seed,
        acoustic_seconds=sum(p.acoustic_seconds for p in parts),
        vocoder_seconds=sum(p.vocoder_seconds for p in parts),
        unknown=tuple(dict.fromkeys(c for p in parts for c in p.unknown)),
        guessed=tuple(dict.fromkeys(w for p in parts for w in p.guessed)),
    )


def _timings(phones: Phones, durations: Tensor, spec: MelSpec) -> tuple[tuple[str, float, float], ...]:
    edges = [0.0, *(durations.cumsum(0) / spec.frame_rate).tolist()]
    return tuple((w.text, round(edges[w.start], 4), round(edges[w.end], 4)) for w in phones.words)


def _fade(wav: Tensor, sample_rate: int) -> Tensor:
    """Five milliseconds of fade at both ends, so that joined sentences do not click."""
    n = min(int(0.005 * sample_rate), wav.shape[-1] // 2)
    ramp = torch.linspace(0, 1, n) if n else torch.ones(0)
    middle = torch.ones(wav.shape[-1] - 2 * n)
    return wav * torch.cat([ramp, middle, ramp.flip(0)])


def _sentence_seed(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number * 7919) % 2**63


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is a whole number from {low} to {high}, got {value!r}")
