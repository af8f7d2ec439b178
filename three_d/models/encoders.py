"""Words and pictures by large encoders from the hub instead of small ones trained here, as TRELLIS has them (CLIP and
DINOv2). Needs ``transformers``; the encoders stay frozen and are no part of a checkpoint, only their names are."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import hub
from fewstep.core.errors import UsageError
from fewstep.three_d.models.transformer import TransformerBlock
from fewstep.three_d.text import VOCABULARY

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, what DINOv2 expects them normalised by."""

_SAFE = {"local_files_only": True, "trust_remote_code": False}


class HubCondition(nn.Module):
    """As `fewstep.three_d.models.condition.Condition`, with tokens of frozen encoders.

    Parameters
    ----------
    words_by
        A text encoder with a tokenizer, such as ``"openai/clip-vit-base-patch32"``: a hub id or a folder.
    pictures_by
        An image encoder, such as ``"facebook/dinov2-small"``.
    length
        L, words of a prompt.
    picture
        P, pixels per side of a picture.
    seen_at
        Pixels per side at which the image encoder sees it.
    channels, heads, blocks
        W, and the transformer over all tokens.

    Raises
    ------
    UsageError
        If ``transformers`` is not installed, or an encoder cannot be had.
    """

    def __init__(
        self,
        *,
        words_by: str,
        pictures_by: str,
        length: int = 16,
        picture: int = 64,
        seen_at: int = 224,
        channels: int = 128,
        heads: int = 4,
        blocks: int = 1,
    ):
        super().__init__()
        self.length, self.picture, self.seen_at = length, picture, seen_at
        reader, self._tokenizer = _text_encoder(words_by)
        self._frozen = [reader, _frozen(pictures_by)]  # in a list: neither trained nor saved
        wide, wider = (int(net.config.hidden_size) for net in self._frozen)
        self.words_in = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, channels))
        self.image_in = nn.Sequential(nn.LayerNorm(wider), nn.Linear(wider, channels))
        self.silent = nn.Parameter(torch.randn(1, 1, channels) * 0.02)
        self.blind = nn.Parameter(torch.randn(1, 1, channels) * 0.02)
        self.blocks = nn.ModuleList([TransformerBlock(channels, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(channels)

    def forward(self, words: Tensor, image: Tensor) -> Tensor:
        """Tokens [B, T, W].

        Parameters
        ----------
        words
            int64 [B, L]; 0 is padding, all 0: nothing is said.
        image
            [B, 4, P, P]; all 0: no picture.
        """
        spoken = (words != 0).any(1)[:, None, None]
        there = (image.flatten(1) != 0).any(1)[:, None, None]
        said = torch.where(spoken, self.words_in(self._read(words)), self.silent)
        seen = torch.where(there, self.image_in(self._seen(image)), self.blind)
        h = torch.cat([said, seen], 1)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    @torch.no_grad()
    def _read(self, words: Tensor) -> Tensor:
        """[B, L + 2, .] of the text encoder: each word of the vocabulary is one token of CLIP, or it is cut."""
        net = self._frozen[0].to(words.device)
        text = [" ".join(VOCABULARY[number - 1] for number in row if number) for row in words.tolist()]
        told = {"padding": "max_length", "truncation": True, "max_length": self.length + 2, "return_tensors": "pt"}
        tokens = self._tokenizer(text, **told).to(words.device)
        return net(**tokens).last_hidden_state.to(self.silent.dtype)

    @torch.no_grad()
    def _seen(self, image: Tensor) -> Tensor:
        net = self._frozen[1].to(image.device)
        flat = image[:, :3] * image[:, 3:]  # before black, as TRELLIS does it
        large = nn.functional.interpolate(flat.float(), (self.seen_at,) * 2, mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values, device=image.device)[:, None, None] for values in (MEAN, STD))
        return net(pixel_values=(large - mean) / std).last_hidden_state.to(self.blind.dtype)


def _folder(name: str) -> str:
    return name if Path(name).is_dir() else str(hub.snapshot(name))


def _transformers() -> Any:
    """transformers; a torchaudio that cannot be loaded, which would take it down, has a stand-in meanwhile."""
    try:
        importlib.import_module("torchaudio")
        broken = False
    except (ImportError, OSError):
        broken = True
        empty = ModuleType("torchaudio")
        empty.__spec__ = ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = empty
    try:
        transformers = importlib.import_module("transformers")
        importlib.import_module("transformers.processing_utils")
    except ImportError:
        raise UsageError("encoders from the hub need transformers: pip install transformers") from None
    finally:
        if broken:
            del sys.modules["torchaudio"]
    return transformers


def _frozen(name: str) -> Any:
    transformers, folder = _transformers(), _folder(name)
    try:
        net = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{name} is no encoder that transformers can load: {str(error).splitlines()[0]}") from None
    return net.requires_grad_(False).eval()


def _text_encoder(name: str) -> tuple[Any, Any]:
    net = _frozen(name)
    tokenizer = _transformers().AutoTokenizer.from_pretrained(
        _folder(name), local_files_only=True, trust_remote_code=False
    )
    return getattr(net, "text_model", net), tokenizer


__all__ = ["HubCondition"]
