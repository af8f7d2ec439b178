"""The vocoder that needs no weights: phases by alternating projections.

Griffin & Lim 1984; fast variant with momentum 0.99 of Perraudin et al. 2013. Starts from zero phase: no randomness.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewstep.audio.mel import MelSpec, mel_to_magnitude


class GriffinLim(nn.Module):
    """Log-mel [B, n_mels, T] -> wav [B, T * hop], for any MelSpec."""

    def __init__(self, mel: MelSpec, *, iterations: int = 48):
        super().__init__()
        self.mel, self.iterations = mel, iterations

    def forward(self, mel: Tensor) -> Tensor:
        from fewstep.audio.torchaudio_import import load

        spec, frames = self.mel, mel.shape[-1]
        shortest = spec.n_fft // spec.hop + 1  # what its reflection padding needs
        if frames < shortest:
            mel = nn.functional.pad(mel, (0, shortest - frames), mode="replicate")
        wav = load().functional.griffinlim(
            mel_to_magnitude(mel.float(), spec),
            window=torch.hann_window(spec.win, device=mel.device),
            n_fft=spec.n_fft,
            hop_length=spec.hop,
            win_length=spec.win,
            power=1.0,
            n_iter=self.iterations,
            momentum=0.99,
            length=None,
            rand_init=False,
        )
        # its frames are centred on multiples of hop, ours half a hop later
        return nn.functional.pad(wav, (spec.hop // 2, spec.hop))[..., : frames * spec.hop]
