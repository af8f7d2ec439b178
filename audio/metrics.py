"""How speech is judged here: word error rate by an offline recogniser, and mel-cepstral distortion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fewstep.audio.io import resample
from fewstep.audio.mel import MelSpec, mel_spectrogram
from fewstep.audio.text.frontend import words_with_variants

_RATE = 16000


def mel_cepstrum(wav: Tensor, spec: MelSpec, order: int = 13) -> np.ndarray:
    """Cepstral coefficients 1 .. order of the natural-log mel spectrogram: wav [n] -> [frames, order] (c0 left out)."""
    from scipy.fft import dct

    mel = mel_spectrogram(wav, spec).double().numpy()
    mel = mel if spec.log == "ln" else mel * math.log(10)
    return dct(mel, type=2, axis=0, norm="ortho")[1 : order + 1].T * math.sqrt(1 / mel.shape[0])


def mel_cepstral_distortion(wav: Tensor, reference: Tensor, spec: MelSpec) -> float:
    """Mel-cepstral distortion in dB after dynamic time warping.

    MCD = 10 / ln 10 * mean over the path of sqrt(2 sum_k (c_k - c'_k)^2), k = 1 .. 13 (Kubichek 1993).

    Parameters
    ----------
    wav, reference : Tensor
        [n] at `spec.sample_rate`.
    spec : MelSpec
        The spectrogram that the cepstra are taken from.
    """
    import librosa

    ours, theirs = mel_cepstrum(wav, spec), mel_cepstrum(reference, spec)
    _, path = librosa.sequence.dtw(ours.T, theirs.T, metric="euclidean")
    distances = np.linalg.norm(ours[path[:, 0]] - theirs[path[:, 1]], axis=1)
    return float(10 / math.log(10) * math.sqrt(2) * distances.mean())


def variance_loss(wav: Tensor, reference: Tensor, spec: MelSpec) -> float:
    """How much less the cepstrum moves over time than the reference's, in dB: 0 is as lively, more is over-smoothed.

    The mean over k = 1 .. 13 of 10 log10 of the ratio of the variances over the louder frames ("global variance",
    Toda & Tokuda 2007, doi:10.1093/ietisy/e90-d.5.816). Distortion alone rewards averages; this punishes them.

    Parameters
    ----------
    wav, reference : Tensor
        [n] at `spec.sample_rate`; they need not be aligned.
    spec : MelSpec
        The spectrogram that the cepstra are taken from.
    """
    ours, theirs = (_lively_variance(w, spec) for w in (wav, reference))
    return float(np.mean(10 * np.log10(theirs / ours)))


def _lively_variance(wav: Tensor, spec: MelSpec) -> np.ndarray:
    level = mel_spectrogram(wav, spec).mean(dim=0).numpy()
    return mel_cepstrum(wav, spec)[level > np.median(level)].var(axis=0) + 1e-12


class ClosedVocabularyRecogniser:
    """pocketsphinx with a loop over the words of given sentences: every word may follow every word.

    Parameters
    ----------
    sentences : sequence of str
        Whose words make up the vocabulary, with all their dictionary pronunciations.
    insertion : float
        Word insertion probability; below 1 it makes the recogniser prefer fewer, longer words.
    """

    def __init__(self, sentences: Sequence[str], *, insertion: float = 0.01):
        import pocketsphinx

        self.decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", wip=insertion, bestpath=False)
        vocabulary: dict[str, tuple] = {}
        for sentence in sentences:
            for word, variants, _ in words_with_variants(sentence):
                known = vocabulary.get(word, ())
                vocabulary[word] = known + tuple(v for v in variants if v not in known)
        self.label = {word: f"v{i}" for i, word in enumerate(sorted(vocabulary))}
        self.word = {label: word for word, label in self.label.items()}
        for word, variants in vocabulary.items():
            phones = dict.fromkeys(" ".join(p.rstrip("012") for p in v) for v in variants)
            for number, pronunciation in enumerate(phones, start=1):
                suffix = "" if number == 1 else f"({number})"
                self.decoder.add_word(self.label[word] + suffix, pronunciation, False)
        grammar = " | ".join(self.label.values())
        self.decoder.add_jsgf_string("words", f"#JSGF V1.0; grammar words; public <s> = ({grammar})+;")
        self.decoder.activate_search("words")

    def __call__(self, wav: Tensor, sample_rate: int) -> list[str]:
        """Words heard in `wav` [n]."""
        audio = resample(wav.float().contiguous(), sample_rate, _RATE).numpy()
        quiet = np.random.default_rng(0).standard_normal(len(audio) + _RATE // 2) * 3e-4
        quiet[_RATE // 4 : _RATE // 4 + len(audio)] += audio
        self.decoder.start_utt()
        self.decoder.process_raw((np.clip(quiet, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
        self.decoder.end_utt()
        hypothesis = self.decoder.hyp()
        return [self.word[label] for label in hypothesis.hypstr.split()] if hypothesis else []


def spoken_words(sentence: str) -> list[str]:
    """The words of a sentence as the front end says them."""
    return [word for word, _, _ in words_with_variants(sentence)]


def word_errors(heard: Sequence[str], said: Sequence[str]) -> int:
    """Levenshtein distance between two word sequences."""
    row = list(range(len(said) + 1))
    for i, word in enumerate(heard, start=1):
        previous, row[0] = row[0], i
        for j, truth in enumerate(said, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != truth))
    return row[-1]
