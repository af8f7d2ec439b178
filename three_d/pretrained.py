"""Checkpoints of the room by name: autoencoders of the two stages, and flows with how to sample them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewstep.core import checkpoint, hub
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.three_d.lattice import Lattice
from fewstep.three_d.models.blocks import Trunk

STRUCTURE_VAE, SLAT_VAE = "shapes-structure-vae", "shapes-slat-vae"
VAES, FLOWS = "shapes-vaes", "shapes"


def _folder(name: str | Path, kind: str | None) -> Path:
    inside = Path(name) / "export"
    found = inside if not (Path(name) / hub.CONFIG).is_file() and (inside / hub.CONFIG).is_file() else str(name)
    return Path(hub.resolve(found, kind=kind))


class Pair(nn.Module):
    """The nets of both stages, stored together.

    Parameters
    ----------
    structure, slat
        Of the first and of the second stage.
    """

    def __init__(self, *, structure: nn.Module, slat: nn.Module):
        super().__init__()
        self.structure, self.slat = structure, slat


def autoencoder(name: str | Path, stage: str, *, device: str | torch.device = "cpu") -> nn.Module:
    """The autoencoder of a stage.

    Parameters
    ----------
    name
        A model that ships (``"shapes-vae"``), a folder of both or of this one, a run, or a hub id.
    stage
        ``"structure"`` or ``"slat"``.
    device
        Where it goes.

    Returns
    -------
    torch.nn.Module
        `StructureVae` or `SlatVae`.

    Raises
    ------
    UsageError
        If there is no such model, or it is of another kind.
    """
    alone = STRUCTURE_VAE if stage == "structure" else SLAT_VAE
    folder = _folder(name, None)
    if hub.read_config(folder)["kind"] == alone:
        return checkpoint.load(folder, kind=alone, device=device)[0]
    return getattr(checkpoint.load(folder, kind=VAES, device=device)[0], stage)


def autoencoder_key(name: str | Path, stage: str) -> str:
    """A name of the latents that an autoencoder makes: it changes with what encodes, not with what decodes.

    Parameters
    ----------
    name, stage
        See `autoencoder`.
    """
    parts = ("enter", "place", "encoder", "moments", "mean", "std")
    digest = hashlib.sha256()
    for key, value in sorted(autoencoder(name, stage).state_dict().items()):
        if key.split(".")[0] in parts:
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Models:
    """Everything that makes a shape.

    Parameters
    ----------
    structure, slat
        The flows.
    structure_vae, slat_vae
        The autoencoders of their latents.
    lattice
        Of the result.
    config
        The whole `config.yaml` of the flows.
    """

    structure: Pretrained
    slat: Pretrained
    structure_vae: Any
    slat_vae: Any
    lattice: Lattice
    config: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the nets are."""
        return next(self.structure.net.parameters()).device


def load(name: str | Path, *, device: str | torch.device = "cpu") -> Models:
    """Flows by name, with their autoencoders.

    Parameters
    ----------
    name
        A model that ships (``"shapes-mdt"``, ``"shapes-flow"``), a folder that `packed` wrote, or a hub id.
    device
        Where the nets run.

    Returns
    -------
    Models

    Raises
    ------
    UsageError
        If there is no such model, it is of another kind, or its config lacks something.
    """
    folder = _folder(name, FLOWS)
    pair, config = checkpoint.load(folder, kind=FLOWS, device=device)
    missing = [key for key in ("vae", "structure", "slat") if key not in config]
    if missing:
        raise UsageError(f"{name}: config.yaml lacks {', '.join(missing)}: made by fewstep.three_d.pretrained.packed")
    beside = folder.parent / str(config["vae"])
    vae = beside if (beside / hub.CONFIG).is_file() else config["vae"]
    nets: dict[str, Any] = {stage: autoencoder(vae, stage, device=device) for stage in ("structure", "slat")}
    told = {stage: Pretrained.of(getattr(pair, stage), config[stage] | {"sha256": config["sha256"]}) for stage in nets}
    structure, slat = nets["structure"], nets["slat"]
    lattice = Lattice(int(slat.resolution) * int(slat.block), int(slat.block))
    return Models(told["structure"], told["slat"], structure, slat, lattice, config)


def packed(
    folder: str | Path,
    *,
    structure: str | Path,
    slat: str | Path,
    vae: str | None = None,
    settings: Mapping[str, Any] | None = None,
    bits: int | None = None,
) -> Path:
    """Join the exports of two stages: autoencoders, or flows.

    Parameters
    ----------
    folder
        Where to write.
    structure, slat
        Exports or runs of the two stages.
    vae
        Given: these are flows, of the latents of this model (a name, or the name of a folder beside `folder`).
    settings
        Further keys of the config (``guidance_scale``, ``interval``, ``shift``, ``temperature``):
        see `fewstep.three_d.pipeline`.
    bits
        See `fewstep.core.checkpoint.export`.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If an export is missing or of another kind.
    """
    found = {}
    for stage, name in (("structure", structure), ("slat", slat)):
        kind = "diffusion" if vae is not None else STRUCTURE_VAE if stage == "structure" else SLAT_VAE
        found[stage] = checkpoint.load(_folder(name, kind), kind=kind)
    pair = Pair(**{stage: net for stage, (net, _) in found.items()})
    models = {stage: config["model"] for stage, (_, config) in found.items()}
    config: dict[str, Any] = {"model": {"_target_": "fewstep.three_d.pretrained.Pair"} | models}
    if vae is None:
        return checkpoint.export(folder, pair, {"kind": VAES} | config, bits=bits)
    left_out = ("kind", "model", "sha256")
    stages = {s: {k: v for k, v in c.items() if k not in left_out} for s, (_, c) in found.items()}
    config = {"kind": FLOWS} | config | {"vae": vae} | stages | dict(settings or {})
    return checkpoint.export(folder, pair, config, bits=bits)


def unpacked(folder: str | Path, name: str | Path) -> dict[str, Path]:
    """Write the flows of both stages on their own, to train on, or to distil: the inverse of `packed`.

    Parameters
    ----------
    folder
        Where to write; each stage gets a folder within.
    name
        What `load` takes.

    Returns
    -------
    dict of pathlib.Path
        ``structure`` and ``slat``: what ``teacher=``, ``student=`` and ``start=`` of `fewstep fit` take.

    Raises
    ------
    UsageError
        As `load`.
    """
    models, found = load(name), {}
    for stage, flow in (("structure", models.structure), ("slat", models.slat)):
        told = {key: value for key, value in flow.config.items() if key != "sha256"}
        config = {"kind": "diffusion", "model": models.config["model"][stage]} | told
        found[stage] = checkpoint.export(Path(folder) / stage, flow.net, config)
    return found


def deepened(folder: str | Path, name: str | Path) -> Path:
    """Write a flow of one stage with a copy after each of its blocks that adds nothing yet: the same answers.

    What a student cannot learn any better it may learn with more layers; a silent copy starts to speak within a few
    iterations (the identity blocks of LLaMA Pro, Wu et al. 2024, arXiv:2401.02415).

    Parameters
    ----------
    folder
        Where to write.
    name
        A run, or a stage that `unpacked` wrote.

    Returns
    -------
    pathlib.Path
        The folder; ``student=`` and ``start=`` of `fewstep fit` take it.

    Raises
    ------
    UsageError
        If there is no such model, or it is no flow of shapes.
    """
    source = _folder(name, "diffusion")
    net, config = checkpoint.load(source, kind="diffusion")
    flow = getattr(net, "flow", None)
    if not isinstance(flow, Trunk):
        raise UsageError(f"{name}: expected the flow of a stage of shapes, got {type(flow or net).__name__}")
    inner = config["model"]["flow"] | {"num_blocks": 2 * len(flow.blocks)}
    flow.deepen()
    config = {key: value for key, value in config.items() if key != "sha256"}
    return checkpoint.export(folder, net, config | {"model": config["model"] | {"flow": inner}}, dtype=torch.float32)
