"""Pictures of recordings before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def save_spectrograms(file: str | Path, wavs: Mapping[str, Tensor], sample_rate: int) -> Path:
    """Spectrograms [n] one below the other, in dB from -80 to 0 of the loudest, into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.4 * len(wavs)), layout="constrained")
    window = torch.hann_window(512)
    panels = figure.subplots(len(wavs), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, wav) in zip(panels, wavs.items(), strict=True):
        size = torch.stft(wav.float().cpu(), 512, 128, window=window, return_complex=True).abs()
        level = 20 * torch.log10(size / size.max().clamp(min=1e-9) + 1e-9)
        extent = (0, wav.shape[-1] / sample_rate, 0, sample_rate / 2000)
        panel.imshow(level.numpy(), origin="lower", aspect="auto", extent=extent, vmin=-80, vmax=0, cmap="magma")
        panel.set_ylabel(f"{name}, kHz")
    panels[-1].set_xlabel("seconds")
    figure.savefig(file, dpi=110)
    return Path(file)
