"""The restoration part of `fewstep demo`: a photograph is shrunk, then enlarged again by the mean and by a sample."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.core import hub
from fewstep.restoration import metrics
from fewstep.restoration.api import Restorer
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.degrade.recipe import degrade
from fewstep.restoration.picture import Picture, write
from fewstep.restoration.report import shown_of, write_report

MODEL, SCALE, STEPS = "sr-x4", 4, 4
SIZE, TOP, LEFT = 256, 60, 120


def photograph() -> np.ndarray:
    """A part of scikit-image's camera man (CC0), which no model that ships was trained on, uint8 [256, 256, 1]."""
    from skimage import data

    return np.ascontiguousarray(data.camera()[TOP : TOP + SIZE, LEFT : LEFT + SIZE, None])


def demonstrate(out: Path) -> dict[str, Any]:
    """Restore the photograph and write the pictures.

    Parameters
    ----------
    out
        Gets `picture.png` (bicubic, mean, sample, original side by side) and `picture.html`.

    Returns
    -------
    dict
        Files and figures.
    """
    torch.set_flush_denormal(True)
    original = photograph()
    x0 = torch.from_numpy(original.copy()).permute(2, 0, 1).float() / 127.5 - 1
    lq, _ = degrade(x0, f"bicubic{SCALE}", seed=0)
    small, bicubic = _bytes(lq), _bytes(imresize(lq, SCALE))
    told: dict[str, Any] = {"picture": str(out / "picture.png"), "page": str(out / "picture.html")}
    made = {"bicubic": bicubic}
    if MODEL in dict(hub.shipped()):
        restorer = Restorer.load(MODEL, device="cpu")
        begun = time.perf_counter()
        made["mean"] = restorer(small)
        made["sample"] = restorer(small, steps=STEPS)
        told["seconds of both"] = round(time.perf_counter() - begun, 2)
        told["network calls"] = f"1 (mean), {STEPS} (sample)"
    for name, values in made.items():
        told[f"PSNR {name}, dB"] = round(_psnr_y(values, original), 2)
    row = np.concatenate([*made.values(), original], axis=1)
    write(out / "picture.png", Picture(row))
    name = list(made)[-1]
    write_report(out / "picture.html", [shown_of(name, Picture(small), Picture(made[name]), "camera man, CC0")])
    return told


def _psnr_y(x: np.ndarray, reference: np.ndarray) -> float:
    pair = [metrics.luma(metrics.cropped(v, SCALE), data_range=255) for v in (x, reference)]
    return metrics.psnr(pair[0], pair[1], data_range=255)


def _bytes(x: Tensor) -> np.ndarray:
    return ((x + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
