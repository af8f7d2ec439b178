"""Samplers: distance to exact endpoints and on trained nets, parity and cost, against diffusers and k-diffusion.

The peers are every deterministic sampler of both with every grid; the best of all is taken at each number of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fewstep.benchmarks import _accuracy, _trained, sampler_cost, sampler_parity
from fewstep.benchmarks._peers import Peer, peers
from fewstep.core.bench import Part, at_once


def rows(
    *,
    quick: bool = False,
    data: Path | None = None,
    progress: Callable[[str], None] | None = None,
    part: Part = at_once,
) -> list[dict[str, Any]]:
    """Accuracy, parity, cost, and trained nets.

    Parameters
    ----------
    quick
        Fewer numbers of calls, an eighth of the samples, one mixture per dimension, one net.
    data
        Folder of the photographs that the image net was trained on; without it its draws are not compared with them.
    progress
        Told what is being done.
    part
        See `fewstep.core.bench`.

    Returns
    -------
    list of dict
        In the format of `fewstep.core.bench`.
    """
    tell = progress or (lambda message: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        known = peers()
        found = list(_accuracy.rows(known, quick=quick, progress=tell, part=part))
        found += _of_trained(known, quick, data, tell, part)
        tell("parity")
        found += part("parity", lambda: sampler_parity.rows(quick))
        tell("cost")
        return found + part("cost", lambda: sampler_cost.rows(quick))
    finally:
        torch.set_num_threads(threads)


def plots(rows: list[dict[str, Any]], out: Path) -> None:
    """Median error over calls, ours and the best peer's, one panel per problem: ``samplers.png``."""
    from matplotlib.figure import Figure

    points = [row for row in rows if row["metric"] == "median error"]
    problems = list(dict.fromkeys(row["row"].split(", ", 1)[1] for row in points))
    figure = Figure(figsize=(4 * len(problems), 4), layout="constrained")
    for panel, problem in zip(figure.subplots(1, len(problems), squeeze=False)[0], problems, strict=True):
        for kind in ("default", "calibrated"):
            line = [row for row in points if row["row"] == f"{kind}, {problem}"]
            panel.semilogy([row["nfe"] for row in line], [row["value"] for row in line], "o-", label=f"fewstep, {kind}")
        panel.semilogy([row["nfe"] for row in line], [row["peer_value"] for row in line], "s--", label="best peer")
        panel.set_title(problem)
        panel.set_xlabel("network calls")
        panel.set_ylabel("median error")
        panel.legend()
    figure.savefig(Path(out) / "samplers.png", dpi=120)


def _of_trained(
    known: dict[str, Peer], quick: bool, data: Path | None, tell: Callable[[str], None], part: Part
) -> list[dict[str, Any]]:
    nets = [_trained.photos(data, n=8)] if quick else [_trained.photos(data), _trained.drawn_shapes(progress=tell)]
    if not quick:
        nets.append(_trained.voice())
    return [row for net in nets for row in _trained.rows(net, known, quick=quick, progress=tell, part=part)]
