"""Scans for `fewstep bench mri`: real pictures made into scans, real raw data, generated slices; and its pictures.

Simulated are, for the human series: a smooth phase, eight birdcage coils and white noise. The magnitudes are real, and
so are all of the raw scans.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.core import checkpoint
from fewstep.core.operators import Fourier
from fewstep.core.pretrained import Pretrained
from fewstep.mri.api import FEW_LINES, INFLATED, REGRESSION_KIND, prepare
from fewstep.mri.data import fields, simulate
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.methods import Method, PnPCM, Regression
from fewstep.mri.physics import birdcage, estimate_maps
from fewstep.mri.physics.masks import make
from fewstep.mri.problem import Problem, Slice

NOISE = 0.01
"""Of simulated scans, for pictures whose 99.5th percentile is 1."""

ACQUIRED = (256, 230)
"""Acquired matrix of the human series, to which its pictures are cut in k-space."""

CENTRES = {4: 0.08, 8: 0.04}


@dataclass(frozen=True, eq=False)
class Volume:
    """Fully sampled slices.

    Parameters
    ----------
    name
        For the rows.
    kspace
        complex64 [slice, coil, y, x].
    reference
        complex64 [slice, y, x]: combined by the true or, for real coils, the best maps; its magnitude is the target.
    """

    name: str
    kspace: Tensor
    reference: Tensor


@dataclass(frozen=True)
class SigpyL1(Method):
    """sigpy's L1-wavelet reconstruction (db4, FISTA) with given coil maps.

    Parameters
    ----------
    weight
        Its lamda, for slices in the unit of the priors.
    """

    weight: float

    def solve(self, one: Slice, seed: int) -> tuple[Tensor, int]:
        """[1, y, x]."""
        from sigpy.mri import app

        kspace, maps = one.problem.kspace[0], one.problem.coil_maps[0]
        weights = one.problem.mask.expand(1, *kspace.shape[1:])[0].float().numpy()
        job = app.L1WaveletRecon(
            kspace.numpy(), maps.numpy(), self.weight, weights=weights, max_iter=60, show_pbar=False
        )
        return torch.from_numpy(job.run())[None].to(torch.complex64), 0


def rivals(folder: Path = Path("runs")) -> dict[str, list[Method]]:
    """Nets that were trained to compare with, in a folder of runs: fastMRI's two, and a consistency model."""
    found: dict[str, list[Method]] = {}
    for name, label in (("mri-unet", "U-Net of fastMRI"), ("mri-varnet", "VarNet of fastMRI")):
        export = folder / name / "export"
        if export.is_dir():
            net, _ = checkpoint.load(export, kind=REGRESSION_KIND)
            found[label] = [Regression(net)]
    export = folder / "mri-consistency" / "export"
    if export.is_dir():
        model = Pretrained.load(export)
        found |= {f"PnP, consistency model, {n} steps, mean of 4": [PnPCM(model, steps=n)] for n in (2, 4, 8)}
    return found


def human(data: Path, slices: tuple[int, ...]) -> Volume:
    """Slices of the human T1 series with simulated phase, coils and noise.

    Raises
    ------
    ValueError
        If the series is not there.
    """
    import pydicom

    files = sorted((data / "mri" / "dicom" / "uih_t1").glob("*"))
    if not files:
        raise ValueError(f"{data} has no mri/dicom/uih_t1")
    images = []
    for i in slices:
        picture = torch.from_numpy(pydicom.dcmread(files[i]).pixel_array.astype(np.float32))
        whole = Fourier(tuple(picture.shape), (0, 1)).apply(picture.to(torch.complex64))
        corner = [n // 2 - m // 2 for n, m in zip(picture.shape, ACQUIRED, strict=True)]
        band = whole[corner[0] :, corner[1] :][: ACQUIRED[0], : ACQUIRED[1]].contiguous()
        magnitude = Fourier(ACQUIRED, (0, 1)).apply_adjoint(band).abs()
        images.append(_with_phase(magnitude / torch.quantile(magnitude.flatten(), 0.995), seed=i))
    return _scanned("human T1", torch.stack(images))


def generated(count: int) -> Volume:
    """Shapes of a seed that nothing was trained on (no heads: they need nilearn), scanned like the human series."""
    slices = SyntheticSlices(size=192, seed=9, share_heads=0)
    return _scanned("generated", torch.stack([slices[i] for i in range(count)]))


def phantom(data: Path) -> Volume:
    """A raw scan of a phantom with one coil, nothing simulated.

    Raises
    ------
    ValueError
        If it is not there.
    """
    from fewstep.mri.read import read_scans

    file = data / "mri" / "raw" / "pulseq" / "01_GRE.dat"
    if not file.is_file():
        raise ValueError(f"{data} has no mri/raw/pulseq/01_GRE.dat")
    kspace = read_scans(file)[0].kspace[:1]
    images = Fourier(tuple(kspace.shape[1:]), (-2, -1)).apply_adjoint(kspace)
    scale = torch.quantile(images.abs().flatten(), 0.995)
    return Volume(f"phantom raw, {kspace.shape[1]} coil", kspace / scale, images[:, 0] / scale)


def problems(volume: Volume, kind: str, acceleration: int, *, oracle: bool) -> list[Problem]:
    """Undersampled slices, coil maps from the calibration lines or, as an oracle, from all data."""
    found = []
    for i, kspace in enumerate(volume.kspace.unsqueeze(1)):
        shape = (kspace.shape[-2], kspace.shape[-1])
        mask = make(kind, shape, acceleration=acceleration, centre_fraction=CENTRES[acceleration], seed=100 + i)
        maps = estimate_maps(kspace, torch.ones(1, 1, dtype=torch.bool)).maps if oracle else None
        problem, _, lines = prepare(kspace * mask, mask=mask, coil_maps=maps)
        inflated = lines is not None and lines < FEW_LINES
        found.append(replace(problem, noise_std=problem.noise_std * (INFLATED if inflated else 1.0)))
    return found


def combined(volume: Volume, problems: list[Problem]) -> Tensor:
    """All data combined by the coil maps of some problems, complex64 [slice, y, x]; zip stops at the fewer."""
    whole = Fourier(tuple(volume.kspace.shape[1:]), (-2, -1))
    pairs = zip(volume.kspace.unsqueeze(1), problems, strict=False)
    return torch.cat([(problem.coil_maps.conj() * whole.apply_adjoint(kspace)).sum(1) for kspace, problem in pairs])


def page(pictures: list[tuple[str, dict[str, Tensor]]], out: Path) -> Path:
    """An HTML page with a row of pictures per slice, embedded.

    Parameters
    ----------
    pictures
        Title and name -> [y, x] of each slice; names that begin with "error" or "std" are shown five times brighter.
    out
        Folder.

    Returns
    -------
    pathlib.Path
        The page.
    """
    from matplotlib.figure import Figure

    parts = ["<!doctype html><meta charset=utf-8><title>MRI</title><h1>MRI: reference and reconstructions</h1>"]
    for title, row in pictures:
        figure = Figure(figsize=(3 * len(row), 3.4), layout="constrained")
        top = float(row["reference"].abs().max())
        for panel, (name, picture) in zip(np.ravel(figure.subplots(1, len(row))), row.items(), strict=True):
            brighter = 5 if name.startswith(("error", "std")) else 1
            panel.imshow(picture.abs().numpy() * brighter, cmap="gray", vmin=0, vmax=top)
            panel.set_title(f"{name}{' x 5' if brighter > 1 else ''}", fontsize=9)
            panel.axis("off")
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110, format="png")
        encoded = base64.b64encode(buffer.getvalue()).decode()
        parts.append(f"<h2>{title}</h2><img alt='{title}' src='data:image/png;base64,{encoded}'>")
        (out / f"mri_{len(parts) - 1}.png").write_bytes(buffer.getvalue())
    file = out / "mri.html"
    file.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return file


def _with_phase(magnitude: Tensor, *, seed: int) -> Tensor:
    rng = np.random.default_rng([2024, seed])
    size, phase = max(magnitude.shape), np.zeros(1)
    while not phase.any():  # the generator leaves some slices without one
        phase = fields.phase(rng, size)
    return torch.polar(magnitude, torch.from_numpy(phase)[: magnitude.shape[0], : magnitude.shape[1]])


def _scanned(name: str, images: Tensor) -> Volume:
    maps, generator = birdcage(8, (images.shape[1], images.shape[2])), torch.Generator().manual_seed(0)
    kspace = torch.stack([simulate.acquire(x, maps, noise_std=NOISE, generator=generator) for x in images])
    combined = (maps.conj() * Fourier(tuple(kspace.shape[1:]), (-2, -1)).apply_adjoint(kspace)).sum(1)
    return Volume(f"{name}, 8 simulated coils", kspace, combined)
