"""Reading and writing audio files with soundfile: any rate and format in, one clear error per bad file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def read_audio(file: str | Path, sample_rate: int | None = None) -> tuple[Tensor, int]:
    """Read an audio file as mono.

    Parameters
    ----------
    file : path
        Anything that libsndfile reads (wav, flac, ogg, opus, mp3, ...).
    sample_rate : int, optional
        Resample to this rate (Hz); None keeps the file's own.

    Returns
    -------
    wav : Tensor
        float32 [1, n] in [-1, 1]; channels are averaged.
    sample_rate : int

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no audio, is empty or truncated, or holds NaN or infinity.
    """
    import soundfile

    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such audio file")
    try:
        data, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError(f"{file}: cannot be read as audio ({error})") from error
    require_whole(file)
    if len(data) == 0:
        raise ValueError(f"{file}: holds no samples (empty or truncated)")
    if not np.isfinite(data).all():
        raise ValueError(f"{file}: holds NaN or infinite samples")
    wav = torch.from_numpy(np.ascontiguousarray(data.mean(axis=1)))[None]
    if sample_rate is None or sample_rate == rate:
        return wav, rate
    return resample(wav, rate, sample_rate), sample_rate


def require_whole(file: Path) -> None:
    """libsndfile reads a cut-off RIFF file without a word; its header says how long it should be."""
    with open(file, "rb") as stream:
        magic, size = stream.read(4), int.from_bytes(stream.read(4), "little")
    streamed = size in (0, 0xFFFFFFFF)  # written to a pipe, length unknown
    if magic == b"RIFF" and not streamed and file.stat().st_size < size:
        raise ValueError(f"{file}: is truncated (its header promises {size + 8} bytes, it has {file.stat().st_size})")


def resample(wav: Tensor, rate: int, new_rate: int) -> Tensor:
    """Resample [..., n] from `rate` to `new_rate` Hz (band-limited, librosa's default kernel)."""
    import librosa

    if rate == new_rate:
        return wav
    return torch.from_numpy(librosa.resample(wav.numpy(), orig_sr=rate, target_sr=new_rate))


def write_wav(file: str | Path, wav: Tensor, sample_rate: int) -> None:
    """Write float audio [channel, n] or [n] as 16-bit PCM, through a temporary name, clipping to [-1, 1].

    Raises
    ------
    ValueError
        If the audio holds NaN or infinity.
    OSError
        If the folder cannot be written.
    """
    import soundfile

    file = Path(file)
    data = wav.detach().cpu().float().reshape(-1, wav.shape[-1])
    if not torch.isfinite(data).all():
        raise ValueError(f"{file}: refusing to write audio that holds NaN or infinity")
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as handle:
            soundfile.write(handle, data.clamp(-1, 1).T.numpy(), sample_rate, subtype="PCM_16", format="WAV")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
