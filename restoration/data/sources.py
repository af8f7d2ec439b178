"""Where clean pictures come from: a folder, and the CC0 and public-domain colour pictures that scikit-image installs.

Pictures of BSDS500/val are refused: they are BSD100, and CBSD68 lies among them, so training on them spoils every test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.restoration.degrade.imresize import imresize, quantized

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

FREE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
"""Of scikit-image: NASA and SpaceX pictures in the public domain, two photographs under CC0."""

_NAMES = """
    101085 101087 102061 103070 105025 106024 108005 108070 108082 109053 119082 12084 123074 126007 130026 134035
    14037 143090 145086 147091 148026 148089 156065 157055 159008 160068 16077 163085 167062 167083 170057 175032
    175043 182053 189080 19021 196073 197017 208001 210088 21077 216081 219090 220075 223061 227092 229036 236037
    24077 241004 241048 253027 253055 260058 271035 285079 291000 295087 296007 296059 299086 300091 302008 304034
    304074 306005 3096 33039 351093 361010 37073 376043 38082 38092 385039 41033 41069 42012 42049 43074 45096 54082
    55073 58060 62096 65033 66053 69015 69020 69040 76053 78004 8023 85048 86000 86016 86068 87046 89072 97033
"""

BSD100 = frozenset(_NAMES.split())
"""Names of the 100 pictures of BSDS500/val."""


def picture_files(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """The pictures of a folder, by name.

    Parameters
    ----------
    folder
        Where they are.
    recursive
        Also in the folders inside.

    Raises
    ------
    UsageError
        If there are none.
    """
    folder = Path(folder)
    found = folder.glob("**/*" if recursive else "*") if folder.is_dir() else []
    files = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"expected pictures ({', '.join(SUFFIXES)}) in {folder}, found none")
    return files


def refuse_bsd100(files: Sequence[Path]) -> None:
    """Refuse to train on the pictures that everybody tests on.

    Parameters
    ----------
    files
        What would be trained on.

    Raises
    ------
    UsageError
        If any is named as a picture of BSDS500/val.
    """
    named = [file for file in files if file.stem in BSD100]
    if named:
        raise UsageError(
            f"{len(named)} of {len(files)} pictures are those of BSDS500/val = BSD100 ({named[0]}, ...), which is a "
            "test set and holds CBSD68: train on BSDS500/train and test instead"
        )


def read(file: str | Path) -> Tensor:
    """A picture as colours.

    Parameters
    ----------
    file
        Anything that Pillow reads, 8 bits.

    Returns
    -------
    Tensor
        uint8, [3, rows, columns].

    Raises
    ------
    UsageError
        If it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(file) as opened:
            pixels = np.array(opened.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a picture: {error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def unit(levels: Tensor) -> Tensor:
    """uint8 levels -> float32 in [-1, 1]."""
    return levels.float() / 127.5 - 1


def free_pictures() -> list[Tensor]:
    """The pictures of `FREE`, uint8 [3, rows, columns]."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [read(folder / name) for name in FREE]


def shrunk(pictures: Sequence[Tensor], factors: Sequence[float], *, least: int) -> list[Tensor]:
    """Each picture at several sizes, by bicubic with antialiasing; small ones are sharper than what a camera gave.

    Parameters
    ----------
    pictures
        uint8, [3, rows, columns].
    factors
        1 is as it is.
    least
        Results with a side below this are left out.

    Returns
    -------
    list of Tensor
        uint8.
    """
    out = []
    for picture in pictures:
        for factor in factors:
            if min(picture.shape[1:]) * factor >= least:
                small = picture if factor == 1 else _levels(quantized(imresize(unit(picture), factor)))
                out.append(small)
    return out


def _levels(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round().to(torch.uint8)
