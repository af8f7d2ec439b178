"""Trained nets: distance to the same net's fine-solver endpoint, and to the data's law, for us and for the peers.

The fine solver is none of the candidates: UniPC-2 in 200 steps, even in log-SNR between the peers' smallest and largest
noise. On the voice DDIM in 800 steps ends within 0.001 of it.

The law is compared by the sliced Wasserstein distance (Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3) of as many
samples to data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.benchmarks import _shapes
from fewstep.benchmarks._accuracy import best, error, row, swept
from fewstep.benchmarks._gmm import PATH
from fewstep.benchmarks._peers import Peer, Task
from fewstep.core import parameterize, paths, solvers, times
from fewstep.core.bench import Part, at_once
from fewstep.core.lit.crops import crop, read_pictures
from fewstep.core.pretrained import Pretrained
from fewstep.core.sample import sample
from fewstep.core.solvers import Tableau
from fewstep.core.solvers.tune import grid, statistics, weights
from fewstep.core.types import Denoise

NFES = (4, 5, 6, 8, 10)
PHOTOS, PHOTOS_STATISTICS = "photos32", (0.4177, 10.58)
"""Standard deviation and spread of the crops that the net learned, from its card."""

_LIKELY = ("DDIM", "DEIS 2", "DEIS 3", "midpoint", "UniPC 2 bh2", "UniPC 3 bh2", "dpmpp_2m,", "3m_sde")
_DIRECTIONS = 256


@dataclass(frozen=True)
class Net:
    """A trained net ready to be sampled.

    Parameters
    ----------
    name, denoise, path
        What it is.
    x, others
        Starts to be judged on, and others to calibrate on, [n, ...].
    data
        Signals of the law that the net learned, [m, ...]; None: there are none at hand.
    base
        The default solver for the statistics of such signals.
    """

    name: str
    denoise: Denoise
    path: paths.AffinePath
    x: Tensor
    others: Tensor
    data: Tensor | None
    base: solvers.Default


def rows(
    net: Net, peers: dict[str, Peer], *, quick: bool, progress: Callable[[str], None], part: Part = at_once
) -> Iterator[dict[str, Any]]:
    """The default against the best of the likely peers, and calibrated below both."""

    @cache
    def wanted() -> Tensor:
        progress(f"the fine solver on {net.name}")
        return fine(net, net.x)

    @cache
    def others() -> Tensor:
        return fine(net, net.others)

    yield from part(f"{net.name}, fine solver", lambda: _law(net, wanted(), "fine solver", 200, None))
    likely = {name: peer for name, peer in peers.items() if any(some in name for some in _LIKELY)}
    for nfe in (5,) if quick else NFES:
        progress(f"{net.name}, {nfe} calls")
        yield from part(f"{net.name}, {nfe} calls", lambda nfe=nfe: _compared(net, likely, nfe, wanted(), others()))


def fine(net: Net, x: Tensor) -> Tensor:
    """Where the net's ODE leads from x."""
    table = solvers.unipc(2).tableau(net.path, times.uniform_logsnr(net.path, 200))
    return sample(net.denoise, net.path, solver=table, x=x).x


def _compared(net: Net, peers: dict[str, Peer], nfe: int, wanted: Tensor, others: Tensor) -> Iterator[dict[str, Any]]:
    mine = {
        "default": sample(net.denoise, net.path, solver=net.base.tableau(net.path, nfe), x=net.x).x,
        "calibrated": sample(net.denoise, net.path, solver=_calibrated(net, nfe, others), x=net.x).x,
    }
    task = Task(net.denoise, net.path, net.x)
    name, least = best(swept(task, wanted, nfe, peers), lambda e: e.median)
    theirs = task.run(peers[name], nfe)
    for kind, end in mine.items():
        value = error(end, wanted).median
        bound = least if kind == "default" else min(least, error(mine["default"], wanted).median)
        target = (bound, value <= bound)
        yield row(f"{kind}, {net.name}", "median error", (value, least), name, target, nfe, "float32")
        yield from _law(net, end, kind, nfe, (name, theirs))


def sliced(a: Tensor, b: Tensor) -> float:
    """Root of the mean over directions of the squared distance between sorted projections."""
    d = a[0].numel()
    directions = torch.randn(d, _DIRECTIONS, generator=torch.Generator().manual_seed(0))
    directions /= directions.norm(dim=0)
    levels = (torch.arange(len(a)) + 0.5) / len(a)
    one, other = ((part.float().flatten(1) @ directions).quantile(levels, 0) for part in (a, b))
    return float((one - other).square().mean().sqrt())


def photos(pictures: Path | None, *, n: int = 32) -> Net:
    """The image net that ships; `pictures` is the folder of photographs that it was trained on, if they are at hand."""
    made = Pretrained.load(PHOTOS)
    inner = made.net.inner
    generator = torch.Generator().manual_seed(1)
    data = None
    if pictures is not None:
        found = read_pictures(pictures, shrink=(4, 8), least=32)
        data = torch.stack([crop(found, 32, generator) for _ in range(2000)])
    denoise = parameterize.edm(inner, PATH, made.net.sigma_data)
    x, others = (torch.randn(m, 3, 32, 32, generator=generator) for m in (n, min(n, 24)))
    return Net(PHOTOS, denoise, PATH, x, others, data, solvers.default_of(*PHOTOS_STATISTICS))


def drawn_shapes(*, n: int = 48, iterations: int = 1500, progress: Callable[[str], None] = print) -> Net:
    """The small transformer of the caches' benchmark, trained here; the default's rule has not seen it."""
    net, flow, label = _shapes.trained(iterations, progress=progress), paths.rectified_flow(), 3
    generator = torch.Generator().manual_seed(1)
    found, labels = _shapes.shapes(4000, generator)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        (a, _, _), told = PATH.coefficients(t), flow.inverse(PATH.lam(t))
        there = x * (flow.coefficients(told)[0] / a).to(x.dtype)
        told = told.to(x.dtype).expand(len(x))
        return there - told.view(-1, 1, 1, 1) * net(there, told, torch.full((len(x),), label))

    x, others = (torch.randn(m, 1, _shapes.SIZE, _shapes.SIZE, generator=generator) for m in (n, 24))
    data = found[labels == label]
    return Net("shapes (unseen)", denoise, PATH, x, others, data, solvers.default_for(data))


def _calibrated(net: Net, nfe: int, wanted: Tensor) -> Tableau:
    """The table that is best on other starts: fitted from the default, from its statistics, or from UniPC."""
    even = solvers.multistep(2, corrector=True).tableau(net.path, times.uniform_logsnr(net.path, nfe))
    ways: tuple[tuple[Tableau | None, list], ...] = (
        (None, [grid(orders=[2], runs=12), statistics(points=40), weights()]),
        (even, [weights()]),
    )
    found = [
        solvers.tune(
            net.denoise,
            net.path,
            steps=nfe,
            x=net.others,
            start=net.base,
            first=first,
            method=method,
            wanted=wanted,
            budget=1000,
        )
        for first, method in ways
    ]
    return min(found, key=lambda tuned: tuned.after).table


def _law(net: Net, end: Tensor, kind: str, nfe: int, peer: tuple[str, Tensor] | None) -> Iterator[dict[str, Any]]:
    if net.data is None:
        return
    name, theirs = peer or ("", None)
    values = (sliced(end, net.data), None if theirs is None else sliced(theirs, net.data))
    yield row(f"{kind}, {net.name}", "sliced Wasserstein to data", values, name, (None, None), nfe, "float32")


def voice(*, n: int = 16) -> Net:
    """The voice that ships, saying one phrase, on the peers' table of noise levels.

    The phrase settles much of what is said, so the default's statistics are those of its own draws of this phrase.
    """
    from fewstep.audio.api import TextToSpeech
    from fewstep.audio.text.frontend import phonemize
    from fewstep.audio.text.symbols import INDEX
    from fewstep.benchmarks.tts import TEACHER, phrase_list

    made = TextToSpeech.load(TEACHER)
    text = min(phrase_list(), key=len)
    cond = made.net.condition(torch.tensor([[INDEX[token] for token in phonemize(text).tokens]]))
    projected, mask = made.net.prepare(cond)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        told = made.path.inverse(PATH.lam(t)).clamp(max=1).to(x.dtype)
        many = tuple(part.expand(len(x), -1, -1) for part in projected)
        return made.net(x, told.expand(len(x)), (many, mask.expand(len(x), -1, -1)))

    generator = torch.Generator().manual_seed(1)
    x, others, more = torch.randn(3, n, made.net.mel.n_mels, cond.frames.shape[-1], generator=generator)
    own = sample(denoise, PATH, times=times.uniform_logsnr(PATH, 6), solver=solvers.unipc(2), x=more).x
    return Net(TEACHER, denoise, PATH, x, others, None, solvers.default_for(own))
