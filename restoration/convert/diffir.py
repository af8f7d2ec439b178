"""Official DiffIR checkpoints (Apache-2.0) to ours: renamed, the doubled tensors of stage 2 dropped.

Stage 2 stores condition and denoiser a second time under ``diffusion.*``, beside buffers of its schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError
from fewstep.restoration.convert.names import Rules, filled, read_weights, renamed
from fewstep.restoration.models.diffir import SIZES, DiffIR
from fewstep.restoration.pretrained import KIND

BODY: Rules = (
    (r"^G\.patch_embed\.proj\.", "body.enter."),
    (r"^G\.latent\.", "body.encoder.3."),
    *((rf"^G\.encoder_level{i + 1}\.", f"body.encoder.{i}.") for i in range(3)),
    *((rf"^G\.decoder_level{i + 1}\.", f"body.decoder.{i}.") for i in range(3)),
    *((rf"^G\.down{i + 1}_{i + 2}\.body\.0\.", f"body.down.{i}.") for i in range(3)),
    *((rf"^G\.up{i + 2}_{i + 1}\.body\.0\.", f"body.up.{i}.") for i in range(3)),
    *((rf"^G\.reduce_chan_level{i + 2}\.", f"body.reduce.{i}.") for i in range(2)),
    (r"^G\.refinement\.", "body.refinement."),
    (r"^G\.tail\.0\.0\.", "body.tail.0."),
    (r"^G\.tail\.0\.2\.", "body.tail.1."),
    (r"^G\.(tail\.1|output)\.", "body.last."),
    (r"\.(norm[12])\.body\.", r".\1."),
    (r"\.attn\.", ".attention."),
    (r"\.ffn\.", ".feed_forward."),
    (r"\.kernel\.0\.", ".kernel."),
    (r"\.(qkv_dwconv|dwconv)\.", ".local."),
    (r"\.project_in\.", ".enter."),
    (r"\.project_out\.", ".out."),
)
HEAD = r"^(E|condition)\."
CHAIN: Rules = ((r"^denoise\.resmlp\.0\.", "chain.layers.0."),)


def names(weights: Mapping[str, Tensor], *, extractor_blocks: int) -> dict[str, Tensor]:
    """Our names for an official state dict of either stage.

    Parameters
    ----------
    weights
        With keys ``G.*`` and ``E.*``, or ``G.*``, ``condition.*``, ``denoise.*`` and their doubles.
    extractor_blocks
        Residual blocks of CPEN.

    Returns
    -------
    dict
        For `fewstep.restoration.models.diffir.DiffIR`.
    """
    single = {name: value for name, value in weights.items() if not name.startswith("diffusion.")}
    n = extractor_blocks
    extractor: Rules = (
        (HEAD + r"E\.0\.", "extractor.enter."),
        *((HEAD + rf"E\.{2 + i}\.body\.{2 * j}\.", f"extractor.blocks.{i}.{j}.") for i in range(n) for j in (0, 1)),
        *((HEAD + rf"E\.{2 + n + 2 * i}\.", f"extractor.widen.{i}.") for i in range(3)),
        *((HEAD + rf"mlp\.{2 * i}\.", f"extractor.mix.{i}.") for i in range(2)),
    )
    chain: Rules = (*CHAIN, *((rf"^denoise\.resmlp\.{2 + i}\.resmlp\.0\.", f"chain.layers.{1 + i}.") for i in range(9)))
    return renamed(single, (*BODY, *extractor, *chain))


def convert(
    file: str | Path, folder: str | Path, *, size: str = "sr-x4", recipe: Mapping[str, Any] | None = None
) -> Path:
    """Write an official checkpoint as ours.

    Parameters
    ----------
    file
        ``.pth`` of BasicSR, with ``params_ema`` or ``params``.
    folder
        Where to write.
    size
        A name of `fewstep.restoration.models.diffir.SIZES`.
    recipe
        The degradation that it was trained for; default: bicubic of its scale, or motion blur.

    Returns
    -------
    pathlib.Path
        The folder, for ``fewstep.restoration.pretrained.load``.

    Raises
    ------
    UsageError
        If the size is unknown or the weights are not of that size.
    """
    if size not in SIZES:
        raise UsageError(f"size {size!r}: expected one of {', '.join(SIZES)}")
    weights = read_weights(file)
    stage = 2 if any(name.startswith("denoise.") for name in weights) else 1
    net = DiffIR(size=size, stage=stage)
    ours = names(weights, extractor_blocks=int(SIZES[size]["extractor_blocks"]))
    filled(net, ours, what=f"DiffIR {size}, stage {stage}")
    task = "sr" if net.scale > 1 else "deblur"
    config = {
        "kind": KIND,
        "model": {"_target_": "fewstep.restoration.models.diffir.DiffIR", "size": size, "stage": stage},
        "task": task,
        "scale": net.scale,
        "method": "diffir",
        "path": {"_target_": "fewstep.core.paths.resshift", "kappa": 0.5, "n_steps": 4, "min_noise": 0.1},
        "steps": 1,
        "recipe": dict(recipe or {"name": "bicubic4" if net.scale > 1 else "motion"}),
    }
    return export(folder, net, config)
