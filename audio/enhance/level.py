"""How loud a recording is, from a count of its short frames, so that hours of it need one pass and no memory."""

from __future__ import annotations

import numpy as np

from fewstep.core.errors import UsageError

FRAME, TOP = 256, 0.95
_STEP, _FLOOR = 0.25, -100.0  # dB
_LOUD = -20.0  # dB of full scale, of the frame that 5 % of all frames exceed, after `gain`
_MOST = 60.0  # dB of gain


class Level:
    """Counts frames of 256 samples by their deviation from their mean, so that a constant offset is not loud.

    Equal whether a recording comes whole or in pieces; `add` takes [channels, n] or [n], and all channels count.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(int(-_FLOOR / _STEP) + 80, np.int64)
        self.peak = 0.0
        self._rest = np.zeros((1, 0), np.float32)

    def add(self, wav: np.ndarray) -> None:
        """Count further samples."""
        wav = np.atleast_2d(wav)
        rest = self._rest if self._rest.shape[0] == wav.shape[0] else np.zeros((wav.shape[0], 0), np.float32)
        wav = np.concatenate([rest, wav], axis=1)
        whole = wav.shape[1] // FRAME * FRAME
        self._rest = wav[:, whole:]
        if whole:
            self._count(wav[:, :whole].reshape(wav.shape[0], -1, FRAME).astype(np.float64).var(-1))
            self.peak = max(self.peak, float(np.abs(wav[:, :whole]).max()))

    def gain(self, how: str = "loud") -> float:
        """What brings the recording to the level that a net was trained at; 1 for silence.

        Parameters
        ----------
        how
            ``"loud"``: the level that 5 % of the frames exceed becomes -20 dB of full scale, with a gain of at most
            60 dB; ``"peak"``: the largest magnitude becomes 1 (SGMSE).

        Raises
        ------
        UsageError
            If `how` is neither.
        """
        if how not in ("loud", "peak"):
            raise UsageError(f"expected a level out of loud, peak, got {how!r}")
        if self._rest.size:
            self._count(self._rest.astype(np.float64).var(-1, keepdims=True))
            self.peak = max(self.peak, float(np.abs(self._rest).max()))
            self._rest = self._rest[:, :0]
        if how == "peak":
            return 1 / self.peak if self.peak > 1e-5 else 1.0
        total = self.counts.sum()
        if total == 0 or not self.counts[1:].any():
            return 1.0
        place = int(np.searchsorted(np.cumsum(self.counts), TOP * total))
        return float(10 ** (min(_LOUD - _FLOOR - _STEP * place, _MOST) / 20))

    def _count(self, power: np.ndarray) -> None:
        decibels = 10 * np.log10(power + 10 ** (_FLOOR / 10))
        places = np.clip(np.round((decibels - _FLOOR) / _STEP), 0, len(self.counts) - 1).astype(np.int64)
        np.add.at(self.counts, places.ravel(), 1)


def gain_of(wav: np.ndarray, how: str = "loud") -> float:
    """`Level.gain` of one recording [n] or [channels, n]."""
    level = Level()
    level.add(wav)
    return level.gain(how)
