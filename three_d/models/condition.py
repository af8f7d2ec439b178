"""What a flow is told: words and a picture as tokens, and a flow that listens to them.

`cond` of the core is a mapping here: ``words`` int64 [B, L] (0 is padding; all 0: nothing is said), ``image`` float
[B, 4, P, P] (RGBA in [0, 1], alpha the silhouette; all 0: no picture), and for the second stage ``coords`` int64
[B, N, 3] and ``mask`` bool [B, N]. In place of words and image there may be ``tokens`` [B, T, W], made once by `tell`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.three_d.models.slat_flow import SlatFlow
from fewstep.three_d.models.structure_flow import StructureFlow
from fewstep.three_d.models.transformer import TransformerBlock


class Condition(nn.Module):
    """Words and a picture -> tokens [B, L + 16, W].

    Parameters
    ----------
    vocabulary
        Number of words, without padding.
    length
        L, words of a prompt.
    picture
        P, pixels per side of a picture, a multiple of 16.
    channels, heads, blocks
        W, and the transformer over all tokens.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int = 16,
        picture: int = 64,
        channels: int = 128,
        heads: int = 4,
        blocks: int = 1,
    ):
        super().__init__()
        self.length, self.picture = length, picture
        self.words = nn.Embedding(vocabulary + 1, channels)
        self.order = nn.Parameter(torch.randn(1, length, channels) * 0.02)
        widths = (4, channels // 8, channels // 4, channels // 2, channels)
        parts: list[nn.Module] = []
        for number, (wide, wider) in enumerate(pairwise(widths)):
            parts += [nn.Conv2d(wide, wider, 3, stride=2, padding=1), *([nn.SiLU()] if number < 3 else [])]
        self.eye = nn.Sequential(*parts)
        self.pool = nn.AdaptiveAvgPool2d(4) if picture != 64 else nn.Identity()
        self.place = nn.Parameter(torch.randn(1, 16, channels) * 0.02)
        self.blind = nn.Parameter(torch.randn(1, 16, channels) * 0.02)
        self.blocks = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(channels)

    def forward(self, words: Tensor, image: Tensor) -> Tensor:
        """Tokens.

        Parameters
        ----------
        words
            int64 [B, L].
        image
            [B, 4, P, P]; items that are all 0 are read as having none.
        """
        seen = self.pool(self.eye(2 * image - 1)).flatten(2).transpose(1, 2) + self.place
        there = (image.flatten(1) != 0).any(1)[:, None, None]
        h = torch.cat([self.words(words) + self.order, torch.where(there, seen, self.blind.to(seen))], 1)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)


class ToldFlow(nn.Module):
    """``net(x, t, cond)`` of the core: a flow of either stage and what tells it.

    Parameters
    ----------
    flow
        `StructureFlow` or `SlatFlow`.
    condition
        Of the flow's `cond_channels`.
    """

    def __init__(self, *, flow: nn.Module, condition: nn.Module):
        super().__init__()
        self.flow, self.condition = flow, condition

    @property
    def sparse(self) -> bool:
        """Whether this is the second stage."""
        return isinstance(self.flow, SlatFlow)

    def tell(self, cond: Mapping[str, Any]) -> dict[str, Any]:
        """The same condition with words and picture turned into tokens, for many calls."""
        if "tokens" in cond:
            return dict(cond)
        kept = {key: value for key, value in cond.items() if key not in ("words", "image")}
        return kept | {"tokens": self.condition(cond["words"], cond["image"])}

    def forward(self, x: Tensor, t: Tensor, cond: Mapping[str, Any]) -> Tensor:
        """Velocity.

        Parameters
        ----------
        x
            Latents, [B, C, r, r, r] or [B, N, C].
        t
            [B], of size one.
        cond
            See the module.

        Returns
        -------
        Tensor
            Shaped like `x`.
        """
        told = self.tell(cond)
        if self.sparse:
            return self.flow(x, t, told["tokens"], told["coords"], told["mask"])
        return self.flow(x, t, told["tokens"])


__all__ = ["Condition", "SlatFlow", "StructureFlow", "ToldFlow"]
