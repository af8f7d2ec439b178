"""Training of a cache's router along the sampler's own trajectories (HarmoniCa: Huang et al. 2024, arXiv:2410.01723).

    loss_t = lambda_t |D_full(x_t) − D_routed(x_t)|²/|D_full|² + beta sum_k w_tk,     x_{t−1} from the routed answer

The net is frozen and no data are needed: a trajectory starts at noise, and the router learns at each of its rows.
lambda_t, the part of a row in the end point's error, is measured by `fewstep.core.caches.profile` now and then.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewstep.core import caches, nfe, rng, solvers
from fewstep.core.caches.router import Router, mixed
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample


class RouterModule(pl.LightningModule):
    """A router of one model.

    A batch has ``x`` (states at the first time, [batch, ...]) and, where the model is told something, ``cond``.

    Parameters
    ----------
    model
        A model that ships, a folder or a hub id.
    pattern
        Of the modules that are routed, see `fewstep.core.caches.outputs`.
    steps
        Of the runs that are to be cached, with DDIM on the model's grid.
    beta
        Price of computing one module at one row, in relative squared error of an answer.
    threshold
        A module computes where its weight is above this.
    lr
        Of AdamW.
    measure_every
        Trajectories between two measurements of lambda, which take `steps` runs; 0: never, all are 1.

    Raises
    ------
    UsageError
        If a parameter is out of range, or the pattern names nothing.
    """

    def __init__(
        self,
        *,
        model: str,
        pattern: str,
        steps: int = 20,
        beta: float = 1e-4,
        threshold: float = 0.1,
        lr: float = 0.01,
        measure_every: int = 200,
    ):
        super().__init__()
        if beta < 0 or steps < 2 or measure_every < 0:
            raise UsageError(f"expected beta >= 0, steps >= 2, measure_every >= 0: {beta=}, {steps=}, {measure_every=}")
        self.automatic_optimization = False
        made = Pretrained.load(model)
        object.__setattr__(self, "made", made)  # frozen, and no part of the checkpoint
        self.router = Router(made.net, pattern, steps, threshold=threshold)
        self.pattern, self.steps, self.beta, self.lr, self.measure_every = pattern, steps, beta, lr, measure_every
        self.register_buffer("importance", torch.ones(steps))
        self.grid = made.grid(steps)

    def on_fit_start(self) -> None:
        """Bring the net where the router is."""
        self.made.net.to(self.device)

    def training_step(self, batch: Mapping[str, Any], index: int) -> None:
        """One trajectory, with a step of the optimiser at each row."""
        if self.measure_every and index % self.measure_every == 0:
            self._measure(batch)
        optimizer, weights = self.optimizers(), []
        with mixed(self.made.net, self.router) as mixing:
            denoise = self.made.denoise(cond=batch.get("cond"), grid=self.grid)

            def learning(x: Tensor, t: Tensor) -> Tensor:
                counter = nfe.current()
                assert counter is not None, "sample counts"
                mixing.row, mixing.on = counter.rows - 1, False
                with torch.no_grad():
                    full = denoise(x, t)
                mixing.on = True
                routed = denoise(x, t)
                if mixing.row:
                    wrong = (full - routed).square().mean() / full.square().mean().clamp(min=1e-12)
                    price = self.beta * self.router.weights[mixing.row].sum()
                    loss = self.importance[mixing.row] * wrong + price
                    optimizer.zero_grad()
                    self.manual_backward(loss)
                    optimizer.step()
                    weights.append(loss.detach())
                return routed.detach()

            sample(learning, self.made.path, times=self.grid, solver=solvers.ddim(), x=batch["x"], grad=True)
        self.log("train/loss", torch.stack(weights).mean(), prog_bar=True)
        self.log("train/computed", (self.router.weights > self.router.threshold).float().mean(), prog_bar=True)

    def validation_step(self, batch: Mapping[str, Any], index: int) -> None:
        """Relative error of the end point with the router's caches attached."""
        full, routed = self._run(batch), None
        with caches.attach(self.made.net, self.router.caches(), times=self.grid):
            routed = self._run(batch)
        self.log("val/error", (routed - full).norm() / full.norm(), batch_size=len(batch["x"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW without decay."""
        return torch.optim.AdamW(self.router.parameters(), lr=self.lr, weight_decay=0.0)

    def export(self, folder: str | Path) -> None:
        """Write ``router.cache.json`` for the net that was routed.

        Parameters
        ----------
        folder
            Is made if need be.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        caches.save(self.router.caches(), folder / "router.cache.json", net=self.made.net, times=self.grid)

    def _run(self, batch: Mapping[str, Any]) -> Tensor:
        denoise = self.made.denoise(cond=batch.get("cond"), grid=self.grid)
        with torch.no_grad():
            return sample(denoise, self.made.path, times=self.grid, solver=solvers.ddim(), x=batch["x"]).x.clone()

    def _measure(self, batch: Mapping[str, Any]) -> None:
        with torch.no_grad():
            found = caches.profile(
                self.made.net, lambda: self._run(batch), scope=caches.outputs(self.pattern), times=self.grid
            )
        sensitivity = torch.as_tensor(found.sensitivity, dtype=torch.float32)
        self.importance.copy_(sensitivity / sensitivity[1:].mean().clamp(min=1e-12))


class NoiseData(pl.LightningDataModule):
    """States at the first time of a path: standard normal noise, the same for the same seed.

    Parameters
    ----------
    shape
        Of one item.
    n, batch_size
        Trajectories per epoch, and per batch.
    seed
        Of the noise; validation has noise of its own.

    Raises
    ------
    UsageError
        If a number is below 1.
    """

    def __init__(self, *, shape: Sequence[int], n: int = 256, batch_size: int = 4, seed: int = 0):
        super().__init__()
        if n < 1 or batch_size < 1:
            raise UsageError(f"expected n >= 1 and batch_size >= 1, got {n} and {batch_size}")
        self.shape, self.n, self.batch_size, self.seed = tuple(shape), n, batch_size, seed

    def train_dataloader(self) -> DataLoader:
        """In order."""
        return DataLoader(_Noise(self.shape, self.n, self.seed), batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader:
        """One batch."""
        return DataLoader(_Noise(self.shape, self.batch_size, self.seed + 1), batch_size=self.batch_size)


class _Noise(Dataset):
    def __init__(self, shape: tuple[int, ...], n: int, seed: int):
        self._shape, self._n, self._seed = shape, n, seed

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.randn(self._shape, generator=rng.generator(self._seed, index))}
