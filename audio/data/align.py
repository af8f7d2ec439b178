"""Phone durations of recorded speech by forced alignment with pocketsphinx, offline and in a thirtieth of real time.

The front end proposes every dictionary variant of each word; the aligner picks the one that was spoken. Separator
tokens (START, space, punctuation) get the silence at their place, which is often zero frames long.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from fewstep.audio.data.features import Item, Skipped, for_each, save_npz
from fewstep.audio.io import resample
from fewstep.audio.mel import MelSpec
from fewstep.audio.text.frontend import words_with_variants
from fewstep.audio.text.symbols import INDEX, START

_RATE = 16000  # of the acoustic model
_FRAME = 0.01  # seconds per aligner frame
_PAD = 0.2  # seconds of near-silence put around the recording, so that edge silence is found as such


@functools.lru_cache(maxsize=1)
def _decoder():
    try:
        import pocketsphinx
    except ImportError as error:
        raise ImportError("forced alignment needs pocketsphinx: pip install 'fewstep[audio]'") from error
    # wide beams: read speech is aligned in the second best of cases too
    return pocketsphinx.Decoder(
        lm=None, loglevel="FATAL", silprob=0.3, bestpath=False, beam=1e-80, pbeam=1e-80, wbeam=1e-60
    )


def align(wav: np.ndarray, text: str, spec: MelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and their durations for one recording.

    Parameters
    ----------
    wav : ndarray
        float [n] in [-1, 1] at `spec.sample_rate`.
    text : str
        Its transcript.
    spec : MelSpec
        Sets the sample rate and the frames.

    Returns
    -------
    tokens, durations : ndarray
        int16 [L]; indices into `symbols.SYMBOLS`, and mel frames, which add up to n // hop.

    Raises
    ------
    ValueError
        If the transcript holds nothing to say or does not fit the recording.
    """
    words = words_with_variants(text)
    decoder = _decoder()
    decoder.set_align_text(" ".join(_register(decoder, variants) for _, variants, _ in words))
    audio = _at_model_rate(wav, spec)
    _decode(decoder, audio)
    if decoder.hyp() is None:
        raise ValueError("the transcript does not fit the recording")
    decoder.set_alignment()
    _decode(decoder, audio)
    alignment = decoder.get_alignment()
    if alignment is None:
        raise ValueError("the transcript does not fit the recording")
    return _to_frames(alignment, words, len(wav) // spec.hop, spec)


def _register(decoder, variants: tuple[tuple[str, ...], ...]) -> str:
    """Add a word with exactly these pronunciations to the aligner's dictionary, once, and return its label."""
    label = f"w{abs(hash(variants)):x}"
    if decoder.lookup_word(label) is None:
        for number, variant in enumerate(variants, start=1):
            name = label if number == 1 else f"{label}({number})"
            decoder.add_word(name, " ".join(phone.rstrip("012") for phone in variant), False)
    return label


def _at_model_rate(wav: np.ndarray, spec: MelSpec) -> bytes:
    audio = resample(torch.from_numpy(wav.astype(np.float32)), spec.sample_rate, _RATE).numpy()
    noise = np.random.default_rng(0).standard_normal(len(audio) + 2 * int(_PAD * _RATE)) * 3e-4
    noise[int(_PAD * _RATE) : int(_PAD * _RATE) + len(audio)] += audio
    return (np.clip(noise, -1, 1) * 32767).astype(np.int16).tobytes()


def _decode(decoder, audio: bytes) -> None:
    decoder.start_utt()
    try:
        decoder.process_raw(audio, full_utt=True)
    finally:
        decoder.end_utt()


def _to_frames(alignment, words, frames: int, spec: MelSpec) -> tuple[np.ndarray, np.ndarray]:
    tokens, starts = [START], [0.0]  # start time of each token in seconds, from the beginning of the recording
    following = iter(words)
    for entry in alignment:
        if entry.name in ("<sil>", "[NOISE]", "[SPEECH]", "(NULL)", "<s>", "</s>"):
            continue
        _, variants, separator = next(following)
        number = int(entry.name.rpartition("(")[2].rstrip(")")) - 1 if entry.name.endswith(")") else 0
        for phone, timed in zip(variants[number], entry, strict=True):
            tokens.append(phone)
            starts.append(timed.start * _FRAME - _PAD)
        tokens.append(separator)
        starts.append((timed.start + timed.duration) * _FRAME - _PAD)
    if next(following, None) is not None:
        raise ValueError("the transcript does not fit the recording: words are left over")
    edges = np.clip(np.round(np.array(starts) * spec.frame_rate), 0, frames)
    edges = np.maximum.accumulate(np.append(edges, frames)).astype(np.int64)
    edges[0] = 0
    return np.array([INDEX[t] for t in tokens], np.int16), np.diff(edges).astype(np.int16)


def _align_item(item: Item, spec: MelSpec, cache: Path) -> None:
    wav = np.load(cache / f"{item.name}.audio.npz")["wav"].astype(np.float32) / 32768
    tokens, durations = align(wav, item.text, spec)
    save_npz(cache / f"{item.name}.align.npz", tokens=tokens, durations=durations, text=np.array(item.text))


def is_aligned(item: Item, cache: Path) -> bool:
    """Whether the cache holds durations for this very transcript."""
    file = cache / f"{item.name}.align.npz"
    return file.exists() and str(np.load(file)["text"]) == item.text


def align_all(
    items: list[Item], spec: MelSpec, cache: Path, *, workers: int = 1, progress: bool = True
) -> list[Skipped]:
    """Fill the cache with durations for every item with a waveform; return those that failed, with the reason."""
    missing = [i for i in items if (cache / f"{i.name}.audio.npz").exists() and not is_aligned(i, cache)]
    return for_each(
        missing, functools.partial(_align_item, spec=spec, cache=cache), "phone durations", workers, progress
    )
