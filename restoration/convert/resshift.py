"""ResShift checkpoints that a user has, to ours: the autoencoder and the windowed U-Net.

Their code and weights are under a non-commercial licence, and nothing of them is here. Names are those of the MIT code
that both nets descend from (latent diffusion, guided diffusion, Swin); a file with other names is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fewstep.core.errors import UsageError
from fewstep.restoration.convert.names import Rules, filled, renamed
from fewstep.restoration.models.swin_unet import SwinUNet
from fewstep.restoration.models.vq import VQAutoencoder

_PARTS: Rules = (
    (r"\.in_layers\.0\.", ".norm1."),
    (r"\.in_layers\.2\.", ".first."),
    (r"\.emb_layers\.1\.", ".told."),
    (r"\.out_layers\.0\.", ".norm2."),
    (r"\.out_layers\.3\.", ".second."),
    (r"\.skip_connection\.", ".skip."),
    (r"\.patch_embed\.proj\.", ".enter."),
    (r"\.patch_unembed\.proj\.", ".leave."),
    (r"\.attn\.qkv\.", ".qkv."),
    (r"\.attn\.proj\.", ".out."),
    (r"\.attn\.relative_position_bias_table$", ".bias"),
    (r"\.mlp\.fc1\.", ".widen."),
    (r"\.mlp\.fc2\.", ".narrow."),
)
BUFFERS = ("relative_position_index", "attn_mask")


def autoencoder(weights: Mapping[str, Tensor], **options: object) -> VQAutoencoder:
    """The autoencoder with these weights; names are latent diffusion's, which ours are too.

    Parameters
    ----------
    weights
        A state dict; losses beside the net are left out.
    options
        As for `VQAutoencoder`, where they differ.

    Returns
    -------
    VQAutoencoder

    Raises
    ------
    UsageError
        If the weights are others.
    """
    parts = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
    kept = {name: value for name, value in weights.items() if name.startswith(parts)}
    net = VQAutoencoder(**options)  # type: ignore[arg-type]
    filled(net, kept, what="the VQ autoencoder")
    return net


def unet(
    weights: Mapping[str, Tensor], *, multipliers: Sequence[int] = (1, 2, 2, 4), blocks: int = 2, **options: object
) -> SwinUNet:
    """The windowed U-Net with these weights.

    Parameters
    ----------
    weights
        A state dict with keys ``time_embed``, ``input_blocks``, ``middle_block``, ``output_blocks`` and ``out``.
    multipliers, blocks, options
        As for `SwinUNet`.

    Returns
    -------
    SwinUNet

    Raises
    ------
    UsageError
        If the weights are others.
    """
    if "input_blocks.0.0.weight" not in weights:
        raise UsageError("these are not the weights of the windowed U-Net: input_blocks.0.0.weight is not there")
    net = SwinUNet(multipliers=multipliers, blocks=blocks, **options)  # type: ignore[arg-type]
    kept = {name: value for name, value in weights.items() if name.rpartition(".")[2] not in BUFFERS}
    ours = renamed(kept, (*_places(len(multipliers), blocks), *_PARTS))
    state = net.state_dict()
    for name, value in ours.items():  # linear layers there, 1 x 1 convolutions here
        if name in state and state[name].ndim == 4 and value.ndim == 2:
            ours[name] = value[:, :, None, None]
    filled(net, ours, what="the windowed U-Net")
    return net


def _places(levels: int, blocks: int) -> list[tuple[str, str]]:
    """Where each numbered part lies."""
    rules = [
        (r"^time_embed\.0\.", "time.0."),
        (r"^time_embed\.2\.", "time.1."),
        (r"^input_blocks\.0\.0\.", "enter."),
        (r"^out\.0\.", "norm."),
        (r"^out\.2\.", "last."),
        *((rf"^middle_block\.{i}\.", f"middle.{i}.") for i in range(3)),
    ]
    place = 0
    for level in range(levels):
        for _ in range(blocks):
            rules.append((rf"^input_blocks\.{place + 1}\.0\.", f"down.{place}.block."))
            rules.append((rf"^input_blocks\.{place + 1}\.1\.", f"down.{place}.more.0."))
            place += 1
        if level < levels - 1:
            rules.append((rf"^input_blocks\.{place + 1}\.0\.op\.", f"down.{place}.more.0."))
            place += 1
    for i in range(levels * (blocks + 1)):
        rules.append((rf"^output_blocks\.{i}\.0\.", f"up.{i}.block."))
        rules.append((rf"^output_blocks\.{i}\.1\.", f"up.{i}.more.0."))
        rules.append((rf"^output_blocks\.{i}\.2\.", f"up.{i}.more.1."))
    return rules
