"""A judge of shapes: a small net of convolutions that tells kind, colours and attributes from a coarse grid.

It reads occupancy and the surface's colour at 32³ and answers each question of `fewstep.three_d.corpus.attributes`; the
questions of the kinds share the net. Its features before the answers also serve a Fréchet distance of sets of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.core.errors import UsageError
from fewstep.three_d.corpus.attributes import ATTRIBUTES, answers

SIDE = 32
KIND = "shapes-judge"
KINDS = tuple(ATTRIBUTES)


def questions() -> dict[str, tuple[str, ...]]:
    """What is asked, in order, and the possible answers: ``kind``, the two colours, then ``chair.size`` and so on."""
    asked: dict[str, tuple[str, ...]] = {"kind": KINDS}
    asked |= {name: answers("chair")[name] for name in ("colour", "second")}
    for kind, names in ATTRIBUTES.items():
        asked |= {f"{kind}.{name}": values for name, values in names.items()}
    return asked


class Judge(nn.Module):
    """A grid -> features -> answers.

    Parameters
    ----------
    channels
        Of the four convolutions, each of which halves the grid.
    features
        Width of what a Fréchet distance is taken of.
    """

    def __init__(self, *, channels: Sequence[int] = (24, 48, 96, 128), features: int = 128):
        super().__init__()
        layers: list[nn.Module] = []
        wide = 4
        for wider in channels:
            layers += [nn.Conv3d(wide, wider, 3, stride=2, padding=1), nn.GroupNorm(8, wider), nn.SiLU()]
            wide = wider
        self.convolutions = nn.Sequential(*layers)
        self.features = nn.Linear(wide * (SIDE >> len(channels)) ** 3, features)
        self.sizes = {name: len(values) for name, values in questions().items()}
        self.answers = nn.Linear(features, sum(self.sizes.values()))

    def forward(self, grid: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Answers and features.

        Parameters
        ----------
        grid
            [B, 4, 32, 32, 32]: occupancy and sRGB, both in [0, 1] (`grid_of`).

        Returns
        -------
        logits : dict
            By question, [B, answers].
        features : Tensor
            [B, features].
        """
        h = nn.functional.silu(self.features(self.convolutions(grid - 0.5).flatten(1)))
        parts = self.answers(h).split(list(self.sizes.values()), 1)
        return dict(zip(self.sizes, parts, strict=True)), h

    @torch.inference_mode()
    def judged(self, grids: Tensor, *, batch_size: int = 64) -> tuple[list[dict[str, str]], np.ndarray]:
        """The likeliest answers.

        Parameters
        ----------
        grids
            [n, 4, 32, 32, 32].
        batch_size
            At once.

        Returns
        -------
        answers : list of dict
            ``kind``, ``colour``, ``second`` and the attributes of every kind, ``chair.size`` and so on.
        features : numpy.ndarray
            float32 [n, features].
        """
        asked, told, features = questions(), [], []
        for part in grids.split(batch_size):
            logits, h = self(part)
            best = {name: values.argmax(1).tolist() for name, values in logits.items()}
            told += [{name: asked[name][best[name][i]] for name in asked} for i in range(len(part))]
            features.append(h.numpy())
        return told, np.concatenate(features) if features else np.zeros((0, self.answers.in_features), np.float32)


def grid_of(sdf: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """What the judge reads of a field.

    Parameters
    ----------
    sdf
        [R, R, R] in object units, negative inside; clipped no nearer than 1/32.
    colour
        [R, R, R, 3], sRGB in [0, 1].

    Returns
    -------
    numpy.ndarray
        float32 [4, 32, 32, 32].

    Raises
    ------
    UsageError
        If the sizes do not fit.
    """
    from fewstep.three_d.mesh.isosurface import trilinear

    if sdf.ndim != 3 or colour.shape != (*sdf.shape, 3) or len(set(sdf.shape)) != 1:
        raise UsageError(f"expected a field [R, R, R] with its colours, got {sdf.shape} and {colour.shape}")
    points = centres()
    return _grid(trilinear(sdf, points).reshape((SIDE,) * 3), trilinear(colour, points).reshape(*(SIDE,) * 3, 3))


def centres() -> np.ndarray:
    """Where the judge looks, float32 [32³, 3], x slowest."""
    axis = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)


def _grid(sdf: np.ndarray, colour: np.ndarray) -> np.ndarray:
    near = np.abs(sdf) < 1 / SIDE
    inside = np.clip(0.5 - sdf * SIDE, 0, 1)
    return np.concatenate([inside[None], np.where(near[..., None], colour, 0).transpose(3, 0, 1, 2)]).astype(np.float32)


def agreement(told: Mapping[str, str], kind: str, asked: Mapping[str, str]) -> dict[str, bool]:
    """Which of the things that a prompt asks for the judge finds.

    Parameters
    ----------
    told
        Of `Judge.judged`, one shape.
    kind, asked
        Of `fewstep.three_d.corpus.attributes.said`.

    Returns
    -------
    dict
        ``kind`` and each name asked for.
    """
    found = {"kind": told["kind"] == kind}
    for name, value in asked.items():
        found[name] = told[name if name in ("colour", "second") else f"{kind}.{name}"] == value
    return found


__all__ = ["KIND", "SIDE", "Judge", "agreement", "centres", "grid_of", "questions"]
