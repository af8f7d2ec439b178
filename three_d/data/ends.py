"""Trajectories of a teacher of either stage, followed once and kept on disk: states on the way and where they end.

A batch is one of `Shapes` with ``x0`` the end of a trajectory in place of a latent of the data, ``eps`` a state of it
and ``t`` [batch] the state's time, drawn anew each epoch. Batches of data, without ``eps``, may come between them. For
`fewstep.core.distill.reflow.Ends`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import guide, rng, times
from fewstep.core.errors import UsageError
from fewstep.core.files import replacing
from fewstep.core.lit.loader import ResumableLoader
from fewstep.core.pretrained import Pretrained
from fewstep.three_d.data.shapes import Shapes

HELD = 8
"""Batches for validation, of the held-out shapes."""


class TrajectoryEnds(pl.LightningDataModule):
    """What a student of few steps learns from: the teacher's trajectories with guidance.

    Parameters
    ----------
    teacher
        A run, or a folder of `fewstep.three_d.pretrained.unpacked`.
    data
        What the teacher is told, of its stage, and the shape of its latents.
    batches
        How many batches of trajectories to follow.
    guidance_scale, interval, steps, shift
        How the teacher is followed: guided at the times of the interval, Euler steps on the times of
        `fewstep.three_d.pipeline`.
    at
        Times of the states that are kept beside the first, 1; the nearest of the teacher's own times are taken.
    shares
        How often each of them is learnt from, 1 first; in proportion.
    beside
        Data of the same stage, of which there are as many batches as of trajectories, mixed; None: none.
    cache
        Folder that keeps them; batches that are there are used again for the same weights and options.
    device
        Where the teacher is followed; ``"auto"``: a GPU if there is one.
    seed
        Of the noise, of the order and of the times.

    Raises
    ------
    UsageError
        If a number is not positive, `shares` does not fit `at`, the interval is empty, the teacher has too few steps
        for `at`, `beside` is of another stage, or `data` come in groups.
    """

    def __init__(
        self,
        *,
        teacher: str,
        data: Shapes,
        batches: int = 128,
        guidance_scale: float = 2.0,
        interval: Sequence[float] = (0.0, 1.0),
        steps: int = 12,
        shift: float = 3.0,
        at: Sequence[float] = (0.9, 0.75),
        shares: Sequence[float] = (0.75, 0.19, 0.06),
        beside: Shapes | None = None,
        cache: str = "runs/shapes-ends",
        device: str = "auto",
        seed: int = 0,
    ):
        super().__init__()
        if min(batches, steps) < 1 or shift <= 0:
            raise UsageError(f"expected positive numbers, got {batches=}, {steps=}, {shift=}")
        if len(shares) != len(at) + 1 or min(shares) < 0 or sum(shares) <= 0:
            raise UsageError(f"expected one share for time 1 and one for each of {list(at)}, got {list(shares)}")
        if len(interval) != 2 or not interval[0] <= interval[1]:
            raise UsageError(f"expected an interval of times [lowest, highest], got {list(interval)}")
        if data.alike:
            raise UsageError(
                "trajectories are told one by one: groups that are told the same (alike) belong in `beside`"
            )
        if beside is not None and beside.stage_name != data.stage_name:
            raise UsageError(f"expected data of the stage {data.stage_name} beside, got {beside.stage_name}")
        self.teacher, self.data, self.batches, self.cache = teacher, data, batches, Path(cache)
        self.guidance_scale, self.steps, self.shift, self.seed = guidance_scale, steps, shift, seed
        self.at, self.shares = tuple(at), tuple(float(share) for share in shares)
        self.interval = float(interval[0]), float(interval[1])
        self.beside = beside
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def prepare_data(self) -> None:
        """Follow what is not there yet; a stop loses one batch."""
        from rich.progress import track

        if self.beside is not None:
            self.beside.prepare_data()
        todo = [number for number in range(-HELD, self.batches) if not self._file(number).is_file()]
        if not todo:
            return
        model = Pretrained.load(self.teacher, device=self.device)
        grid = times.shift(times.uniform(model.path, self.steps), self.shift)
        inner = grid[1:-1].tolist()
        kept = [int(np.abs(np.subtract(inner, t)).argmin()) for t in self.at] if inner else []
        if len(set(kept)) != len(self.at):
            raise UsageError(f"{self.steps} steps have no different times near {list(self.at)}: give more steps")
        self.data.prepare_data()
        self.data.setup("fit")
        for number in track(todo, "trajectories", disable=not os.isatty(2)):
            batch = self._told(number)
            states = self._followed(model, batch, grid, number)
            cond = {key: _small(value) for key, value in batch["cond"].items()}
            whole = {"x0": states[-1], "state0": states[0]}
            whole |= {f"state{n + 1}": states[i + 1] for n, i in enumerate(kept)}
            half = {key: value.half().cpu().contiguous() for key, value in whole.items()}
            moments = torch.tensor([1.0, *(inner[i] for i in kept)])
            file = self._file(number)
            with replacing(file) as part:
                save_file(half | {"times": moments} | {f"cond.{key}": value for key, value in cond.items()}, part)

    def setup(self, stage: str | None = None) -> None:
        """Trajectories are read when they are asked for."""
        if self.beside is not None:
            self.beside.setup("fit")

    def train_dataloader(self) -> DataLoader:
        """Batches in a new order each epoch, each with new times; resumable."""
        found: Any = Trajectories([self._file(number) for number in range(self.batches)], self.shares, self.seed)
        if self.beside is not None:
            assert self.beside.trained is not None
            found = Mixed(found, self.beside.trained)
        return ResumableLoader(found, None, seed=self.seed, with_epoch=True)

    def val_dataloader(self) -> DataLoader:
        """Trajectories from time 1 for held-out shapes' words."""
        return DataLoader(Trajectories([self._file(number) for number in range(-HELD, 0)], (1.0,), self.seed), None)

    def _told(self, number: int) -> dict[str, Any]:
        assert self.data.trained is not None
        assert self.data.held is not None
        if number < 0:
            return self.data.held[(1, (number + HELD) % len(self.data.held))]
        return self.data.trained[divmod(number, len(self.data.trained))]

    @torch.inference_mode()
    def _followed(self, model: Pretrained, batch: Mapping[str, Any], grid: Tensor, number: int) -> list[Tensor]:
        net: Any = model.net
        cond, uncond = ({k: v.to(self.device) for k, v in batch[key].items()} for key in ("cond", "uncond"))
        denoise = model.denoise(cond=net.tell(cond))
        if self.guidance_scale != 1:
            alone = model.denoise(cond=net.tell(uncond))
            denoise = guide.cfg(denoise, alone, self.guidance_scale, interval=self.interval)
        generator = rng.generator(self.seed, number % 2**32)
        x = torch.randn(batch["x0"].shape, generator=generator).to(self.device)
        mask = batch["mask"].to(self.device) if "mask" in batch else None
        x = x if mask is None else x * mask
        states = [x]
        for now, then in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            v = (x - denoise(x, torch.tensor(now, device=x.device))) / now
            x = x + (then - now) * v
            states.append(x if mask is None else x * mask)
        return states

    def _file(self, number: int) -> Path:
        return self._folder / (f"held{number + HELD}.safetensors" if number < 0 else f"{number:06d}.safetensors")

    @cached_property
    def _folder(self) -> Path:
        digest = Pretrained.load(self.teacher).config.get("sha256")
        options = (self.guidance_scale, self.interval, self.steps, self.shift, self.at, self.seed)
        told: Any = (self.data.stage_name, self.data.plans, self.data.vae, self.data.shares, self.data.batch_size)
        told = (*told, self.data.tells_all) if self.data.tells_all else told
        return self.cache / hashlib.sha256(repr((digest, options, told)).encode()).hexdigest()[:12]


class Trajectories(Dataset):
    """Batches from files by (epoch, number), each item at a state of its own.

    Parameters
    ----------
    files
        Of `TrajectoryEnds`.
    shares
        How often each state is drawn.
    seed
        Of the draws.
    """

    def __init__(self, files: Sequence[Path], shares: Sequence[float], seed: int):
        self.files, self.seed = list(files), seed
        self.ends = np.cumsum(shares) / np.sum(shares)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: tuple[int, int] | int) -> dict[str, Any]:
        epoch, number = which if isinstance(which, tuple) else (0, which)
        if number >= len(self):
            raise IndexError(number)
        kept = load_file(self.files[number])
        x0 = kept["x0"].float()
        draws = np.random.default_rng((self.seed, epoch, number)).random(len(x0))
        drawn = torch.from_numpy(np.searchsorted(self.ends, draws, side="right").clip(max=len(self.ends) - 1))
        states = torch.stack([kept[f"state{n}"] for n in range(len(self.ends))]).float()
        cond = {key[5:]: _whole(value) for key, value in kept.items() if key.startswith("cond.")}
        batch = {"x0": x0, "eps": states[drawn, torch.arange(len(x0))], "t": kept["times"][drawn], "cond": cond}
        return batch | ({"mask": cond["mask"][:, :, None]} if "mask" in cond else {})


class Mixed(Dataset):
    """As many batches of a second data set as of the first, by (epoch, number); the second goes on over epochs."""

    def __init__(self, first: Any, second: Any):
        self.first, self.second = first, second

    def __len__(self) -> int:
        return 2 * len(self.first)

    def __getitem__(self, which: tuple[int, int] | int) -> dict[str, Any]:
        epoch, number = which if isinstance(which, tuple) else (0, which)
        if number >= len(self):
            raise IndexError(number)
        if number % 2 == 0:
            return self.first[(epoch, number // 2)]
        batch = self.second[divmod(epoch * len(self.first) + number // 2, len(self.second))]
        return {key: value for key, value in batch.items() if key != "uncond"}


def _small(value: Tensor) -> Tensor:
    """Pictures in bytes, words and cells in two each."""
    if value.is_floating_point():
        value = (value * 255).round().to(torch.uint8)
    return (value if value.dtype in (torch.bool, torch.uint8) else value.to(torch.int16)).contiguous()


def _whole(value: Tensor) -> Tensor:
    if value.dtype == torch.bool:
        return value
    return value.float() / 255 if value.dtype == torch.uint8 else value.long()


__all__ = ["Mixed", "Trajectories", "TrajectoryEnds"]
