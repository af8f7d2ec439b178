"""How enhanced speech is judged: SI-SDR here; PESQ and ESTOI through the packages `pesq` and `pystoi`."""

from __future__ import annotations

import torch
from torch import Tensor

from fewstep.core.errors import UsageError


def si_sdr(wav: Tensor, clean: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, dB: [..., n] and [..., n] -> [...].

    References
    ----------
    Le Roux et al. 2019, arXiv:1811.02508, eq. 4.
    """
    wav, clean = (w - w.mean(-1, keepdim=True) for w in (wav.double(), clean.double()))
    size = (wav * clean).sum(-1, keepdim=True) / clean.square().sum(-1, keepdim=True).clamp(min=1e-12)
    target = size * clean
    power, rest = target.square().sum(-1), (wav - target).square().sum(-1)
    return (10 * torch.log10((power + 1e-12) / (rest + 1e-12))).float()


def perceived(wav: Tensor, clean: Tensor, rate: int = 16000) -> dict[str, float]:
    """Wide-band PESQ (MOS-LQO) and ESTOI of one recording [n] at 16 kHz.

    Raises
    ------
    UsageError
        If the rate is not 16 kHz.

    References
    ----------
    ITU-T P.862.2; Jensen & Taal 2016, doi:10.1109/TASLP.2016.2585878.
    """
    if rate != 16000:
        raise UsageError(f"wide-band PESQ is defined at 16000 Hz, got {rate} Hz")
    import pesq
    import pystoi

    ours, theirs = (w.detach().double().numpy() for w in (wav, clean))
    return {
        "pesq": float(pesq.pesq(rate, theirs, ours, "wb")),
        "estoi": float(pystoi.stoi(theirs, ours, rate, extended=True)),
    }
