"""The MRI part of `fewstep demo`: generated tissue seen by eight simulated coils, three of four lines left out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.core import hub
from fewstep.core.files import replacing
from fewstep.mri.api import Reconstructor
from fewstep.mri.batch import write_all
from fewstep.mri.data import simulate
from fewstep.mri.data.synthetic import SyntheticSlices
from fewstep.mri.geometry import unknown
from fewstep.mri.physics.masks import equispaced_fraction
from fewstep.mri.scan import Scan, ScanInfo
from fewstep.mri.slices import reconstruct
from fewstep.mri.write.files import write_json
from fewstep.mri.write.pictures import png

SIZE, COILS, ACCELERATION, CENTRE, NOISE, SEED, SLICE = 192, 8, 4, 0.08, 0.01, 1, 4
PRIOR = "mri-prior"


def simulated_scan(*, size: int = SIZE, seed: int = SEED) -> Scan:
    """A generated slice as if a scanner had measured a quarter of it.

    Parameters
    ----------
    size
        Rows and columns.
    seed
        Of all of it.

    Returns
    -------
    Scan
        One slice, with its reference.
    """
    image = SyntheticSlices(size=size, seed=seed, share_heads=0.0)[SLICE]
    maps = simulate.coils(np.random.default_rng(seed), (size, size), COILS)
    generator = torch.Generator().manual_seed(seed)
    kspace = simulate.acquire(image, maps, noise_std=NOISE, generator=generator)
    mask = equispaced_fraction((size, size), acceleration=ACCELERATION, centre_fraction=CENTRE, seed=seed)
    mask = mask.expand(size, size).unsqueeze(0)
    info = ScanInfo(
        file="simulated",
        sha256="0" * 64,
        kind="simulation",
        protocol="simulated tissue",
        encoded=(size, size, 1),
        patient={"PatientName": "SIMULATED^DEMO", "PatientID": "SIMULATED"},
    )
    spacing = 240 / size
    return Scan(
        kspace=(kspace * mask).unsqueeze(0),
        mask=mask,
        spacing=(spacing, spacing, 5.0),
        picture=(size, size),
        geometry=unknown(1, 5.0),
        info=info,
        noise_std=NOISE,
        reference=image.unsqueeze(0),
    )


def demonstrate(out: Path) -> dict[str, Any]:
    """Reconstruct the simulated scan and write it.

    Parameters
    ----------
    out
        Gets `scan.png` (reference, zero-filled, ours, error) and `scan/` with DICOM, NIfTI and the report.

    Returns
    -------
    dict
        Files and figures.
    """
    torch.set_flush_denormal(True)
    ships = PRIOR in dict(hub.shipped())
    reconstructor = (
        Reconstructor.load(method="dds", steps=8, samples=2) if ships else Reconstructor.load(method="cg-sense")
    )
    scan = simulated_scan()
    begun = time.perf_counter()
    made = reconstruct(scan, reconstructor)
    seconds = time.perf_counter() - begun
    files, extra = write_all(made, out / "scan", key="demonstration", formats=("dicom", "nifti"))
    write_json(out / "scan" / "report.json", {**made.report, **extra})
    reference, ours = made.reference[0], made.magnitude[0]
    top = float(np.percentile(reference, 99.7))
    row = [reference, np.abs(made.others["zero-filled"][0]), ours, 5 * np.abs(ours - reference)]
    with replacing(out / "scan.png") as temporary:
        temporary.write_bytes(png(np.concatenate(row, axis=1), low=0.0, high=top))
    metrics = made.report["metrics"]
    name = made.report["method"]
    return {
        "picture": str(out / "scan.png"),
        "DICOM": str(files[0].parent),
        "report": str(out / "scan" / "report.html"),
        "network calls": made.report["nfe"],
        "method": name,
        "PSNR zero-filled, dB": round(metrics["zero-filled"]["PSNR"], 2),
        "PSNR ours, dB": round(metrics[name]["PSNR"], 2),
        "seconds with the classical methods": round(seconds, 2),
    }
