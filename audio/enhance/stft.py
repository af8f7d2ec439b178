"""A complex spectrogram with compressed amplitude, and its inverse: c = factor |X|^exponent e^{i arg X}.

Richter et al. 2023, arXiv:2208.05830, section III-B: amplitudes of speech are heavy-tailed, and a diffusion process
wants numbers of size one. Frame k is centred at sample k * hop, so n samples have n // hop + 1 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fewstep.core.errors import UsageError

PADS = ("constant", "reflect")


@dataclass(frozen=True)
class Spectrum:
    """An invertible transform, as numbers; the defaults are SGMSE's at 16 kHz.

    Parameters
    ----------
    sample_rate
        Hz.
    n_fft, hop
        Samples; the window is a periodic Hann window of `n_fft`, which is even.
    exponent
        Of the amplitude, in (0, 1].
    factor
        By which the compressed amplitude is multiplied (SGMSE 0.15, StoRM 0.33).
    pad
        What lies beyond the ends of a recording: ``"constant"`` zeros or its ``"reflect"`` ion.

    Raises
    ------
    UsageError
        If a number is not as described.
    """

    sample_rate: int = 16000
    n_fft: int = 510
    hop: int = 128
    exponent: float = 0.5
    factor: float = 0.15
    pad: str = "constant"

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or self.n_fft < 4 or self.n_fft % 2 or not 0 < self.hop <= self.n_fft // 2:
            raise UsageError(f"expected a sample rate, an even n_fft >= 4 and 0 < hop <= n_fft / 2, got {self}")
        if not 0 < self.exponent <= 1 or not self.factor > 0 or self.pad not in PADS:
            raise UsageError(f"expected 0 < exponent <= 1, factor > 0 and pad out of {PADS}, got {self}")

    @property
    def bins(self) -> int:
        """Frequencies from 0 to half the sample rate, both included."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Number of frames of a recording."""
        return samples // self.hop + 1

    def forward(self, wav: Tensor, *, padded: bool = False) -> Tensor:
        """Compressed spectrum.

        Parameters
        ----------
        wav
            Real [..., n].
        padded
            Whether `wav` already holds the n_fft / 2 samples before its first and after its last frame's centre.

        Returns
        -------
        Tensor
            Complex [..., bins, frames].

        Raises
        ------
        UsageError
            If reflection is asked of a recording that is shorter than half a window.
        """
        half = self.n_fft // 2
        if not padded and self.pad == "reflect" and wav.shape[-1] <= half:
            raise UsageError(f"expected more than {half} samples to reflect, got {wav.shape[-1]}")
        flat = wav.reshape(-1, wav.shape[-1])
        flat = flat if padded else functional.pad(flat[:, None], (half, half), mode=self.pad)[:, 0]
        spectrum = torch.stft(flat, self.n_fft, self.hop, window=self._window(wav), center=False, return_complex=True)
        return self.compress(spectrum).reshape(*wav.shape[:-1], *spectrum.shape[1:])

    def inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """Waveform: complex [..., bins, frames] -> real [..., samples]."""
        half = self.n_fft // 2
        wav = self.synthesise(spectrum)[..., half : half + samples]
        return functional.pad(wav, (0, samples - wav.shape[-1]))

    def synthesise(self, spectrum: Tensor) -> Tensor:
        """Overlap and add: complex [..., bins, frames] -> real [..., (frames - 1) hop + n_fft].

        The first sample lies n_fft / 2 before the first frame's centre; samples that only one window's edge reaches are
        not reliable.
        """
        flat = self.expand(spectrum).reshape(-1, *spectrum.shape[-2:])
        window = self._window(flat.real)
        frames = torch.fft.irfft(flat, n=self.n_fft, dim=1) * window[:, None]
        shape = (1, (flat.shape[-1] - 1) * self.hop + self.n_fft)
        options = {"output_size": shape, "kernel_size": (1, self.n_fft), "stride": (1, self.hop)}
        wav = functional.fold(frames, **options)[:, 0, 0]
        weights = window.square()[None, :, None].expand(1, -1, flat.shape[-1])
        envelope = functional.fold(weights, **options)[0, 0, 0]
        return (wav / envelope.clamp(min=1e-4)).reshape(*spectrum.shape[:-2], -1)

    def compress(self, spectrum: Tensor) -> Tensor:
        """X -> factor |X|^exponent e^{i arg X}; 0 stays 0, with a bounded gradient."""
        if self.exponent == 1:
            return self.factor * spectrum
        power = spectrum.real.square() + spectrum.imag.square()
        return spectrum * (self.factor * (power + 1e-12) ** ((self.exponent - 1) / 2))

    def expand(self, spectrum: Tensor) -> Tensor:
        """The inverse of `compress` (below an amplitude of 1e-6 approximately)."""
        if self.exponent == 1:
            return spectrum / self.factor
        size = spectrum.abs() / self.factor
        return spectrum / self.factor * size ** (1 / self.exponent - 1)

    def _window(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.n_fft, dtype=like.dtype, device=like.device)
