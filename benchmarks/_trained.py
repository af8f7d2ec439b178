"""Trained nets: distance to the same net's fine-solver endpoint, and to the data's law, for us and for the peers.

The law is compared by the sliced Wasserstein distance (Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3) of as many
samples to data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewstep.benchmarks import _image32
from fewstep.benchmarks._accuracy import best, error, ours, row, swept
from fewstep.benchmarks._peers import Peer, Task
from fewstep.core import parameterize, paths, solvers, times
from fewstep.core.sample import sample
from fewstep.core.solvers.tune import weights
from fewstep.core.types import Denoise

NFES = (4, 5, 6, 8, 10)
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
        Crops of the training photographs, [m, ...].
    base
        The default solver with lengths measured on `data`.
    """

    name: str
    denoise: Denoise
    path: paths.AffinePath
    x: Tensor
    others: Tensor
    data: Tensor
    base: solvers.Default


def rows(net: Net, peers: dict[str, Peer], *, quick: bool, progress: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The default against the best of the likely peers, and calibrated below both."""
    progress(f"the fine solver on {net.name}")
    wanted = sample(net.denoise, net.path, solver=net.base.tableau(net.path, 200), x=net.x).x
    task = Task(net.denoise, net.path, net.x)
    likely = {name: peer for name, peer in peers.items() if any(part in name for part in _LIKELY)}
    yield _law(net, wanted, "fine solver", 200, None)
    for nfe in (5, 10) if quick else NFES:
        progress(f"{net.name}, {nfe} calls")
        mine = ours(net.denoise, net.path, net.x, net.others, net.base, nfe, runs=12)
        mine["calibrated UniPC"] = _calibrated_unipc(net, nfe)
        errors = swept(task, wanted, nfe, likely)
        name, least = best(errors, lambda e: e.median)
        peer_law = sliced(task.run(likely[name], nfe), net.data)
        for kind, end in mine.items():
            value = error(end, wanted).median
            yield row(
                f"{kind}, {net.name}", "median error", (value, least), name, (least, value <= least), nfe, "float32"
            )
            yield _law(net, end, kind, nfe, (name, peer_law))


def sliced(a: Tensor, b: Tensor) -> float:
    """Root of the mean over directions of the squared distance between sorted projections."""
    d = a[0].numel()
    directions = torch.randn(d, _DIRECTIONS, generator=torch.Generator().manual_seed(0))
    directions /= directions.norm(dim=0)
    levels = (torch.arange(len(a)) + 0.5) / len(a)
    one, other = ((part.float().flatten(1) @ directions).quantile(levels, 0) for part in (a, b))
    return float((one - other).square().mean().sqrt())


def image32(file: Path, photographs: Path, *, n: int = 64) -> Net:
    """The image net of `_image32` at `file`; its lengths are measured on crops of `photographs`."""
    path = paths.vp_table(_image32.ALPHAS_CUMPROD)
    generator = torch.Generator().manual_seed(1)
    data = _image32.crops(_image32.photographs(photographs), 2000, generator)
    return Net(
        "image32",
        parameterize.eps(_image32.load(file), path, net_time=times.timesteps(path)),
        path,
        torch.randn(n, 3, _image32.SIZE, _image32.SIZE, generator=generator),
        torch.randn(24, 3, _image32.SIZE, _image32.SIZE, generator=generator),
        data,
        solvers.default_for(data),
    )


def _calibrated_unipc(net: Net, nfe: int) -> Tensor:
    """Our ends with the weights of a second-order UniPC on equal steps in time fitted to the net."""
    first = solvers.multistep(2, corrector=True).tableau(net.path, times.uniform(net.path, nfe))
    found = solvers.tune(net.denoise, net.path, steps=nfe, x=net.others, start=net.base, first=first, method=weights())
    return sample(net.denoise, net.path, solver=found.table, x=net.x).x


def _law(net: Net, end: Tensor, kind: str, nfe: int, peer: tuple[str, float] | None) -> dict[str, Any]:
    name, value = peer or ("", None)
    values = (sliced(end, net.data), value)
    return row(f"{kind}, {net.name}", "sliced Wasserstein to data", values, name, (None, None), nfe, "float32")


def voice(*, n: int = 12) -> Net:
    """The voice that ships, saying one phrase, on the peers' table of noise levels.

    The law is that of its own four-step speech: pieces of other phrases, as long as the phrase.
    """
    from fewstep.audio.api import TextToSpeech
    from fewstep.audio.models.generate import generate
    from fewstep.audio.text.frontend import phonemize
    from fewstep.audio.text.symbols import INDEX
    from fewstep.benchmarks.tts import TEACHER, phrase_list

    made = TextToSpeech.load(TEACHER)
    path = paths.vp_table(_image32.ALPHAS_CUMPROD)
    phrases = sorted(phrase_list(), key=len)
    conds = [
        made.net.condition(torch.tensor([[INDEX[token] for token in phonemize(text).tokens]])) for text in phrases[:24]
    ]
    conds.sort(key=lambda cond: cond.frames.shape[-1])
    frames = conds[0].frames.shape[-1]
    spoken = torch.cat(
        [generate(made.net, made.path, cond, steps=4, seed=i)[0][..., :frames] for i, cond in enumerate(conds[1:])]
    )
    projected, mask = made.net.prepare(conds[0])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        told = made.path.inverse(path.lam(t)).clamp(max=1).to(x.dtype)
        many = tuple(part.expand(len(x), -1, -1) for part in projected)
        return made.net(x, told.expand(len(x)), (many, mask.expand(len(x), -1, -1)))

    generator = torch.Generator().manual_seed(1)
    x, others = torch.randn(2, n, *spoken.shape[1:], generator=generator)
    return Net("kathleen-prodiff-teacher", denoise, path, x, others, spoken, solvers.default_for(spoken))
