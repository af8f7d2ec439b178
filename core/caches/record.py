"""Every feature of a few full runs, site by site and row by row: what calibrated caches are made from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.core.caches.attach import attach
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.memory import Parts
from fewstep.core.caches.policy import Every
from fewstep.core.errors import UsageError

Features = dict[int, Parts]
"""Row -> feature."""

_MOST = 2e10
"""Operations that `Recording.lines` may take: some ten seconds."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Features of one scope.

    Parameters
    ----------
    end
        What the run drew, [batch, ...].
    rows
        Evaluations of the run.
    sites
        Names of the sites, in the order in which they run.
    seconds
        Share of the net's time that the sites took together; None where it was not measured.
    tracks
        (site, guidance branch, visit) -> features; the branch tells runs and stages apart too.
    times
        Coordinate of each row, [rows].
    """

    end: Tensor
    rows: int
    sites: tuple[str, ...]
    seconds: float | None
    tracks: dict[tuple[int, Any, int], Features]
    times: tuple[float, ...]

    def of(self, site: int) -> Iterator[Features]:
        """The tracks of one site."""
        return (track for (number, _, _), track in self.tracks.items() if number == site)

    def matrix(self, site: int | None = None, *, cosine: bool = False) -> np.ndarray:
        """How far row a's feature is from row t's, mean over tracks.

        Parameters
        ----------
        site
            Number of a site; None: of all.
        cosine
            1 − cosine similarity, instead of the l1 distance relative to row t's size.

        Returns
        -------
        numpy.ndarray
            E[a, t], [rows, rows], 0 on and below the diagonal.
        """
        tracks = list(self.tracks.values() if site is None else self.of(site))
        return np.mean([_distances(track, self.rows, cosine) for track in tracks], axis=0)

    def lines(self) -> np.ndarray | None:
        """How far a line through rows a and b is from row t's feature, relative l1 distance, mean over tracks.

        Returns
        -------
        numpy.ndarray or None
            E[a, b, t], [rows, rows, rows], read where a < b < t; None where that would take too long.
        """
        size = sum(part.numel() for track in self.tracks.values() for part in track.get(0, ()))
        if self.rows**3 / 6 * size > _MOST:
            return None
        return np.mean([_line_distances(track, self.times) for track in self.tracks.values()], axis=0)


def record(net: nn.Module, run: Callable[[], Tensor], *, scope: Any, times: Any = None) -> Recording:
    """Run once and keep all features; memory is that of the features times the rows.

    Parameters
    ----------
    net
        What `run` calls.
    run
        Draws a few samples through `sample`, and returns them, [batch, ...].
    scope
        As for `Cache`.
    times
        As for `attach`.

    Returns
    -------
    Recording

    Raises
    ------
    UsageError
        If the run has fewer than two rows.
    """
    features: dict[tuple[int, Any, int], Features] = {}

    def listen(key: Any, row: int, value: Parts) -> None:
        (_, branch, stage), (number, visit) = key
        features.setdefault((number, (attached.runs, branch, stage), visit), {})[row] = value

    with attach(net, Cache(scope, Every(1)), times=times) as attached:
        attached.listen = listen
        end = run()
    rows = 1 + max((row for track in features.values() for row in track), default=0)
    if rows < 2:
        raise UsageError("expected runs of two rows or more, through sample() and with gradients off")
    at = range(rows) if times is None else torch.as_tensor(times, dtype=torch.float64).tolist()[:rows]
    names = tuple(site.name for site in attached.sites[0])
    return Recording(end, rows, names, attached.report.share, features, tuple(map(float, at)))


def _distances(track: Features, rows: int, cosine: bool) -> np.ndarray:
    errors = np.zeros((rows, rows))
    flat = {row: torch.cat([part.flatten() for part in value]) for row, value in track.items()}
    for t, value in flat.items():
        size = float(value.abs().sum())
        for a, other in flat.items():
            if a < t and size > 0:
                if cosine:
                    errors[a, t] = 1 - float(torch.nn.functional.cosine_similarity(value, other, dim=0))
                else:
                    errors[a, t] = float((value - other).abs().sum()) / size
    return errors


def _line_distances(track: Features, times: tuple[float, ...]) -> np.ndarray:
    rows = len(times)
    errors = np.zeros((rows, rows, rows))
    if len(track) < rows:
        return errors
    flat = torch.stack([torch.cat([part.flatten() for part in track[row]]) for row in range(rows)])
    sizes, at = flat.abs().sum(1).clamp(min=torch.finfo(flat.dtype).tiny), torch.tensor(times).to(flat)
    for a in range(rows):
        for b in range(a + 1, rows - 1):
            reach = ((at[b + 1 :] - at[b]) / (at[b] - at[a]))[:, None]
            wrong = (flat[b + 1 :] - flat[b] - reach * (flat[b] - flat[a])).abs().sum(1)
            errors[a, b, b + 1 :] = (wrong / sizes[b + 1 :]).double().cpu().numpy()
    return errors
