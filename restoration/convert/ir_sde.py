"""Official IR-SDE and Refusion checkpoints (MIT) to ours: renamed, sizes read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError
from fewstep.restoration.convert.names import Rules, filled, read_weights, renamed
from fewstep.restoration.degrade.recipe import recipe as recipe_of
from fewstep.restoration.models.ir_sde import ConditionalNAFNet, ConditionalUNet
from fewstep.restoration.pretrained import KIND

_BLOCK: Rules = (
    (r"\.mlp\.1\.", ".told."),
    (r"\.block1\.proj\.", ".first."),
    (r"\.block2\.proj\.", ".second."),
    (r"\.res_conv\.", ".skip."),
    (r"\.fn\.norm\.g$", ".norm.gain"),
    (r"\.fn\.fn\.to_qkv\.", ".qkv."),
    (r"\.fn\.fn\.to_out\.0\.", ".out."),
    (r"\.fn\.fn\.to_out\.1\.g$", ".out_norm.gain"),
)
UNET: Rules = (
    (r"^init_conv\.", "enter."),
    (r"^time_mlp\.1\.", "time.0."),
    (r"^time_mlp\.3\.", "time.2."),
    (r"^downs\.", "down."),
    (r"^(ups\.\d+\.3)\.1\.", r"\1."),
    (r"^ups\.", "up."),
    (r"^mid_block1\.", "middle.0."),
    (r"^mid_attn\.", "middle.1."),
    (r"^mid_block2\.", "middle.2."),
    (r"^final_res_block\.", "end."),
    (r"^final_conv\.", "last."),
    *_BLOCK,
)
NAFNET: Rules = (
    (r"^time_mlp\.1\.", "time.0."),
    (r"^time_mlp\.3\.", "time.1."),
    (r"^intro\.", "enter."),
    (r"^ending\.", "last."),
    (r"^encoders\.", "encoder."),
    (r"^decoders\.", "decoder."),
    (r"^middle_blks\.", "middle."),
    (r"^downs\.", "down."),
    (r"^ups\.(\d+)\.0\.", r"up.\1."),
    (r"\.mlp\.1\.", ".told."),
    (r"\.conv1\.", ".enter."),
    (r"\.conv2\.", ".local."),
    (r"\.conv3\.", ".leave."),
    (r"\.conv4\.", ".widen."),
    (r"\.conv5\.", ".narrow."),
    (r"\.sca\.1\.", ".attend."),
    (r"\.(norm[12])\.g$", r".\1.gain"),
)


def converted(weights: Mapping[str, Tensor]) -> tuple[Any, dict[str, Any]]:
    """Our net with these weights.

    Parameters
    ----------
    weights
        An official state dict of either net.

    Returns
    -------
    net : torch.nn.Module
        `ConditionalUNet` or `ConditionalNAFNet`.
    model : dict
        The config that rebuilds it.

    Raises
    ------
    UsageError
        If it is neither.
    """
    where = "fewstep.restoration.models.ir_sde."
    if "init_conv.weight" in weights:
        options: dict[str, Any] = {
            "width": len(weights["init_conv.weight"]), "depth": _count(weights, "downs"),
        }  # fmt: skip
        net: Any = ConditionalUNet(**options)
        return filled(net, renamed(weights, UNET), what="IR-SDE's U-Net"), {
            "_target_": where + "ConditionalUNet", **options,
        }  # fmt: skip
    if "intro.weight" in weights:
        levels = _count(weights, "encoders")
        options = {
            "width": len(weights["intro.weight"]),
            "encoder": [_count(weights, f"encoders.{i}") for i in range(levels)],
            "middle": _count(weights, "middle_blks"),
            "decoder": [_count(weights, f"decoders.{i}") for i in range(levels)],
        }
        net = ConditionalNAFNet(**options)
        return filled(net, renamed(weights, NAFNET), what="Refusion's NAFNet"), {
            "_target_": where + "ConditionalNAFNet", **options,
        }  # fmt: skip
    raise UsageError("these are not the weights of IR-SDE: neither init_conv.weight nor intro.weight is there")


def convert(
    file: str | Path,
    folder: str | Path,
    *,
    recipe: str | Mapping[str, Any],
    max_sigma: float = 10.0,
    n_steps: int = 100,
    eps: float = 0.005,
) -> Path:
    """Write an official checkpoint as ours.

    Parameters
    ----------
    file
        ``.pth`` of the official trainer.
    folder
        Where to write.
    recipe
        The degradation that it was trained for; the weights do not say.
    max_sigma
        Of its config: 10 (deraining, deblurring, shadows), 30 (inpainting, super-resolution), 50 (Refusion).
    n_steps, eps
        Of its config.

    Returns
    -------
    pathlib.Path
        The folder, for ``fewstep.restoration.pretrained.load``.
    """
    net, model = converted(read_weights(file))
    how = recipe_of(recipe)
    path = {"_target_": "fewstep.core.paths.ir_sde", "max_sigma": 2 * max_sigma, "eps": eps, "n_steps": n_steps}
    config = {
        "kind": KIND, "model": model, "task": how["task"], "scale": how["scale"], "method": "ir-sde", "path": path,
        "steps": 5, "recipe": dict(how),
    }  # fmt: skip
    return export(folder, net, config)


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered parts lie under a prefix."""
    parts = {name[len(prefix) + 1 :].split(".")[0] for name in weights if name.startswith(prefix + ".")}
    return len({part for part in parts if part.isdigit()})
