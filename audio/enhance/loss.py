"""Losses of enhancers, on compressed spectra."""

from __future__ import annotations

from torch import Tensor


def spectral_error(guess: Tensor, clean: Tensor, *, magnitude: float = 0.5) -> Tensor:
    """(1 - m) |c' - c|^2 + m (|c'| - |c|)^2: magnitudes count for themselves, lest doubt about phases makes them small.

    Parameters
    ----------
    guess, clean
        Complex, compressed, of one shape.
    magnitude
        m in [0, 1]; 0 is the squared error.

    Returns
    -------
    Tensor
        Real, of that shape.

    References
    ----------
    Braun & Tashev 2020, arXiv:2009.12286, eq. 7.
    """
    error = (guess.real - clean.real).square() + (guess.imag - clean.imag).square()
    if not magnitude:
        return error
    sizes = (g.real.square() + g.imag.square() + 1e-9 for g in (guess, clean))
    ours, theirs = (size.sqrt() for size in sizes)
    return (1 - magnitude) * error + magnitude * (ours - theirs).square()
