"""Pictures, degradations and classical baselines for `fewstep bench restoration`."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.core import hub, rng
from fewstep.restoration import Restorer, metrics
from fewstep.restoration.degrade import kernels, masks
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.picture import read
from fewstep.restoration.picture.picture import with_bits

SEED = 0
MOTION = slice(8, 12)
"""Of the 12 kernels, those of shaken cameras; the others are Gaussians."""

REGULARISED = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
EDGE = 12
"""Pixels at each border that deblurring is not measured on: half of a kernel."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A good and a bad picture, uint8 or, where noise is not cut off, float32 in [0, 255]; [rows, columns, 3]."""

    name: str
    good: np.ndarray
    bad: np.ndarray
    kernel: np.ndarray | None = None
    hole: np.ndarray | None = None


def images(data: Path | None) -> Path | None:
    """The folder of the picture sets within a data folder."""
    return None if data is None else data / "images" if (data / "images").is_dir() else data


def pictures(data: Path | None, count: int) -> list[tuple[str, np.ndarray]]:
    """The first `count` of the BSDS500 test pictures by name, or crops of scikit-image's (which were trained on)."""
    folder = images(data)
    if folder is not None:
        files = sorted((folder / "bsds500" / "test").glob("*.jpg"))
        if not files:
            raise ValueError(f"{folder} has no bsds500/test")
        return [(file.stem, colour(file)) for file in files[:count]]
    return generated()[:count]


def enlargements(data: Path | None, name: str) -> list[Pair]:
    """A set's given pairs for x4; or scikit-image's pictures shrunk by MATLAB's bicubic."""
    folder = images(data)
    if folder is not None:
        files = sorted((folder / name / "x4").glob("*_LR.png"))
        if not files:
            raise ValueError(f"{folder} has no {name}/x4")
        return [Pair(f.stem[:7], colour(f.with_name(f.name.replace("_LR", "_HR"))), colour(f)) for f in files]
    return [Pair(n, good, bytes_of(imresize(unit(good), 0.25))) for n, good in generated()]


def generated() -> list[tuple[str, np.ndarray]]:
    """Three 192 x 192 crops of scikit-image's pictures."""
    from skimage import data

    crops = {"astronaut": data.astronaut()[:192, 128:320], "cat": data.chelsea()[60:252, 100:292]}
    crops["coffee"] = data.coffee()[100:292, 200:392]
    return [(name, np.ascontiguousarray(values)) for name, values in crops.items()]


def noisy(data: Path | None, count: int, sigma: float) -> list[Pair]:
    """White noise that is neither rounded nor cut off, as usual."""
    made = []
    for i, (name, good) in enumerate(pictures(data, count)):
        eps = torch.randn(good.shape, generator=rng.generator(SEED, i, round(sigma))).numpy()
        made.append(Pair(name, good, good.astype(np.float32) + sigma * eps))
    return made


def shaken(data: Path | None, count: int) -> list[Pair]:
    """Motion blur and noise of 2.55, rounded."""
    folder = images(data)
    if folder is not None and (folder / "kernels_12.mat").is_file():
        from scipy.io import loadmat

        known = [np.asarray(k, np.float32) for k in loadmat(folder / "kernels_12.mat")["kernels"][0][MOTION]]
    else:
        known = [kernels.motion(rng.generator(SEED, i)).numpy() for i in range(4)]
    made = []
    for i, (name, good) in enumerate(pictures(data, count)):
        kernel = known[i % len(known)]
        blurred = kernels.blurred(unit(good)[0], torch.from_numpy(kernel))
        eps = torch.randn(blurred.shape, generator=rng.generator(SEED, i, 255))
        made.append(Pair(name, good, bytes_of((blurred + 2.55 / 127.5 * eps)[None]), kernel=kernel))
    return made


def holed(data: Path | None, count: int, kind: str) -> list[Pair]:
    """Thin strokes, half of the pixels, or a large box."""
    made = []
    for i, (name, good) in enumerate(pictures(data, count)):
        g, size = rng.generator(SEED, i, 1), good.shape[:2]
        if kind == "thin":
            hole = masks.strokes(*size, g, width=(2, 5), n=8)
        elif kind == "random":
            hole = masks.pixels(*size, g, share=(0.5, 0.5))
        else:
            hole = masks.boxes(*size, g, side=(0.3, 0.3), n=1)
        found = hole.numpy() > 0.5
        made.append(Pair(name, good, np.where(found[:, :, None], 0, good).astype(np.uint8), hole=found))
    return made


def restorer(name: str) -> Restorer | None:
    """A model that ships; None if it does not."""
    return Restorer.load(name, device="cpu", seed=SEED) if name in dict(hub.shipped()) else None


def rival(name: str, folder: Path = Path("runs")) -> Restorer | None:
    """A net that was trained to compare with, in a folder of runs; None if it was not."""
    export = folder / name / "export"
    return Restorer.load(export, device="cpu", seed=SEED) if export.is_dir() else None


def colour(file: Path) -> np.ndarray:
    """uint8 [rows, columns, 3]."""
    pixels = with_bits(read(file).pixels, 8)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def unit(x: np.ndarray) -> Tensor:
    """[rows, columns, 3] of [0, 255] as [1, 3, rows, columns] of [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))).float()[None] / 127.5 - 1


def bytes_of(x: Tensor) -> np.ndarray:
    """And back, rounded and cut off."""
    return ((x[0] + 1) * 127.5).clamp(0, 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def bicubic(lq: np.ndarray, scale: int = 4) -> np.ndarray:
    """MATLAB's."""
    return bytes_of(imresize(unit(lq), scale))


def direct_bicubic(x: np.ndarray, scale: float) -> np.ndarray:
    """One line resized pixel by pixel as MATLAB documents it, to compare with: float64 [n] -> [ceil(scale n)]."""

    def cubic(d: float) -> float:
        d = abs(d)
        if d <= 1:
            return 1.5 * d**3 - 2.5 * d**2 + 1
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d <= 2 else 0.0

    n, shrink, out = len(x), min(scale, 1.0), []
    for i in range(math.ceil(n * scale)):
        u = (i + 1) / scale + 0.5 * (1 - 1 / scale)  # from 1, as MATLAB counts
        left = math.floor(u - 2 / shrink)
        taps = range(left, left + math.ceil(4 / shrink) + 2)
        weights = [shrink * cubic(shrink * (u - k)) for k in taps]
        mirrored = [(k - 1) % (2 * n) for k in taps]
        values = [x[m] if m < n else x[2 * n - 1 - m] for m in mirrored]
        out.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return np.array(out)


def wiener(pair: Pair, weight: float) -> np.ndarray:
    """With the true kernel, smoothed by a Laplacian: X = conj(H) Y / (|H|² + weight |L|²), mirrored far enough."""
    assert pair.kernel is not None
    around = 2 * len(pair.kernel)
    y = np.pad(pair.bad.astype(float), ((around, around), (around, around), (0, 0)), mode="reflect")
    size = y.shape[:2]
    h, laplacian = (_spectrum(k, size) for k in (pair.kernel, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], float)))
    gain = (h.conj() / (np.abs(h) ** 2 + weight * np.abs(laplacian) ** 2 + 1e-8))[:, :, None]
    x = np.fft.ifft2(gain * np.fft.fft2(y, axes=(0, 1)), axes=(0, 1)).real
    return np.clip(np.rint(x[around:-around, around:-around]), 0, 255).astype(np.uint8)


def best_wiener(pair: Pair) -> np.ndarray:
    """The regularisation that is best for this very picture."""
    return max((wiener(pair, w) for w in REGULARISED), key=lambda x: inside(x, pair.good))


def inside(x: np.ndarray, good: np.ndarray) -> float:
    """PSNR RGB without the borders."""
    return metrics.psnr(metrics.cropped(x, EDGE), metrics.cropped(good, EDGE), data_range=255)


def nlm(pair: Pair, sigma: float) -> np.ndarray:
    """scikit-image's non-local means with the true noise level."""
    from skimage.restoration import denoise_nl_means

    x, s = pair.bad.astype(np.float32) / 255, sigma / 255
    options = {"h": 0.8 * s, "sigma": s, "fast_mode": True, "patch_size": 5, "patch_distance": 6, "channel_axis": 2}
    return _bytes(denoise_nl_means(x, **options))


def wavelet(pair: Pair, sigma: float) -> np.ndarray:
    """scikit-image's BayesShrink with the true noise level."""
    from skimage.restoration import denoise_wavelet

    options = {"sigma": sigma / 255, "channel_axis": 2, "convert2ycbcr": True, "rescale_sigma": True}
    return _bytes(denoise_wavelet(np.clip(pair.bad / 255, 0, 1), **options))


def telea(pair: Pair) -> np.ndarray | None:
    """OpenCV's, if it is installed."""
    try:
        import cv2
    except ImportError:
        return None
    assert pair.hole is not None
    return cv2.inpaint(pair.bad, pair.hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def in_hole(x: np.ndarray, pair: Pair) -> float:
    """PSNR RGB of what was filled."""
    return metrics.psnr(x[pair.hole], pair.good[pair.hole], data_range=255)


def patch_distance(made: list[np.ndarray], good: list[np.ndarray], *, size: int = 8, directions: int = 256) -> float:
    """Sliced Wasserstein distance of lumas' patches without their means: how unlike the textures are, in levels.

    Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3.
    """
    sets = []
    for pictures in (made, good):
        patches = [
            np.lib.stride_tricks.sliding_window_view(metrics.luma(x, data_range=255), (size, size))[::3, ::3]
            for x in pictures
        ]
        flat = np.concatenate([p.reshape(-1, size * size) for p in patches])
        sets.append(flat - flat.mean(1, keepdims=True))
    random = np.random.default_rng(SEED).normal(size=(size * size, directions))
    random /= np.linalg.norm(random, axis=0)
    one, other = (np.sort(values @ random, axis=0) for values in sets)
    return float(np.sqrt(np.square(one - other).mean()))


def peak_memory(model: str, size: tuple[int, int], options: str) -> float:
    """GB that a process of its own takes at most to restore a picture of `size`."""
    code = (
        "import torch, numpy as np; torch.set_num_threads(1); torch.set_flush_denormal(True)\n"
        "from fewstep.restoration import Restorer\n"
        f"x = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], ({size[0]}, {size[1] // 256 + 1}, 3))\n"
        f"Restorer.load({model!r}, device='cpu')(x[:, :{size[1]}], {options})\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) * 1024 / 1e9


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)


def _spectrum(kernel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    placed = np.zeros(size)
    n = len(kernel)
    placed[:n, :n] = kernel
    return np.fft.fft2(np.roll(placed, (-(n // 2), -(n // 2)), (0, 1)))
