"""Run caches inside a net: `forward` of the modules concerned is replaced on the instance, and put back at the end.

A run begins where `sample` opens its counter and a row where the solver asks the denoiser; the calls of the net in one
row are the branches of guidance, in their order. Outside a run, and wherever gradients are on, the net is as it was.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.core import nfe
from fewstep.core.caches.cache import Cache
from fewstep.core.caches.gate import Gate
from fewstep.core.caches.install import is_wrapped, probed, replace
from fewstep.core.caches.memory import Live, Memory, Parts, Track
from fewstep.core.caches.passage import first, probe, through
from fewstep.core.caches.policy import Moment
from fewstep.core.caches.report import Report, Tally
from fewstep.core.caches.scope import Site, Split
from fewstep.core.errors import UsageError


@contextmanager
def attach(net: nn.Module, *caches: Any, times: Any = None) -> Iterator["Attached"]:
    """Cache features of a net inside the block.

    Parameters
    ----------
    net
        What the denoiser calls; as before once the block is left, however that happens. Its weights, names and
        `state_dict` are not touched.
    caches
        A `Cache`, several, or tuples of them; each with state of its own.
    times
        Times of the run's rows, [rows + 1]: the grid or, for solvers with stages, `tableau.times`. They are the
        coordinate of the predictors; without them that is the row's number.

    Yields
    ------
    Attached
        Calls the net; its `report` says what the last run saved.

    Raises
    ------
    UsageError
        If a scope matches nothing, there is no cache, or the net has caches already.
    """
    flat = [cache for item in caches for cache in (item if isinstance(item, tuple | list) else (item,))]
    if not flat or not all(isinstance(cache, Cache) for cache in flat):
        raise UsageError(f"expected one or more caches, got {[type(cache).__name__ for cache in flat]}")
    if is_wrapped(net):
        raise UsageError("this net has caches attached already: pass all caches to one caches.attach")
    attached = Attached(net, flat, None if times is None else torch.as_tensor(times, dtype=torch.float64).tolist())
    with ExitStack() as undo:
        attached._install(undo)
        yield attached


class Attached:
    """A net with its caches; see `attach`. `listen` is told (track, row, value) of each feature that is computed."""

    def __init__(self, net: nn.Module, caches: Sequence[Cache], times: list[float] | None):
        self.net, self.caches, self.times = net, tuple(caches), times
        self.sites = [cache.places.resolve(net) for cache in caches]
        self._tallies: list[Tally] = []
        self.listen: Callable[[Any, int, Parts], None] | None = None
        self._verified, self._branches = False, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The net's answer."""
        return self.net(*args, **kwargs)

    @property
    def reports(self) -> list[Report]:
        """One per run, in order."""
        return [tally.report() for tally in self._tallies]

    @property
    def report(self) -> Report:
        """Of the last run.

        Raises
        ------
        UsageError
            If there was none.
        """
        if not self._tallies:
            raise UsageError("no run yet: sample inside the block, with gradients off")
        return self._tallies[-1].report()

    @property
    def runs(self) -> int:
        """How many there were, and are."""
        return len(self._tallies)

    @property
    def branches(self) -> int:
        """Calls of the net in each row of the last run."""
        return self._branches

    def _install(self, undo: ExitStack) -> None:
        for index, (cache, sites) in enumerate(zip(self.caches, self.sites, strict=True)):
            if isinstance(cache.policy, Gate):
                replace(probed(self.net, cache.policy, sites), self._probing(index), undo)
            for number, site in enumerate(sites):
                for part, module in enumerate(site.modules):
                    replace(module, self._passing(index, number, site, part), undo)
        replace(self.net, self._asking, undo)

    def _passing(self, index: int, number: int, site: Site, part: int) -> Callable[..., Any]:
        def wrapper(inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            live = self._live(index)
            if live is None:
                return inner(*args, **kwargs)
            out = through(live, number, site, part, inner, args, kwargs)
            if site.split is not None:
                return self._joined(site.split, live, number, out, args, kwargs)
            if site.modules == (self.net,):
                nfe.report(0 if live.skipped else 1)
            return out

        return wrapper

    def _joined(self, split: Split, live: Live, number: int, out: Any, args: Any, kwargs: Any) -> Any:
        if live.passing[number].predict:
            return split.shallow(out, *args, **kwargs)
        if not self._verified:
            deep = live.track.histories[live.passing[number].key].values[0][0]
            again = split.shallow(deep, *args, **kwargs)
            scale = out.abs().max() * max(torch.finfo(out.dtype).eps * 64, 1e-5)
            if again.shape != out.shape or not bool(((again - out).abs() <= scale).all()):
                raise UsageError("split.shallow does not say what split.full says where the deep feature is its own")
            self._verified = True
        return out

    def _probing(self, index: int) -> Callable[..., Any]:
        def wrapper(inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            live = self._live(index)
            if live is None:
                return inner(*args, **kwargs)
            x = first(args, kwargs, "the gate's probe")
            x = x.clone()
            out = inner(*args, **kwargs)
            probe(live, x, out)
            return out

        return wrapper

    def _live(self, index: int) -> Live | None:
        memory = _memory(self)
        live = None if memory is None or memory.live is None else memory.live[index]
        return None if live is None or live.want == "off" else live

    def _asking(self, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        counter = nfe.current()
        if counter is None or not counter.asking or torch.is_grad_enabled():
            return inner(*args, **kwargs)
        x, memory = first(args, kwargs, "the net"), _memory(self)
        if memory is None:
            memory = counter.notes[self] = Memory(Tally(timed=x.device.type == "cpu"))
            self._tallies.append(memory.tally)
        if memory.live is not None:
            return inner(*args, **kwargs)
        try:
            memory.live = self._begun(memory, counter.rows - 1, x)
            began = perf_counter()
            out = inner(*args, **kwargs)
            _ended(memory, perf_counter() - began)
        except BaseException:
            memory.forget()
            raise
        finally:
            memory.live = None
        return out

    def _begun(self, memory: Memory, row: int, x: Tensor) -> list[Live]:
        memory.branch = memory.branch + 1 if memory.row == row else 0
        memory.row, self._branches = row, memory.branch + 1
        rows = None if self.times is None else len(self.times) - 1
        if rows is not None and row >= rows:
            raise UsageError(f"attached with times for {rows} rows, the run has more: pass times= of this run's rows")
        at = float(row) if self.times is None else self.times[row]
        return [self._opened(memory, index, row, rows, at, x) for index in range(len(self.caches))]

    def _opened(self, memory: Memory, index: int, row: int, rows: int | None, at: float, x: Tensor) -> Live:
        cache = self.caches[index]
        signature = (torch.Size((len(x) // memory.copies, *x.shape[1:])), x.dtype, x.device)
        key = (index, memory.branch, row % cache.stages)
        track = memory.tracks.get(key)
        if track is None or track.signature != signature:
            memory.tally.keep(0 if track is None else -track.bytes)
            track = memory.tracks[key] = Track(signature)
        known = next(iter(track.histories.values()), None)
        streak = 0 if isinstance(cache.policy, Gate) else track.streak
        answers = () if known is None else [value[0] for value in known.values]
        want = cache.policy.want(Moment(row, rows, streak, answers))
        if known is None and want in ("predict", "ask"):
            want = "compute"
        listen = None if self.listen is None else partial(_told, self.listen, key, row)
        return Live(cache, track, want, row, at, memory.tally, listen, copies=memory.copies)


def _told(listen: Callable[..., None], key: Any, row: int, site: Any, value: Parts) -> None:
    listen((key, site), row, value)


def _memory(attached: Attached) -> Memory | None:
    counter = nfe.current()
    return None if counter is None else counter.notes.get(attached)


def _ended(memory: Memory, seconds: float) -> None:
    assert memory.live is not None
    memory.tally.ended(seconds, skipped=any(live.skipped for live in memory.live))
    for live in memory.live:
        if live.want == "compute" and live.items is None:
            live.track.streak = 0
        elif live.want == "predict" and not isinstance(live.cache.policy, Gate):
            live.track.streak += 1
