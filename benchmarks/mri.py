"""MRI reconstruction: few-step diffusion against classical methods, by fastMRI's metrics; operators against sigpy.

With `data`: slices of the human T1 series (magnitudes are real; phase, eight coils and noise are simulated) and a raw
scan of a phantom (all real). Without: generated slices. Classical methods have the best weight of a grid, picked on the
test slices themselves by PSNR; ours have none picked there. Figures are of the slices together, as of a volume.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from fewstep.benchmarks import _mri
from fewstep.core import hub
from fewstep.core.bench import Part, at_once
from fewstep.core.operators import Fourier
from fewstep.core.pretrained import Pretrained
from fewstep.mri import metrics
from fewstep.mri.methods import (
    DDS,
    DPS,
    CgSense,
    Conditional,
    DiffPIR,
    L1Wavelet,
    Method,
    PnPCM,
    Result,
    TotalVariation,
    ZeroFilled,
)
from fewstep.mri.physics import birdcage, espirit
from fewstep.mri.physics.masks import equispaced_fraction
from fewstep.mri.problem import Problem, cg_sense

SEED = 0
KINDS = ("equispaced_fraction", "random")
L1_WEIGHTS, TV_WEIGHTS, CG_WEIGHTS = (1e-3, 2e-3, 4e-3), (1e-3, 3e-3), (1e-3, 1e-2)
SIGPY_WEIGHTS = (5e-4, 1e-3)
METRICS = (
    "PSNR dB",
    "SSIM",
    "NMSE",
    "phase error rad",
    "residual",
    "CPU seconds per slice",
    "error / std",
    "error where std is high / low",
)

Progress = Callable[[str], None] | None


def rows(
    *, quick: bool = False, data: Path | None = None, progress: Progress = None, part: Part = at_once
) -> list[dict]:
    """The table of the benchmark."""
    torch.set_flush_denormal(True)
    table, first = [], True
    slices = (12,) if quick else (12, 36)
    volumes = [_mri.human(data, slices), _mri.phantom(data)] if data else [_mri.generated(1 if quick else 2)]
    for volume in volumes[: 1 if quick else None]:
        for acceleration in (4,) if quick else (4, 8):
            for kind in KINDS[: 1 if quick else None]:
                for oracle in (False,) if quick or volume.kspace.shape[1] == 1 else (False, True):
                    case = _case(volume, kind, acceleration, oracle)
                    told = {"oracle": oracle, "quick": quick, "progress": progress, "part": part}
                    table += compare(volume, case, kind, acceleration, **told)
                    if first:
                        shown = volume if quick or data is None else _mri.human(data, (12, 24, 36))
                        _PICTURES[:] = pictures(shown, kind, acceleration)
                        first = False
    return table + part("operators", lambda: operators(quick=quick, progress=progress))


_PICTURES: list[tuple[str, dict[str, Tensor]]] = []
"""Of the last run's first case: `rows` has the data, `plots` the folder."""


def plots(rows: list[dict], out: Path) -> None:
    """The page of pictures and a chart of PSNR."""
    from fewstep.core.bench import chart

    chart([row for row in rows if row["metric"] == "PSNR dB"] or rows, out / "mri.png", title="mri")
    if _PICTURES:
        _mri.page(_PICTURES, out)


def compare(
    volume: _mri.Volume,
    case: str,
    kind: str,
    acceleration: int,
    *,
    oracle: bool,
    quick: bool,
    progress: Progress,
    only: Sequence[str] | None = None,
    part: Part = at_once,
) -> list[dict]:
    """All methods on one case; `only`: those whose names begin so."""
    problems = _mri.problems(volume, kind, acceleration, oracle=oracle)
    table: list[dict] = []
    found: dict[str, dict[str, float]] = {}
    for name, candidates in (classical() | diffusion(quick=quick or oracle)).items():
        if only is not None and not name.startswith(tuple(only)):
            continue
        if progress:
            progress(f"{case}: {name}")
        made = part(f"{case}: {name}", partial(_best, f"{case}: {name}", candidates, problems, volume))
        found[name] = {row["metric"]: row["value"] for row in made}
        table += made
    return table + verdicts(case, found)


def _best(label: str, candidates: list[Method], problems: list[Problem], volume: _mri.Volume) -> list[dict]:
    scores = [evaluate(method, problems, volume) for method in candidates]
    best, nfe = max(scores, key=lambda score: score[0]["PSNR dB"])
    told = {"steps": nfe or None, "nfe": nfe or None}
    return [_row(label, metric, value, **told) for metric, value in best.items()]


def classical() -> dict[str, list[Method]]:
    """Name -> candidates of which the best is shown; sigpy's where it is installed."""
    peer = [_mri.SigpyL1(w) for w in SIGPY_WEIGHTS] if find_spec("sigpy") else []
    return ({"L1-wavelet of sigpy, best-tuned": list(peer)} if peer else {}) | {
        "zero-filled": [ZeroFilled()],
        "CG-SENSE, best-tuned": [CgSense(weight=w) for w in CG_WEIGHTS],
        "L1-wavelet, best-tuned": [L1Wavelet(weight=w) for w in L1_WEIGHTS],
        "TV, best-tuned": [TotalVariation(weight=w) for w in TV_WEIGHTS],
    }


def diffusion(*, quick: bool) -> dict[str, list[Method]]:
    """Name -> one method; fewer of them for a quick run."""
    shipped = dict(hub.shipped())
    methods: dict[str, list[Method]] = {}
    if "mri-prior" in shipped:
        prior = Pretrained.load("mri-prior")
        if not quick:
            methods["DPS, 50 steps"] = [DPS(prior)]
            methods["DiffPIR, 8 steps, mean of 4"] = [DiffPIR(prior)]
        methods |= {f"DDS, {n} steps, mean of 4": [DDS(prior, steps=n)] for n in ((8,) if quick else (2, 4, 8, 20))}
        methods["DDS, 8 steps, one sample"] = [DDS(prior, samples=1)]
        methods |= {f"PnP, {n} steps, mean of 4": [PnPCM(prior, steps=n)] for n in ((8,) if quick else (4, 8, 20))}
        methods["PnP, 8 steps, one sample"] = [PnPCM(prior, samples=1)]
    if "mri-conditional" in shipped:
        net = Pretrained.load("mri-conditional")
        steps = (4,) if quick else (1, 2, 4, 8)
        methods |= {f"conditional, {n} steps, mean of 4": [Conditional(net, steps=n)] for n in steps}
    return methods | ({} if quick else _mri.rivals())


def evaluate(method: Method, problems: list[Problem], volume: _mri.Volume) -> tuple[dict[str, float], int]:
    """fastMRI's metrics of the slices together, and network calls per sample."""
    begun = time.process_time()
    results = [method(problem, seed=SEED + i) for i, problem in enumerate(problems)]
    seconds = (time.process_time() - begun) / len(problems)
    image, reference = torch.cat([result.image for result in results]), volume.reference
    same_maps = _mri.combined(volume, problems)  # whose phase is that of the maps which the method was given
    values = (
        metrics.psnr(image, reference),
        metrics.ssim(image, reference),
        metrics.nmse(image, reference),
        metrics.phase_error(image, same_maps),
        statistics.fmean(float(result.residual) for result in results),
        seconds,
    )
    return dict(zip(METRICS, values, strict=False)) | _calibration(results, image, same_maps), results[0].nfe


def _calibration(results: list[Result], image: Tensor, reference: Tensor) -> dict[str, float]:
    """Root mean square error over std, and over the tenth of pixels with the highest against that with the lowest."""
    stds = [result.std for result in results]
    if any(std is None for std in stds):
        return {}
    std, error = torch.cat(stds), image - reference  # type: ignore[arg-type]
    pairs = metrics.coverage(error, std)
    ratio = float(error.abs().square().mean().sqrt() / std.square().mean().sqrt())
    return {METRICS[-2]: ratio, METRICS[-1]: pairs[-1][1] / max(pairs[0][1], 1e-12)}


def verdicts(case: str, found: dict[str, dict[str, float]]) -> list[dict]:
    """What the methods were to show, against the best-tuned classical method of the same case."""
    rivals = {name: score for name, score in found.items() if name.startswith(("CG", "L1", "TV"))}
    table: list[dict] = []
    if not rivals:
        return table
    for name in ("DDS, 8 steps, mean of 4", "PnP, 8 steps, mean of 4", "conditional, 4 steps, mean of 4"):
        for metric, least in (("PSNR dB", 0.5), ("SSIM", 0.02)):
            if name in found:
                rival = max(rivals, key=lambda rival: rivals[rival][metric])
                gain = found[name][metric] - rivals[rival][metric]
                peer = {"peer": rival, "peer_value": rivals[rival][metric], "target": least, "ok": gain >= least}
                table.append(_row(f"{case}: {name}", f"{metric} above the best classical", gain, **peer))
    for family, few, many in (("DDS", 4, 20), ("PnP", 4, 20)):
        names = [f"{family}, {n} steps, mean of 4" for n in (few, many)]
        if all(name in found for name in names):
            loss = found[names[1]]["PSNR dB"] - found[names[0]]["PSNR dB"]
            peer = {"peer": names[1], "peer_value": found[names[1]]["PSNR dB"], "target": 0.3, "ok": loss <= 0.3}
            table.append(_row(f"{case}: {names[0]}", "PSNR dB below 20 steps", loss, **peer))
    ours, other = "conditional, 4 steps, mean of 4", "DDS, 8 steps, mean of 4"
    if ours in found and other in found:
        gain = found[ours]["PSNR dB"] - found[other]["PSNR dB"]
        peer = {"peer": other, "peer_value": found[other]["PSNR dB"], "target": 0.0, "ok": gain >= 0}
        table.append(_row(f"{case}: {ours}", "PSNR dB above DDS", gain, **peer))
    for name in ("DDS, 8 steps, one sample", "PnP, 8 steps, one sample"):
        if name in found:
            seconds = found[name]["CPU seconds per slice"]
            table.append(_row(f"{case}: {name}", "CPU seconds of one sample", seconds, target=2.0, ok=seconds <= 2.0))
    return table


def pictures(volume: _mri.Volume, kind: str, acceleration: int) -> list[tuple[str, dict[str, Tensor]]]:
    """Reference, zero-filled, ours, error and std of up to three slices."""
    prior = Pretrained.load("mri-prior")
    shown = []
    for i, problem in enumerate(_mri.problems(volume, kind, acceleration, oracle=False)[:3]):
        ours: Result = PnPCM(prior)(problem, seed=SEED + i)
        samples: Result = DDS(prior)(problem, seed=SEED + i)
        reference = volume.reference[i].abs()
        assert samples.std is not None
        shown.append(
            (
                f"{volume.name}, {kind} {acceleration}x, slice {i + 1}",
                {
                    "reference": reference,
                    "zero-filled": ZeroFilled()(problem).image[0],
                    "PnP, 8 steps": ours.image[0],
                    "error": ours.image[0].abs() - reference,
                    "std of DDS samples": samples.std[0],
                },
            )
        )
    return shown


def operators(*, quick: bool, progress: Progress) -> list[dict]:
    """CG, FFT and coil maps against sigpy's on the same data, medians of interleaved runs, one thread."""
    try:
        import sigpy
        from sigpy.mri import app
    except ImportError:
        return []
    if progress:
        progress("operators against sigpy")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size, count = (256, 256), 3 if quick else 7
    generator = torch.Generator().manual_seed(0)
    image, maps = torch.randn(size, generator=generator, dtype=torch.complex64), birdcage(8, size)
    mask = equispaced_fraction(size, acceleration=4, centre_fraction=0.08, seed=0)
    whole = Fourier((8, *size), (-2, -1))
    kspace = whole.apply((maps * image)[None])
    problem = Problem(kspace * mask, mask, maps[None], 0.0)
    y, m, w = (kspace[0] * mask).numpy(), maps.numpy(), mask.expand(size).numpy().astype("float32")
    acs = kspace[:, :, 116:140, 116:140].contiguous()
    images, centre = (maps * image)[None], kspace[0].numpy()
    pairs = {
        "CG-SENSE, 30 iterations, 8 x 256 x 256": (
            lambda: cg_sense(problem, weight=1e-2, iterations=30),
            lambda: app.SenseRecon(y, m, weights=w, lamda=1e-2, max_iter=30, show_pbar=False).run(),
        ),
        "FFT, 8 x 256 x 256": (
            lambda: whole.apply(images),
            lambda: sigpy.fft(images[0].numpy(), axes=(-2, -1)),
        ),
        "ESPIRiT, 24 lines, 8 coils": (
            lambda: espirit(acs, size, kernel=(6, 6)),
            lambda: app.EspiritCalib(centre, calib_width=24, show_pbar=False).run(),
        ),
    }
    table = []
    for name, (ours, theirs) in pairs.items():
        mine, other = _raced(ours, theirs, count if "ESPIRiT" not in name else 1)
        peer = {"peer": "sigpy", "peer_value": 1e3 * other}
        table.append(_row(name, "milliseconds", 1e3 * mine, **peer))
        target = {"target": 0.7, "ok": mine <= 0.7 * other} if "ESPIRiT" not in name else {}
        table.append(_row(name, "time, ratio to sigpy", mine / other, **peer, **target))
    mine = espirit(acs, size, kernel=(6, 6))[0][0]
    other = torch.from_numpy(app.EspiritCalib(centre, calib_width=24, crop=0, show_pbar=False).run())
    likeness = float((mine.conj() * other).sum(0).abs().median())
    table.append(
        _row("ESPIRiT, 24 lines, 8 coils", "median |<ours, sigpy's>|", likeness, target=0.99, ok=likeness >= 0.99)
    )
    torch.set_num_threads(threads)
    return table


def _raced(ours: Callable, theirs: Callable, count: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for job in (ours, theirs):
        job()
    for _ in range(count):
        for job, spent in zip((ours, theirs), times, strict=True):
            begun = time.process_time()
            job()
            spent.append(time.process_time() - begun)
    return statistics.median(times[0]), statistics.median(times[1])


def _case(volume: _mri.Volume, kind: str, acceleration: int, oracle: bool) -> str:
    maps = "" if volume.kspace.shape[1] == 1 else ", oracle maps" if oracle else ", maps from ACS"
    return f"{volume.name}, {kind} {acceleration}x{maps}"


def _row(name: str, metric: str, value: float, **more: object) -> dict:
    plain = {"peer": None, "peer_value": None, "target": None, "ok": None, "steps": None, "nfe": None}
    return {"row": name, "metric": metric, "value": value, **plain, "dtype": "complex64", "seed": SEED, **more}
