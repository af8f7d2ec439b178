"""Pictures of speech."""

from __future__ import annotations

from pathlib import Path

from fewstep.audio.api import Speech


def save_spectrogram(file: str | Path, speech: Speech) -> None:
    """Waveform and log-mel spectrogram with the words under it, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, min(3.0 * speech.seconds, 24.0)), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    samples = speech.wav[0].numpy()
    top.plot([i / speech.sample_rate for i in range(len(samples))], samples, linewidth=0.3, color="black")
    top.set(ylim=(-1, 1), ylabel="wave")
    extent = (0.0, speech.seconds, 0.0, float(speech.mel.shape[0]))
    bottom.imshow(speech.mel.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma")
    bottom.set(ylabel="mel band", xlabel="seconds")
    for word, start, end in speech.words:
        bottom.text((start + end) / 2, 1.5, word, color="white", fontsize=7, ha="center")
        bottom.axvline(start, color="white", linewidth=0.2)
    figure.suptitle(f"{speech.steps} steps, {speech.nfe} network calls, seed {speech.seed}", fontsize=9)
    figure.savefig(file, dpi=100)
