"""Names of colours as people give them: by hue where there is any, by lightness where there is none (CIELAB)."""

from __future__ import annotations

import numpy as np

from fewstep.three_d.corpus.draft import COLOURS

FAINT, DARK, LIGHT = 12.0, 28.0, 80.0
GREYS = ("black", "grey", "white")


def commonest(colours: np.ndarray) -> str:
    """The name that most of some colours have.

    Parameters
    ----------
    colours
        sRGB, uint8 [n, 3], n at least 1.

    Returns
    -------
    str
        Of `fewstep.three_d.corpus.COLOURS`.
    """
    return list(COLOURS)[int(np.bincount(named(colours), minlength=len(COLOURS)).argmax())]


def named(colours: np.ndarray) -> np.ndarray:
    """The number of each colour's name in `COLOURS`, int64 [n]."""
    from skimage.color import rgb2lab

    names = list(COLOURS)
    lab = rgb2lab(np.asarray(colours, np.float64) / 255)
    hues = [name for name in names if name not in GREYS]
    known = rgb2lab(np.array([COLOURS[name] for name in hues]))
    turn = np.angle(np.exp(1j * (_hue(lab)[:, None] - _hue(known))))
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    far = np.abs(turn) / np.deg2rad(30) + np.abs(lab[:, None, 0] - known[:, 0]) / 40
    far += np.abs(chroma[:, None] - np.hypot(known[:, 1], known[:, 2])) / 80
    of_hue = np.array([names.index(name) for name in hues])[far.argmin(1)]
    of_light = np.array([names.index(name) for name in GREYS])[np.digitize(lab[:, 0], [DARK, LIGHT])]
    return np.where(chroma < FAINT, of_light, of_hue)


def _hue(lab: np.ndarray) -> np.ndarray:
    return np.arctan2(lab[:, 2], lab[:, 1])


__all__ = ["commonest", "named"]
