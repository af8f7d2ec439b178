"""Audio files by blocks: opened once for what they are, read as often as needed, written under a temporary name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from fewstep.audio.enhance.corpus import SUFFIXES
from fewstep.audio.io import require_whole
from fewstep.core.errors import UsageError

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_KEPT = {".wav": ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"), ".flac": ("PCM_16", "PCM_24")}
_OPUS_RATES, _MP3_RATES = (
    (8000, 12000, 16000, 24000, 48000),
    (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
)
_LARGE = 1 << 31  # bytes from which a wav file is written as RF64
BLOCK = 1 << 16
_CONTAINERS = {b"ftyp": "MP4", b"\x1a\x45\xdf\xa3": "Matroska or WebM", b"AVI ": "AVI"}

__all__ = ["SUFFIXES", "Facts", "Reader", "Writer", "require_apart"]


@dataclass(frozen=True)
class Facts:
    """What a file says of itself."""

    sample_rate: int
    channels: int
    samples: int
    subtype: str

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate


class Reader:
    """An audio file.

    Parameters
    ----------
    file
        Anything that libsndfile reads.

    Raises
    ------
    UsageError
        If there is no such file, it is no audio, or it is empty or cut off.
    """

    def __init__(self, file: Path):
        import soundfile

        if not file.is_file():
            raise UsageError(f"{file}: there is no such audio file")
        if file.stat().st_size == 0:
            raise UsageError(f"{file}: is empty (0 bytes)")
        try:
            info = soundfile.info(file)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise UsageError(f"{file}: {_what_else(file)}") from error
        try:
            require_whole(file)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if info.frames == 0:
            raise UsageError(f"{file}: holds no samples")
        self.file, self.facts = file, Facts(info.samplerate, info.channels, info.frames, info.subtype)

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 [channels, up to 65536].

        Raises
        ------
        UsageError
            If a block cannot be decoded, or holds NaN or infinity.
        """
        import soundfile

        position = 0
        try:
            with soundfile.SoundFile(self.file) as stream:
                for block in stream.blocks(BLOCK, dtype="float32", always_2d=True):
                    if not np.isfinite(block).all():
                        where = position / self.facts.sample_rate
                        raise UsageError(f"{self.file}: holds NaN or infinite samples (after {where:.1f} s)")
                    position += len(block)
                    yield np.ascontiguousarray(block.T)
        except soundfile.LibsndfileError as error:
            where = position / self.facts.sample_rate
            raise UsageError(f"{self.file}: cannot be decoded after {where:.1f} s ({error})") from error
        if position == 0:
            raise UsageError(f"{self.file}: holds no samples that can be decoded")


class Writer:
    """An audio file that appears under its name when it is whole.

    Parameters
    ----------
    file
        Its suffix says the format.
    sample_rate
        Hz.
    like
        Channels, length, and how samples are stored, where the format can keep it.

    Raises
    ------
    UsageError
        If the suffix is unknown, or the format has no such rate or number of channels.
    """

    def __init__(self, file: Path, sample_rate: int, like: Facts):
        suffix = file.suffix.lower()
        if suffix not in FORMATS:
            raise UsageError(f"{file}: expected a name that ends in {', '.join(FORMATS)}")
        rates = {".opus": _OPUS_RATES, ".mp3": _MP3_RATES}.get(suffix)
        if rates and sample_rate not in rates:
            raise UsageError(
                f"{file}: {suffix[1:]} has no rate of {sample_rate} Hz (only {rates}); write .wav or .flac"
            )
        limit = {".mp3": 2, ".flac": 8}.get(suffix, 255)
        if like.channels > limit:
            raise UsageError(f"{file}: {suffix[1:]} has at most {limit} channels, the input has {like.channels}")
        self.file, self.rate, self.like, self.suffix = file, sample_rate, like, suffix
        self.part = file.with_name(f".{file.name}.{os.getpid()}.part")

    def __enter__(self) -> Writer:
        import soundfile

        self.file.parent.mkdir(parents=True, exist_ok=True)
        kept = _KEPT.get(self.suffix, ())
        subtype = self.like.subtype if self.like.subtype in kept else _SUBTYPES[self.suffix]
        size = self.like.seconds * self.rate * self.like.channels * 4
        form = "RF64" if self.suffix == ".wav" and size > _LARGE else FORMATS[self.suffix]
        try:
            self._stream = soundfile.SoundFile(
                self.part, "w", self.rate, self.like.channels, subtype=subtype, format=form
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            raise UsageError(f"{self.file}: cannot be written ({error})") from error
        return self

    def write(self, wav: np.ndarray) -> None:
        """float [channels, n] in [-1, 1]."""
        self._stream.write(wav.T)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if kind is None:
            os.replace(self.part, self.file)
        else:
            self.part.unlink(missing_ok=True)


def require_apart(source: Path, output: Path) -> None:
    """Refuse to write over the input.

    Raises
    ------
    UsageError
        If both names are one file.
    """
    if output.exists() and os.path.samefile(source, output):
        raise UsageError(f"{output} is the input itself, which is never overwritten: give another name")


def _what_else(file: Path) -> str:
    """What a file that is no audio seems to be."""
    with open(file, "rb") as stream:
        head = stream.read(16)
    for magic, name in _CONTAINERS.items():
        if magic in (head[:4], head[4:8], head[8:12]):
            return (
                f"is a video container ({name}): extract its sound first, for example ffmpeg -i {file.name} sound.wav"
            )
    return "cannot be read as audio (unknown or damaged header)"
