"""How good a restored picture is: against a reference, by itself, and against its input; none needs a trained net."""

from fewstep.restoration.metrics.detail import hf_ratio, lr_consistency, seam_index
from fewstep.restoration.metrics.fidelity import psnr
from fewstep.restoration.metrics.gmsd import gmsd
from fewstep.restoration.metrics.luma import cropped, luma
from fewstep.restoration.metrics.niqe import niqe
from fewstep.restoration.metrics.ssim import ms_ssim, ssim

__all__ = ["psnr", "ssim", "ms_ssim", "gmsd", "niqe", "hf_ratio", "lr_consistency", "seam_index", "luma", "cropped"]
