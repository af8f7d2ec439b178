"""A problem in the plane that trains in seconds: eight Gaussians on a circle, a small net and a distance."""

import math

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fewstep.core.errors import UsageError
from fewstep.core.lit.loader import ResumableLoader


class RingData(pl.LightningDataModule):
    """Points of equally likely Gaussians whose centres lie on a circle.

    Parameters
    ----------
    n
        Points for training; validation, test and prediction have an eighth of it each.
    batch_size
        Points per batch.
    components, radius, std
        Number of Gaussians, radius of the circle and their standard deviation.
    seed
        Of the points and of their order.

    Raises
    ------
    UsageError
        If there are fewer than eight points, or a size is not positive.
    """

    def __init__(
        self,
        *,
        n: int = 4096,
        batch_size: int = 256,
        components: int = 8,
        radius: float = 1.0,
        std: float = 0.08,
        seed: int = 0,
    ):
        super().__init__()
        if n < 8 or min(batch_size, components, radius, std) <= 0:
            raise UsageError(
                f"expected n >= 8 and positive sizes, got {n=}, {batch_size=}, {components=}, {radius=}, {std=}"
            )
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.components, self.radius, self.std = components, radius, std

    def train_dataloader(self) -> DataLoader:
        """Shuffled, resumable."""
        return ResumableLoader(_Points(self.points(self.n, self.seed)), self.batch_size, seed=self.seed)

    def val_dataloader(self) -> DataLoader:
        """Other points, in order."""
        return DataLoader(_Points(self.points(self.n // 8, self.seed + 1)), batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader:
        """Other points, in order."""
        return DataLoader(_Points(self.points(self.n // 8, self.seed + 2)), batch_size=self.batch_size)

    def predict_dataloader(self) -> DataLoader:
        """Seeds, one for each point to draw."""
        return DataLoader(_Seeds(self.n // 8), batch_size=self.batch_size)

    def points(self, n: int, seed: int) -> Tensor:
        """Draw from the mixture.

        Parameters
        ----------
        n
            Number of points.
        seed
            Of the draw.

        Returns
        -------
        Tensor
            Float32, [n, 2].
        """
        generator = torch.Generator().manual_seed(seed)
        angle = torch.randint(self.components, (n,), generator=generator) * (2 * math.pi / self.components)
        centre = self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        return centre + self.std * torch.randn(n, 2, generator=generator)


class _Points(Dataset):
    def __init__(self, points: Tensor):
        self._points = TensorDataset(points)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x0": self._points[index][0]}


class _Seeds(Dataset):
    def __init__(self, n: int):
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"seed": torch.tensor(index), "shape": torch.tensor([2])}


class PlaneNet(nn.Module):
    """A perceptron of (x, t) for points in the plane.

    Parameters
    ----------
    width
        Of the two hidden layers.
    """

    def __init__(self, *, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map points [batch, 2] and times [batch] (or one time) to [batch, 2]."""
        phase = t.to(x.dtype).expand(len(x))[:, None] * torch.tensor(
            [1.0, 2.0, 4.0, 8.0], dtype=x.dtype, device=x.device
        )
        return self.layers(torch.cat([x, phase.sin(), phase.cos()], dim=1))


def energy_distance(samples: Tensor, x0: Tensor) -> Tensor:
    """How far two sets of points are apart: 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013, eq. 1.1).

    Parameters
    ----------
    samples, x0
        Real, [n, d] and [m, d].

    Returns
    -------
    Tensor
        Scalar, 0 for equal laws.
    """
    between = torch.cdist(samples, x0).mean()
    return 2 * between - _within(samples) - _within(x0)


def _within(points: Tensor) -> Tensor:
    n = len(points)
    return torch.cdist(points, points).sum() / (n * (n - 1))
