"""Methods of reconstruction, all called as ``method(problem, seed=0) -> Result``, by name in `METHODS`."""

from fewstep.mri.methods.base import Method, Result
from fewstep.mri.methods.classical import CgSense, ZeroFilled
from fewstep.mri.methods.conditional import Conditional
from fewstep.mri.methods.diffusion import DDNM, DDS, DPS, DiffPIR, Diffusion
from fewstep.mri.methods.pnp_cm import PnPCM
from fewstep.mri.methods.regression import Regression
from fewstep.mri.methods.tv import TotalVariation
from fewstep.mri.methods.wavelet import L1Wavelet

METHODS: dict[str, type[Method]] = {
    "zero-filled": ZeroFilled,
    "cg-sense": CgSense,
    "l1-wavelet": L1Wavelet,
    "tv": TotalVariation,
    "dds": DDS,
    "diffpir": DiffPIR,
    "ddnm": DDNM,
    "dps": DPS,
    "pnp-cm": PnPCM,
    "conditional": Conditional,
    "regression": Regression,
}
"""Name -> class; a diffusion method takes a `prior`, a regression a `net`."""

__all__ = [
    "METHODS",
    "Method",
    "Result",
    "ZeroFilled",
    "CgSense",
    "L1Wavelet",
    "TotalVariation",
    "Diffusion",
    "DDS",
    "DiffPIR",
    "DDNM",
    "DPS",
    "PnPCM",
    "Conditional",
    "Regression",
]
