"""Published caches, and two plain ones, as constructors: each is one choice of scope, policy and predictor.

Figures are those of ``fewstep bench caches``, a transformer in 50 Euler steps: relative error to the full run, and in
brackets that of the uncached net with as many steps as take the same CPU time. The tuned cache has .0055 (.0141) at 2.2
times the speed; `fewstep.core.caches.tune` is what to use by default.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fewstep.core.caches.cache import Cache
from fewstep.core.caches.gate import Gate, Stability
from fewstep.core.caches.policy import Every, Policy, Schedule, Window
from fewstep.core.caches.predictor import Newton, Reuse, Taylor
from fewstep.core.caches.scope import Split, outputs, span, unet_branch, whole
from fewstep.core.caches.unets import branch, encoder
from fewstep.core.errors import UsageError
from fewstep.core.types import Callback, StepInfo


def every(interval: int, *, scope: Any, warmup: int = 0) -> Cache:
    """Compute each `interval`-th row and reuse in between.

    Parameters
    ----------
    interval
        1 is always.
    scope
        A scope, or a list of blocks by name.
    warmup
        Rows computed first.

    Returns
    -------
    Cache
    """
    return Cache(scope, Every(interval, warmup))


def taylor(*, order: int = 1, every: int = 4, scope: Any, warmup: int = 0) -> Cache:
    """Compute each `every`-th row and extrapolate by divided differences, exact for polynomials of degree `order`.

    Parameters
    ----------
    order
        More is not always better: on nets that change abruptly between rows, order 1.
    every
        Interval of computed rows.
    scope
        A scope, or a list of blocks by name.
    warmup
        Rows computed first.

    Returns
    -------
    Cache
    """
    return Cache(scope, Every(every, warmup), Newton(order))


def taylorseer(pattern: str, *, order: int = 1, every: int = 4, warmup: int = 2) -> Cache:
    """TaylorSeer: outputs of attention and feed-forward modules, by the paper's recursion.

    On our benchmark it does no better than fewer steps, .0100 (.0099) for attention and feed-forward layers every third
    row: what is cached is only part of the time, and many times the memory of a span.

    Parameters
    ----------
    pattern
        Of the modules, before any gate that depends on time.
    order, every
        The paper's settings are 3 and 3, or 4 and 4, on DiT-XL with 50 steps.
    warmup
        Rows computed first.

    Returns
    -------
    Cache

    References
    ----------
    Liu et al. 2025, arXiv:2503.06923.
    """
    return Cache(outputs(pattern), Every(every, warmup), Taylor(order))


def first_block(blocks: str, threshold: float = 0.05, *, reduce: Any = "max", max_skip: int | None = None) -> Cache:
    """First-block cache: run block 0, and reuse what the others added while its own residual stays as it was.

    On our benchmark it loses to fewer steps: .0256 (.0128) at a threshold of 0.1.

    Parameters
    ----------
    blocks
        The list of blocks.
    threshold
        Relative change of the first residual since it was last stored.
    reduce
        See `Gate`; ``"mean"`` is the published rule, where neighbours in a batch decide for each other.
    max_skip
        Predicted rows in succession.

    Returns
    -------
    Cache

    References
    ----------
    ParaAttention's first-block cache, after TeaCache (Liu et al. 2024, arXiv:2411.19108).
    """
    return Cache(span(blocks, 1), Gate(threshold, reduce=reduce, max_skip=max_skip))


def cg_taylor(
    blocks: str, threshold: float = 0.13, *, first_order: int = 1, order: int = 1, warmup: int = 5, reduce: Any = "max"
) -> Cache:
    """Confidence-gated Taylor: trust the forecast of the last block while that of the first proves right.

    On our benchmark it loses to fewer steps: .0281 (.0168) at a threshold of 0.05.

    Parameters
    ----------
    blocks
        The list of blocks.
    threshold
        Relative error of the first block's forecast.
    first_order, order
        Of the forecasts of the first and of the last block.
    warmup
        Rows computed first.
    reduce
        ``"max"`` or ``"mean"``, see `Gate`.

    Returns
    -------
    Cache

    References
    ----------
    arXiv:2508.02240.
    """
    gate = Gate(
        threshold,
        what="output",
        forecast=Newton(first_order),
        relative_to="actual",
        reduce=reduce,
        warmup=warmup,
    )
    return Cache(span(blocks, 1, what="output"), gate, Newton(order))


def delta_dit(blocks: str, *, cached: int, every: int, switch: int) -> tuple[Cache, Cache]:
    """Δ-DiT: residual of the rear blocks while outlines form, of the front blocks while details do.

    On our benchmark it loses to fewer steps: .0178 (.0108) for 7 of 10 blocks every third row.

    Parameters
    ----------
    blocks
        The list of blocks.
    cached
        N_c, how many blocks a span has.
    every
        Interval of computed rows.
    switch
        First row of the second stage, which computes afresh.

    Returns
    -------
    tuple of Cache
        For one `attach`.

    Raises
    ------
    UsageError
        If no block is cached.

    References
    ----------
    Chen et al. 2024, arXiv:2406.01125.
    """
    if cached < 1:
        raise UsageError(f"expected at least one cached block, got {cached}")
    rear = Cache(span(blocks, -cached), Window(Every(every), 0, switch))
    front = Cache(span(blocks, 0, cached), Window(Every(every), switch))
    return rear, front


def deepcache(level: int | Split = 0, *, every: int = 5, schedule: Schedule | None = None) -> Cache:
    """DeepCache: reuse what comes from below one level of a U-Net.

    On our benchmark, 50 steps of DDIM, it beats fewer steps on a small U-Net, .0101 (.1242) for branch 2 every fifth
    row, and loses on the image net that ships, .0451 (.0289).

    Parameters
    ----------
    level
        See `fewstep.core.caches.branch`; a deeper one with a longer interval often serves better than the published
        0. A U-Net of another kind is given in two halves.
    every
        Interval of computed rows.
    schedule
        Instead of `every`: see `centred`, or a tuned one.

    Returns
    -------
    Cache

    References
    ----------
    Ma et al. 2024, arXiv:2312.00858.
    """
    policy: Policy = Every(every) if schedule is None else schedule
    return Cache(unet_branch(level) if isinstance(level, Split) else branch(level), policy, Reuse())


def faster_diffusion(rows: int = 50, *, keys: Sequence[int] = (0, 1, 2, 3, 5, 10, 15, 25, 35)) -> Cache:
    """Faster Diffusion: run the encoder of a U-Net at key rows only, the decoder always.

    See `fewstep.core.caches.Ahead` for its batched decoder, and `prior_noise` for what it adds to the state. On our
    benchmark it loses to fewer steps by far, .3742 (.1011): the decoder is most of the work, and no longer sees the
    state.

    Parameters
    ----------
    rows
        Of the run.
    keys
        Rows of the encoder; the default is the published list for 50.

    Returns
    -------
    Cache

    References
    ----------
    Li et al. 2024, arXiv:2312.09608.
    """
    return Cache(encoder(), Schedule(rows, tuple(keys)), Reuse())


def centred(rows: int, count: int, *, center: float, power: float = 1.4) -> Schedule:
    """DeepCache's non-uniform rows: dense around a centre, their distance growing as a power.

    Rows are center + sign(x) |x|^power for evenly spaced x, rounded down; the published lists take the real part of a
    complex power before the centre and differ from these there.

    Parameters
    ----------
    rows
        Of the run.
    count
        Rows that are computed, at most; those that fall together count once.
    center
        Row around which they gather, in (0, rows).
    power
        1 is uniform.

    Returns
    -------
    Schedule

    Raises
    ------
    UsageError
        If a number is out of range.

    References
    ----------
    Ma et al. 2024, arXiv:2312.00858, section 3.3.
    """
    if not (1 <= count <= rows and 0 < center < rows and power > 0):
        raise UsageError(f"expected 1 <= count <= {rows}, 0 < center < {rows}, power > 0: {count}, {center}, {power}")
    low, high = -(center ** (1 / power)), (rows - center) ** (1 / power)
    even = [low + (high - low) * i / count for i in range(count)]
    found = {int(center + (1 if x > 0 else -1) * abs(x) ** power + 1e-9) for x in even}
    return Schedule(rows, tuple(sorted({0} | {row for row in found if 0 <= row < rows})))


def prior_noise(start: Tensor, *, alpha: float = 0.003, below: float = 0.5) -> Callback:
    """Faster Diffusion's injection of the first state, for ``sample(callback=...)``: x + alpha x_T where t < below.

    Parameters
    ----------
    start
        The state that the run began with, [batch, ...].
    alpha
        How much of it is added before each step.
    below
        Times at which it is added.

    Returns
    -------
    callable

    References
    ----------
    Li et al. 2024, arXiv:2312.09608, section 3.4.
    """

    def add(info: StepInfo) -> Tensor | None:
        return torch.add(info.x, start, alpha=alpha) if 0 < info.t < below else None

    return add


def sada(*, warmup: int = 10, max_skip: int = 3) -> Cache:
    """SADA's step-wise part on flows: leave a row out while the velocity bends little, and continue it linearly.

    On our benchmark it loses to fewer steps: .0384 (.0159).

    Parameters
    ----------
    warmup
        Rows computed first.
    max_skip
        Rows left out in succession.

    Returns
    -------
    Cache

    References
    ----------
    Jiang et al. 2025, arXiv:2507.17135.
    """
    return Cache(whole(), Stability(warmup, max_skip), Newton(1))
