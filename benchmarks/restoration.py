"""Restoration in one to fifteen calls against bicubic, non-local means, Wiener and Telea; seams, memory, cost.

With `data`: Set5 and Set14 with their given x4 files, and the first 20 pictures of the BSDS500 test set by name; none
was trained on. Without: pictures of scikit-image, which were trained on: that shows only that it runs.
The mean of a checkpoint is a plain regression net: that part is trained first, by the error alone, and kept.
A DnCNN is compared with if `fewstep fit experiment=restoration/dncnn` has trained it here.
Classical methods are told what ours must guess: the noise level, the kernel, the best regularisation of each picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from fewstep.benchmarks import _restoration as cases
from fewstep.benchmarks._restoration import SEED, Pair
from fewstep.core import paths, solvers
from fewstep.core.bench import Part, at_once
from fewstep.core.errors import UsageError
from fewstep.restoration import Restorer, metrics, run
from fewstep.restoration.degrade.imresize import imresize
from fewstep.restoration.picture import Picture
from fewstep.restoration.report import Shown, shown_of, write_report
from fewstep.restoration.run import How

Progress = Callable[[str], None] | None
Method = Callable[[Pair], np.ndarray]

GAINS = {"Set5": 2.5, "Set14": 1.7}
"""dB above bicubic that the mean was to reach."""

DENOISED = {25: 30.4, 50: 27.2}
MR_SIGMA = 100.0
"""Stationary noise of the IR-SDE chain in 1/255 of the net's range, which is twice as wide as [0, 1]."""

TOLD = "denoise, told the kernel"
PLAIN = "DnCNN of the same size"
PATCHES = "distance of patches to the originals'"

_SHOWN: list[Shown] = []


def rows(
    *, quick: bool = False, data: Path | None = None, progress: Progress = None, part: Part = at_once
) -> list[dict]:
    """The table of the benchmark; of a run that goes on, only what it made itself is in the page of pictures."""
    torch.set_flush_denormal(True)
    _SHOWN.clear()
    say, sr, denoiser = progress or (lambda message: None), cases.restorer("sr-x4"), cases.restorer("denoise")
    dncnn = cases.rival("dncnn")
    count, few = 2 if quick else 20, 2 if quick else None
    jobs: dict[str, Callable[[], list[dict]]] = {"bicubic": bicubic_parity}
    for name in ("Set5",) if quick or data is None else ("Set5", "Set14"):
        jobs[name] = lambda name=name: enlarge(name, cases.enlargements(data, name)[:few], sr, quick=quick, say=say)
    for sigma in (25, 50):
        jobs[f"noise {sigma}"] = lambda s=sigma: denoise(cases.noisy(data, count, s), s, denoiser, dncnn, say=say)
    jobs["deblurring"] = lambda: deblur(cases.shaken(data, count), cases.restorer("deblur"), denoiser, say=say)
    jobs["clean pictures"] = lambda: clean(cases.pictures(data, count), denoiser)
    for kind in ("thin", "random", "box"):
        jobs[f"holes, {kind}"] = lambda k=kind: inpaint(
            cases.holed(data, count, k), k, cases.restorer("inpaint"), say=say
        )
    if sr is not None and sr.model.method != "regression":
        pairs = cases.enlargements(data, "Set5")
        jobs["MR Sampler"] = lambda: mr_sampler(pairs[:few], sr, say=say)
        jobs["tiling"] = lambda: tiling(pairs[0], sr)
        jobs["cost"] = lambda: cost(sr, say=say)
    if not quick:
        jobs["memory"] = lambda: memory(say=say)
    return [row for name, job in jobs.items() for row in part(name, job)]


def plots(rows: list[dict], out: Path) -> None:
    """A chart of PSNR and the page of pictures before and after."""
    from fewstep.core.bench import chart

    chart([row for row in rows if "PSNR" in row["metric"]] or rows, out / "restoration.png", title="restoration")
    if _SHOWN:
        write_report(out / "restoration.html", _SHOWN, title="Restoration", intro="Made by fewstep bench restoration.")


def bicubic_parity() -> list[dict]:
    """Our vectorised resizing against the definition, pixel by pixel, as 8-bit values."""
    line = np.random.default_rng(SEED).integers(0, 256, 301).astype(float)
    near = []
    for scale in (1 / 4, 1 / 3, 1 / 2, 2, 3, 4):
        ours = imresize(torch.from_numpy(line)[None, :].expand(7, -1), scale).numpy()[1]
        direct = cases.direct_bicubic(line, scale)
        near += (np.abs(np.rint(ours) - np.rint(direct)) <= 1).tolist()
    share = 100 * float(np.mean(near))
    return [_row("bicubic", "values within 1 level of the definition, %", share, target=99.99, ok=share >= 99.99)]


def enlarge(name: str, pairs: list[Pair], sr: Restorer | None, *, quick: bool, say: Callable) -> list[dict]:
    """x4: bicubic, mean, samples."""
    found: dict[str, dict[str, float]] = {}
    table: list[dict] = []
    reference = [_niqe(pair.good) for pair in pairs]
    methods: dict[str, tuple[Method, int]] = {"bicubic": (lambda pair: cases.bicubic(pair.bad), 0)}
    if sr is not None:
        methods["mean"] = (lambda pair: sr(pair.bad), 1)
    if sr is not None and sr.model.method != "regression":
        for steps in (4,) if quick else (15, 4):
            methods[f"sample, {steps} steps"] = (lambda pair, steps=steps: sr(pair.bad, steps=steps), steps)
        label = "sample, 1 step (student)" if sr.model.has_student else "sample, 1 step"
        methods[label] = (lambda pair: sr(pair.bad, steps=1), 1)
    for label, (method, nfe) in methods.items():
        say(f"x4 {name}: {label}")
        made = [method(pair) for pair in pairs]
        found[label] = _scores(pairs, made, reference)
        table += [
            _row(f"x4 {name}: {label}", m, v, steps=nfe or None, nfe=nfe or None) for m, v in found[label].items()
        ]
        if name == "Set5" and label in ("mean", "sample, 4 steps"):
            _show(f"x4 {name}: {label}", pairs[:2], made)
    return table + _verdicts(name, found, 4 if quick else 15)


def _scores(pairs: list[Pair], made: list[np.ndarray], reference: list[float]) -> dict[str, float]:
    lumas = [
        [metrics.luma(metrics.cropped(x, 4), data_range=255) for x in (out, p.good)]
        for out, p in zip(made, pairs, strict=True)
    ]
    away = [_niqe(out) for out in made]
    agree = [metrics.lr_consistency(out, p.bad, data_range=255) for out, p in zip(made, pairs, strict=True)]
    return {
        "PSNR-Y dB": fmean(metrics.psnr(a, b, data_range=255) for a, b in lumas),
        "SSIM-Y": fmean(metrics.ssim(a, b, data_range=255) for a, b in lumas),
        "HF energy ratio": fmean(metrics.hf_ratio(a, b, data_range=255) for a, b in lumas),
        "NIQE": fmean(away),
        "NIQE, distance to the reference's": fmean(abs(a - b) for a, b in zip(away, reference, strict=True)),
        "LR consistency dB": fmean(agree),
        "LR consistency dB, worst picture": min(agree),
        "colour drift, levels": max(_drift(out, p.good) for out, p in zip(made, pairs, strict=True)),
    }


def _verdicts(name: str, found: dict[str, dict[str, float]], most: int) -> list[dict]:
    """What was to be shown of x4."""
    table: list[dict] = []
    if "mean" not in found:
        return table
    mean, bicubic = found["mean"], found["bicubic"]
    gain, target = mean["PSNR-Y dB"] - bicubic["PSNR-Y dB"], GAINS.get(name, 0.0)
    peer = {"peer": "bicubic", "peer_value": bicubic["PSNR-Y dB"], "target": target, "ok": gain >= target}
    table.append(_row(f"x4 {name}: mean", "PSNR-Y dB above bicubic", gain, steps=1, nfe=1, **peer))
    for label, score in found.items():
        if label == "bicubic":
            continue
        table.append(
            _row(
                f"x4 {name}: {label}",
                "LR consistency dB, to be reached",
                score["LR consistency dB"],
                target=55.0,
                ok=score["LR consistency dB"] > 55,
            )
        )
        if label.startswith("sample"):
            for metric, distance, theirs in (
                ("HF energy ratio, distance to 1", abs(score["HF energy ratio"] - 1), abs(mean["HF energy ratio"] - 1)),
                (key := "NIQE, distance to the reference's", score[key], mean[key]),
            ):
                peer = {"peer": "mean", "peer_value": theirs, "target": theirs, "ok": distance < theirs}
                table.append(_row(f"x4 {name}: {label}", f"{metric}, below the mean's", distance, **peer))
    long, short = f"sample, {most} steps", "sample, 4 steps"
    one = next((label for label in found if label.startswith("sample, 1 step")), None)
    if long != short and long in found:
        few, many = found[short], found[long]
        told = {"peer": long, "steps": 4, "nfe": 4}
        loss, more = many["PSNR-Y dB"] - few["PSNR-Y dB"], 100 * abs(few["NIQE"] / many["NIQE"] - 1)
        psnr = {**told, "peer_value": many["PSNR-Y dB"], "target": 0.1, "ok": loss <= 0.1}
        table.append(_row(f"x4 {name}: {short}", "PSNR-Y dB below 15 steps", loss, **psnr))
        niqe = {**told, "peer_value": many["NIQE"], "target": 2.0, "ok": more <= 2}
        table.append(_row(f"x4 {name}: {short}", "NIQE, % from 15 steps", more, **niqe))
    if one is not None and short in found:
        loss = found[short]["PSNR-Y dB"] - found[one]["PSNR-Y dB"]
        told = {"peer": short, "peer_value": found[short]["PSNR-Y dB"], "target": 0.3, "ok": loss <= 0.3}
        table.append(_row(f"x4 {name}: {one}", "PSNR-Y dB below 4 steps", loss, steps=1, nfe=1, **told))
    return table


def denoise(
    pairs: list[Pair], sigma: int, model: Restorer | None, rival: Restorer | None = None, *, say: Callable
) -> list[dict]:
    """White noise, blind for us and for the rival net."""
    methods: dict[str, tuple[Method, int]] = {
        "noisy": (lambda pair: np.clip(np.rint(pair.bad), 0, 255).astype(np.uint8), 0),
        "NLM of scikit-image, told sigma": (lambda pair: cases.nlm(pair, sigma), 0),
        "wavelet of scikit-image, told sigma": (lambda pair: cases.wavelet(pair, sigma), 0),
    }
    if model is not None:
        methods["mean"] = (lambda pair: _rounded(model(pair.bad / 255)), 1)
        if model.model.method != "regression":
            methods["sample, 4 steps"] = (lambda pair: _rounded(model(pair.bad / 255, steps=4)), 4)
    if rival is not None:
        methods[PLAIN] = (lambda pair: _rounded(rival(pair.bad / 255)), 1)
    table, psnr = _simple(f"denoise {sigma}", pairs, methods, lambda x, p: metrics.psnr(x, p.good, data_range=255), say)
    if "mean" in psnr:
        best = max(("NLM of scikit-image, told sigma", "wavelet of scikit-image, told sigma"), key=lambda n: psnr[n])
        peer = {
            "peer": best,
            "peer_value": psnr[best],
            "target": DENOISED[sigma],
            "ok": psnr["mean"] >= DENOISED[sigma],
        }
        table.append(_row(f"denoise {sigma}: mean", "PSNR dB, to be reached", psnr["mean"], steps=1, nfe=1, **peer))
    if "mean" in psnr and PLAIN in psnr:
        found = {"peer": PLAIN, "peer_value": psnr[PLAIN], "target": -0.3, "ok": psnr["mean"] >= psnr[PLAIN] - 0.3}
        table.append(
            _row(f"denoise {sigma}: mean", "PSNR dB above DnCNN", psnr["mean"] - psnr[PLAIN], steps=1, nfe=1, **found)
        )
    return table


def clean(pictures: list[tuple[str, np.ndarray]], model: Restorer | None) -> list[dict]:
    """What denoising does to pictures without noise."""
    if model is None:
        return []
    away = [metrics.psnr(model(good), good, data_range=255) for _, good in pictures]
    return [_row("denoise 0: mean", "PSNR RGB dB to the clean picture itself", fmean(away), steps=1, nfe=1)]


def deblur(pairs: list[Pair], model: Restorer | None, denoiser: Restorer | None = None, *, say: Callable) -> list[dict]:
    """Motion blur, blind or told the kernel; the rival has the true kernel and the noise that suits it best."""
    methods: dict[str, tuple[Method, int]] = {
        "blurred": (lambda pair: pair.bad, 0),
        "Wiener, true kernel, best-tuned": (cases.best_wiener, 0),
    }
    if model is not None:
        methods["mean"] = (lambda pair: model(pair.bad), 1)
        if model.model.method != "regression":
            methods["sample, 4 steps"] = (lambda pair: model(pair.bad, steps=4), 4)
    if denoiser is not None:
        for calls in (1, 3, 8):
            methods[f"{TOLD}, {calls} calls"] = (
                lambda pair, calls=calls: denoiser(pair.bad, kernel=pair.kernel, steps=calls),
                calls,
            )
    table, psnr = _simple("motion deblur", pairs, methods, lambda x, p: cases.inside(x, p.good), say)
    rival = "Wiener, true kernel, best-tuned"
    for label, calls in (("mean", 1), (f"{TOLD}, 3 calls", 3)):
        table += _above("motion deblur", psnr, rival, label, calls)
    return table


def inpaint(pairs: list[Pair], kind: str, model: Restorer | None, *, say: Callable) -> list[dict]:
    """PSNR of the hole."""
    methods: dict[str, tuple[Method, int]] = {}
    if cases.telea(pairs[0]) is not None:
        methods["Telea of OpenCV"] = (cases.telea, 0)  # type: ignore[dict-item]
    if model is not None:
        methods["mean"] = (lambda pair: model(pair.bad, mask=pair.hole), 1)
        if model.model.method != "regression":
            methods["sample, 4 steps"] = (lambda pair: model(pair.bad, mask=pair.hole, steps=4), 4)
    table, psnr = _simple(f"inpaint {kind}", pairs, methods, cases.in_hole, say)
    return table + (_above(f"inpaint {kind}", psnr, "Telea of OpenCV") if kind != "box" else [])


def _simple(
    case: str, pairs: list[Pair], methods: dict[str, tuple[Method, int]], psnr: Callable, say: Callable
) -> tuple[list[dict], dict[str, float]]:
    table: list[dict] = []
    found: dict[str, float] = {}
    for label, (method, nfe) in methods.items():
        say(f"{case}: {label}")
        made = [method(pair) for pair in pairs]
        found[label] = fmean(psnr(x, pair) for x, pair in zip(made, pairs, strict=True))
        calls = {"steps": nfe or None, "nfe": nfe or None}
        table.append(_row(f"{case}: {label}", "PSNR RGB dB", found[label], **calls))
        hf = [metrics.hf_ratio(x, pair.good, data_range=255) for x, pair in zip(made, pairs, strict=True)]
        table.append(_row(f"{case}: {label}", "HF energy ratio", fmean(hf), **calls))
        if label in ("mean", f"{TOLD}, 3 calls"):
            _show(f"{case}: {label}", pairs[:2], made)
    return table, found


def _above(case: str, psnr: dict[str, float], rival: str, label: str = "mean", calls: int = 1) -> list[dict]:
    if label not in psnr or rival not in psnr:
        return []
    gain = psnr[label] - psnr[rival]
    peer = {"peer": rival, "peer_value": psnr[rival], "target": 0.5, "ok": gain >= 0.5}
    return [_row(f"{case}: {label}", "PSNR RGB dB above the baseline", gain, steps=calls, nfe=calls, **peer)]


def mr_sampler(pairs: list[Pair], sr: Restorer, *, say: Callable) -> list[dict]:
    """The same net on a mean-reverting path: 100 steps of its posterior, and five of the MR Sampler."""
    model = replace(sr.model, path=paths.ir_sde(MR_SIGMA))  # the net reads sigma only
    ways = {
        "posterior, 100 steps": (100, solvers.ddpm()),
        "posterior, 5 steps": (5, solvers.ddpm()),
        "MR Sampler 2 ODE, 5 steps": (5, solvers.mr_sampler(2)),
        "MR Sampler 2 SDE, 5 steps": (5, solvers.mr_sampler(2, "sde")),
        "MR Sampler 1 SDE, 5 steps": (5, solvers.mr_sampler(1, "sde")),
    }
    table: list[dict] = []
    found: dict[str, dict[str, float]] = {}
    reference = [_niqe(pair.good) for pair in pairs]
    for label, (steps, solver) in ways.items():
        say(f"IR-SDE: {label}")
        how = How(steps=steps, fidelity=0.0, seed=SEED, consistent=False, solver=solver)
        made = [cases.bytes_of(run.whole(model, cases.unit(pair.bad), how)) for pair in pairs]
        found[label] = _scores(pairs, made, reference)
        found[label][PATCHES] = cases.patch_distance(made, [pair.good for pair in pairs])
        kept = ("PSNR-Y dB", "HF energy ratio", "NIQE", PATCHES)
        table += [_row(f"IR-SDE x4: {label}", m, found[label][m], steps=steps, nfe=steps) for m in kept]
    long = found["posterior, 100 steps"]
    for label in ("MR Sampler 2 ODE, 5 steps", "MR Sampler 2 SDE, 5 steps"):
        loss = long["PSNR-Y dB"] - found[label]["PSNR-Y dB"]
        ratio = found[label][PATCHES] / long[PATCHES]
        told = {"peer": "posterior, 100 steps", "steps": 5, "nfe": 5}
        psnr = {**told, "peer_value": long["PSNR-Y dB"], "target": 0.1, "ok": loss <= 0.1}
        table.append(_row(f"IR-SDE x4: {label}", "PSNR-Y dB below 100 steps", loss, **psnr))
        equal = {**told, "peer_value": long[PATCHES], "target": 1.0, "ok": ratio <= 1.0}
        table.append(_row(f"IR-SDE x4: {label}", "distance of patches, ratio to 100 steps", ratio, **equal))
    return table


def tiling(pair: Pair, sr: Restorer) -> list[dict]:
    """Tiles of 64 against none, four steps, in levels; and the seams of the tiles' lines."""
    whole, tiles = (sr(pair.bad / np.float32(255), steps=4, tile=tile) * 255 for tile in (0, 64))
    away = float(np.abs(tiles - whole).max())
    seams = metrics.seam_index(tiles, tile=64) / metrics.seam_index(whole, tile=64)
    calls = {"steps": 4, "nfe": 4}
    return [
        _row("tiling, tiles of 64", "largest difference to the whole, levels", away, target=1.0, ok=away <= 1, **calls),
        _row("tiling, tiles of 64", "seam index, ratio to the whole's", seams, target=0.02, ok=abs(seams - 1) <= 0.02,
             **calls),
    ]  # fmt: skip


def cost(sr: Restorer, *, say: Callable) -> list[dict]:
    """64 x 64 -> 256 x 256, CPU seconds of one thread, the best of five after a first call."""
    say("cost")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lq = np.random.default_rng(SEED).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    table = []
    for label, options, nfe in (("mean", {}, 1), ("sample, 4 steps", {"steps": 4}, 4)):
        sr(lq, **options)
        spent = []
        for _ in range(5):
            begun = time.process_time()
            sr(lq, **options)
            spent.append(time.process_time() - begun)
        target = {"target": 0.5, "ok": min(spent) <= 0.5} if nfe == 4 else {}
        table.append(_row(f"64 to 256: {label}", "CPU seconds, one thread", min(spent), steps=nfe, nfe=nfe, **target))
    torch.set_num_threads(threads)
    return table


def memory(*, say: Callable) -> list[dict]:
    """Largest resident memory of a process that restores 12 megapixels."""
    table = []
    for model, size, label, options, nfe in (
        ("denoise", (3000, 4000), "denoise 4000 x 3000: mean", "", 1),
        ("denoise", (3000, 4000), "denoise 4000 x 3000: sample, 2 steps", "steps=2", 2),
        ("sr-x4", (750, 1000), "x4 to 4000 x 3000: sample, 2 steps", "steps=2", 2),
    ):
        found = cases.restorer(model)
        if found is not None and (nfe == 1 or found.model.method != "regression"):
            say(f"memory: {label}")
            used = cases.peak_memory(model, size, options)
            table.append(_row(label, "peak memory, GB", used, steps=nfe, nfe=nfe, target=3.0, ok=used <= 3))
    return table


def _show(title: str, pairs: Sequence[Pair], made: Sequence[np.ndarray]) -> None:
    for pair, out in zip(pairs, made, strict=False):
        bad = np.clip(np.rint(pair.bad), 0, 255).astype(np.uint8)
        _SHOWN.append(shown_of(f"{title}, {pair.name}", Picture(bad), Picture(out), "seed 0"))


def _drift(x: np.ndarray, good: np.ndarray) -> float:
    """Largest difference of a channel's mean."""
    return float(np.abs(x.mean((0, 1)) - good.mean((0, 1))).max())


def _niqe(x: np.ndarray) -> float:
    try:
        return metrics.niqe(metrics.cropped(x, 4), data_range=255)
    except UsageError:  # smaller than a patch
        return 0.0


def _rounded(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)


def _row(name: str, metric: str, value: float, **more: object) -> dict:
    plain = {"peer": None, "peer_value": None, "target": None, "ok": None, "steps": None, "nfe": None}
    return {"row": name, "metric": metric, "value": value, **plain, "dtype": "float32", "seed": SEED, **more}
