"""Reconstruct a scan: coil maps from its calibration lines, a method, the classical methods beside it, and a report.

>>> from fewstep.mri import Reconstructor
>>> reconstruct = Reconstructor.load("mri-prior", method="dds", steps=8, samples=4)
>>> result = reconstruct(scan)  # or reconstruct(kspace, mask=mask)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.core import checkpoint, hub
from fewstep.core.build import did_you_mean
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.mri.methods import METHODS, Conditional, Diffusion, L1Wavelet, Method, Regression, Result, ZeroFilled
from fewstep.mri.methods.classical import CgSense
from fewstep.mri.methods.joint import refined
from fewstep.mri.physics import compress, estimate_maps, noise_std
from fewstep.mri.problem import Problem
from fewstep.mri.scan import Scan

REGRESSION_KIND = "mri-regression"

FEW_LINES, INFLATED = 6, 2.0
"""Maps from fewer calibration lines than this are taken to err like so many times the noise."""

REFINED_LINES, REFINING_STEPS = 9, 4
"""Maps from fewer lines than this are estimated once more with an image of so many network calls."""

WORSE = 1.1
"""A data residual that is so many times a classical method's is pointed out."""


@dataclass(frozen=True)
class Reconstruction:
    """What came out, over the whole field of view of the k-space; `fewstep.mri.physics.crop_picture` cuts the picture.

    Parameters
    ----------
    image
        complex64 [slice, y, x], in the unit of k-space; the mean of the samples.
    std
        float32 [slice, y, x], expected error: the samples' standard deviation times ``report["std_factor"]``, or None.
    report
        Plain values: method, model, options, nfe, seed, coil maps, residuals of all methods, seconds, warnings.
    zero_filled
        complex64 [slice, y, x].
    others
        Name -> complex64 [slice, y, x] of the classical methods that were computed beside it.
    """

    image: Tensor
    std: Tensor | None
    report: dict[str, Any]
    zero_filled: Tensor
    others: Mapping[str, Tensor]


@dataclass(frozen=True)
class Reconstructor:
    """A method with its model, ready to be called.

    Parameters
    ----------
    method
        See `fewstep.mri.methods`.
    name
        Of the method, for the report.
    model
        Name, hash of the weights, for the report.
    compare
        Compute CG-SENSE and L1-wavelet too.
    adapt
        Where coil maps come from few calibration lines, refine them once by an image, and take the noise to be larger.
    virtual_coils
        Combine more coils than that into so many before maps are estimated; the time falls with them. None: keep all.
    """

    method: Method
    name: str
    model: Mapping[str, str]
    compare: bool = True
    adapt: bool = True
    virtual_coils: int | None = None

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        method: str = "dds",
        compare: bool = True,
        virtual_coils: int | None = None,
        device: str | torch.device = "cpu",
        **options: Any,
    ) -> Reconstructor:
        """Load by name.

        Parameters
        ----------
        model
            A model that ships, a folder or a hub id; default: what ships for the method.
        method
            A key of `fewstep.mri.methods.METHODS`.
        compare
            Compute CG-SENSE and L1-wavelet too.
        virtual_coils
            See above.
        device
            Where the net runs.
        options
            Of the method: ``steps``, ``samples``, ``start``, ...

        Returns
        -------
        Reconstructor

        Raises
        ------
        UsageError
            If there is no such method, option or model.
        """
        if virtual_coils is not None and virtual_coils < 1:
            raise UsageError(f"expected at least one virtual coil, got {virtual_coils}")
        if method not in METHODS:
            raise UsageError(f"no such method{did_you_mean(method, METHODS)} (one of {', '.join(METHODS)}): {method!r}")
        kind = METHODS[method]
        known = [field.name for field in fields(kind) if field.name not in ("prior", "net")]
        for option in options:
            if option not in known:
                raise UsageError(
                    f"method {method} has no option {option!r}{did_you_mean(option, known)} "
                    f"(it has {', '.join(known) or 'none'})"
                )
        needed, told = _model(kind, model, device)
        adapt = "inflate" not in options
        return cls(kind(**needed, **options), method, told, compare, adapt, virtual_coils)

    def __call__(
        self,
        scan: Scan | Problem | Tensor,
        *,
        mask: Tensor | None = None,
        coil_maps: Tensor | None = None,
        noise: float | None = None,
        seed: int = 0,
    ) -> Reconstruction:
        """Reconstruct all slices.

        Parameters
        ----------
        scan
            A scan from `fewstep.mri.read`, a problem, or k-space: complex [slice, coil, y, x] or [coil, y, x], centred.
        mask
            bool, broadcasts to [slice, y, x], with k-space only; default: where k-space is not zero.
        coil_maps
            complex [slice, coil, y, x]; default those of the scan, else estimated from its calibration lines.
        noise
            sqrt(E|n|²) of a k-space sample; default what the scan says, else estimated from the border of k-space.
        seed
            Of the samples.

        Returns
        -------
        Reconstruction

        Raises
        ------
        UsageError
            If the data are no such thing, hold no signal, or have no calibration lines to estimate coil maps from.
        """
        problem, told, lines = prepare(
            scan, mask=mask, coil_maps=coil_maps, noise=noise, virtual_coils=self.virtual_coils
        )
        method, warnings = self.method, list(told.pop("warnings"))
        if self.adapt and lines is not None and lines < FEW_LINES and isinstance(method, Diffusion):
            method = replace(method, inflate=INFLATED)
            warnings.append(f"coil maps from {lines} lines: the noise is taken to be {INFLATED:g} times what it is")
        begun, extra = time.perf_counter(), 0
        if self.adapt and lines is not None and lines < REFINED_LINES and isinstance(method, Diffusion):
            first = replace(method, steps=REFINING_STEPS, samples=1)(problem, seed=seed)
            problem, extra = refined(problem, first.image), first.nfe
            told["coil_maps"]["refined"] = True
            warnings.append(f"coil maps from {lines} lines were refined by a first image of {extra} network calls")
        result = method(problem, seed=seed)
        seconds = time.perf_counter() - begun
        others = self._others(problem, seed)
        residuals = {self.name: result.residual.tolist()}
        residuals |= {name: other.residual.tolist() for name, other in others.items()}
        warnings += _worse(self.name, residuals)
        report = {
            "method": self.name,
            "options": _plain(method),
            "model": dict(self.model),
            "nfe": result.nfe,
            "nfe_for_coil_maps": extra,
            "samples": 1 if result.samples is None else result.samples.shape[1],
            "std_factor": result.spread,
            "seed": seed,
            "acceleration": round(problem.acceleration, 3),
            **told,
            "noise_std": problem.noise_std,
            "residual": residuals,
            "seconds_per_slice": seconds / len(problem),
            "warnings": warnings,
        }
        plain = others.pop("zero-filled", None) or ZeroFilled()(problem)
        return Reconstruction(
            result.image, result.std, report, plain.image, {name: other.image for name, other in others.items()}
        )

    def _others(self, problem: Problem, seed: int) -> dict[str, Result]:
        methods: dict[str, Method] = {"zero-filled": ZeroFilled()}
        if self.compare:
            methods |= {"cg-sense": CgSense(), "l1-wavelet": L1Wavelet()}
        return {name: method(problem, seed=seed) for name, method in methods.items() if name != self.name}


def prepare(
    scan: Scan | Problem | Tensor,
    *,
    mask: Tensor | None = None,
    coil_maps: Tensor | None = None,
    noise: float | None = None,
    virtual_coils: int | None = None,
) -> tuple[Problem, dict[str, Any], int | None]:
    """Make a problem of a scan or of k-space: coil maps and noise level are estimated where they are not known.

    Parameters
    ----------
    scan, mask, coil_maps, noise
        As for `Reconstructor`.
    virtual_coils
        Combine into so many coils, unless their maps are known.

    Returns
    -------
    problem : Problem
    told : dict
        What to report: how the coil maps were found, and ``warnings``.
    lines : int or None
        Calibration lines that maps were estimated from.

    Raises
    ------
    UsageError
        As for `Reconstructor`.
    """
    if isinstance(scan, Problem):
        return scan, {"coil_maps": {"method": "given"}, "warnings": []}, None
    warnings: list[str] = []
    if isinstance(scan, Scan):
        kspace, mask = scan.kspace, scan.mask if mask is None else mask
        coil_maps = scan.coil_maps if coil_maps is None else coil_maps
        noise = scan.noise_std if noise is None else noise
        warnings += scan.info.warnings
    else:
        kspace = _batched(scan)
        if mask is None:
            mask = (kspace != 0).any(1)
            warnings.append("no mask was given: what is zero in all coils is taken as not acquired")
    kspace = torch.where(mask.unsqueeze(-3), kspace, 0) if mask.ndim > 2 else torch.where(mask, kspace, 0)
    told: dict[str, Any] = {"coil_maps": {"method": "given"}}
    lines = None
    compressed: dict[str, Any] = {}
    if coil_maps is None and virtual_coils is not None and virtual_coils < kspace.shape[1]:
        given = kspace.shape[1]
        kspace, kept = compress(kspace, virtual_coils)
        compressed = {"coils": given, "virtual_coils": virtual_coils, "energy_kept": round(kept, 6)}
    if coil_maps is None:
        found = estimate_maps(kspace, mask)
        coil_maps, lines = found.maps, found.lines if found.method != "single coil" else None
        told = {"coil_maps": {"method": found.method, "acs": list(found.acs), "support": round(found.support, 4)}}
        told["coil_maps"] |= {"kernel": list(found.kernel)} if found.kernel else {}
        told["coil_maps"] |= compressed
        warnings += found.warnings
    noise = noise_std(kspace, mask) if noise is None else noise
    return Problem(kspace, mask, coil_maps, noise), {**told, "warnings": warnings}, lines


def _batched(kspace: Tensor) -> Tensor:
    if not isinstance(kspace, Tensor) or not kspace.is_complex() or kspace.ndim not in (3, 4):
        got = f"{kspace.dtype} {list(kspace.shape)}" if isinstance(kspace, Tensor) else type(kspace).__name__
        raise UsageError(f"expected complex k-space [slice, coil, y, x] or [coil, y, x], or a scan, got {got}")
    kspace = kspace.to(torch.complex64)
    return kspace if kspace.ndim == 4 else kspace.unsqueeze(0)


def _model(
    kind: type[Method], model: str | Path | None, device: str | torch.device
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a method needs of a model, and what to report of it."""
    if issubclass(kind, Diffusion):
        name = model or ("mri-conditional" if issubclass(kind, Conditional) else "mri-prior")
        prior = Pretrained.load(name, device=device)
        channels = getattr(getattr(getattr(prior.net, "inner", None), "net", None), "cond_channels", 0)
        if bool(channels) != issubclass(kind, Conditional):
            wanted = "a conditional net" if issubclass(kind, Conditional) else "a prior without a condition"
            raise UsageError(f"expected {wanted} for this method, {name} is not: mri-prior and mri-conditional ship")
        return {"prior": prior}, {"name": Path(name).name, "sha256": str(prior.config.get("sha256", ""))}
    if issubclass(kind, Regression):
        if model is None:
            raise UsageError("method regression needs a model: give the folder that `fewstep fit` exported")
        net, config = checkpoint.load(hub.resolve(model, kind=REGRESSION_KIND), kind=REGRESSION_KIND, device=device)
        return {"net": net}, {"name": Path(model).name, "sha256": str(config.get("sha256", ""))}
    if model is not None:
        raise UsageError(f"this method uses no model, got {model}: leave it out")
    return {}, {}


def _worse(name: str, residuals: Mapping[str, list[float]]) -> list[str]:
    mine, warnings = residuals[name], []
    for other in ("cg-sense", "l1-wavelet"):
        if other == name or other not in residuals:
            continue
        slices = [i for i, (a, b) in enumerate(zip(mine, residuals[other], strict=True)) if a > WORSE * b + 1e-6]
        if slices:
            warnings.append(
                f"{name} agrees less with the data than {other} in {len(slices)} of {len(mine)} slices, "
                f"the first: {slices[0] + 1} ({mine[slices[0]]:.4f} against {residuals[other][slices[0]]:.4f})"
            )
    return warnings


def _plain(method: Method) -> dict[str, Any]:
    return {f.name: getattr(method, f.name) for f in fields(method) if f.name not in ("prior", "net")}
