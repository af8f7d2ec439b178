"""What happens in a wrapped module: compute and store, or predict and leave its work out."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from fewstep.core.caches.gate import Gate
from fewstep.core.caches.memory import Form, History, Live, Parts, Passing
from fewstep.core.caches.scope import Site
from fewstep.core.errors import UsageError


def through(
    live: Live, number: int, site: Site, part: int, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
) -> Any:
    """One module of a site.

    Parameters
    ----------
    live
        The cache in this call.
    number, site, part
        Which site, and which of its modules.
    inner
        The module's forward.
    args, kwargs
        Of the module; the first is the state.

    Returns
    -------
    Any
        What the net goes on with.
    """
    if part == 0:
        live.passing[number] = _enter(live, number, site, _carried(site, inner, args, kwargs))
    passing, last = live.passing[number], part == len(site.modules) - 1
    if passing.predict:
        if last:
            return _predicted(live, site, passing)
        x = _carried(site, inner, args, kwargs)
        return _formed(x, tuple if site.carries else None) if site.idle is None else site.idle(site.modules[part], x[0])
    if passing.items is not None:
        args, kwargs = _selected(args, kwargs, passing, entering=part == 0)
    out = site.split.full(*args, **kwargs) if site.split else inner(*args, **kwargs)
    return _leave(live, site, passing, out) if last else out


def probe(live: Live, x: Tensor, out: Tensor) -> None:
    """Decide by what the probe said; it is stored where anything is computed.

    Parameters
    ----------
    live
        The cache in this call.
    x, out
        Input and output of the probe, [batch, ...].
    """
    gate, track = live.cache.policy, live.track
    assert isinstance(gate, Gate)
    said = out - x if gate.what == "delta" else out.clone()
    stored = track.probe
    if live.want == "ask" and stored is not None and stored.shape == said.shape:
        needed = gate.surprised(said, stored.predict(gate.forecast, live.at)[0])
        if gate.max_skip is not None:
            needed = needed | (torch.as_tensor(track.streak, device=needed.device) >= gate.max_skip)
        track.streak = torch.where(needed, 0, torch.as_tensor(track.streak, device=needed.device) + 1)
        live.want = "compute" if bool(needed.any()) else "predict"
        if gate.reduce == "sample" and live.want == "compute" and not bool(needed.all()):
            live.items = needed.nonzero().view(-1)
            said = stored.values[0][0].clone().index_copy_(0, live.items, said[live.items])
    elif live.want == "ask":
        live.want = "compute"
    if live.want == "compute":
        stored = stored if stored is not None and stored.shape == said.shape else History(said.shape)
        track.probe = stored
        live.keep(stored.push((said,), live.at, gate.forecast.depth))


def first(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Tensor:
    """The state that a module was called with: its first argument.

    Parameters
    ----------
    args, kwargs
        Of the call.
    name
        Of the module, for the message.

    Returns
    -------
    Tensor

    Raises
    ------
    UsageError
        If that is no tensor.
    """
    x = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(x, Tensor):
        raise UsageError(f"{name}: expected a tensor as the first argument of a cached module, got {type(x).__name__}")
    return x


def _carried(site: Site, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Parts:
    """The tensors that the module's answer goes on from."""
    if not site.carries:
        return (first(args, kwargs, site.name),)
    told = signature(inner).bind(*args, **kwargs).arguments
    missing = [name for name in site.carries if not isinstance(told.get(name), Tensor)]
    if missing:
        raise UsageError(f"{site.name}: expected tensors as the arguments {list(site.carries)}, {missing} are none")
    return tuple(told[name] for name in site.carries)


def _enter(live: Live, number: int, site: Site, x: Parts) -> Passing:
    if live.want == "ask":
        raise UsageError(f"{site.name} ran before the gate's probe: name a module that runs earlier")
    key = (number, live.visits.get(number, 0))
    live.visits[number] = key[1] + 1
    live.tally.visits += 1
    history = live.track.histories.get(key)
    known = history is not None and (history.shape == x[0].shape or live.copies > 1)
    predict, items = live.want == "predict" and known, live.items if known else None
    if predict or items is not None:
        live.skipped = True
        live.tally.skips += 1 if items is None else 1 - len(items) / len(x[0])
    kept = tuple(part.clone() for part in x) if site.what == "delta" and not predict else x
    return Passing(key, predict, kept, items, perf_counter())


def _predicted(live: Live, site: Site, passing: Passing) -> Any:
    history = live.track.histories[passing.key]
    value = history.predict(live.cache.predictor, live.at)
    if live.copies > 1:
        value = tuple(part.repeat(live.copies, *[1] * (part.ndim - 1)) for part in value)
    value = tuple(live.cache.correction.correct(site.name, live.row, part) for part in value)
    if site.what == "delta":
        value = tuple(map(torch.add, passing.entry, value))
    return _formed(value, history.form)


def _leave(live: Live, site: Site, passing: Passing, out: Any) -> Any:
    out, said = out if site.split else (out, out)
    value, form = _parts(said, site.name)
    if passing.items is None:
        live.tally.in_sites += perf_counter() - passing.began
    entry = passing.entry if passing.items is None else tuple(part[passing.items] for part in passing.entry)
    if site.what == "delta":
        _require_residual(site, value, entry)
        value = tuple(map(torch.sub, value, entry))
    else:
        value = tuple(part.detach().clone() for part in value)
    histories, key = live.track.histories, passing.key
    history = histories.get(key)
    if history is None or history.shape != passing.entry[0].shape:
        live.keep(0 if history is None else -history.bytes)
        history = histories[key] = History(passing.entry[0].shape, form=form)
    if passing.items is not None:
        stored = history.values[0]
        value = tuple(old.clone().index_copy_(0, passing.items, new) for old, new in zip(stored, value, strict=True))
        whole = tuple(map(torch.add, passing.entry, value)) if site.what == "delta" else value
        out = _formed(tuple(part.clone() for part in whole), form)
    live.keep(history.push(value, live.at, live.cache.depth))
    if live.listen is not None:
        live.listen(key, value)
    return out


def _parts(said: Any, name: str) -> tuple[Parts, Form]:
    """The tensors of an answer, and what they came in: nothing, a tuple or list, or a mapping (diffusers' outputs)."""
    if isinstance(said, Tensor):
        return (said,), None
    parts = tuple(said.values()) if isinstance(said, dict) else tuple(said) if type(said) in (tuple, list) else ()
    if parts and all(isinstance(part, Tensor) for part in parts):
        kind = type(said)
        return parts, partial(_mapped, kind, tuple(said)) if isinstance(said, dict) else kind
    raise UsageError(f"{name}: expected a module that returns a tensor or several, it returned {type(said).__name__}")


def _mapped(kind: type, keys: tuple[str, ...], value: Parts) -> Any:
    return kind(**dict(zip(keys, value, strict=True)))


def _formed(value: Parts, form: Form) -> Any:
    return value[0] if form is None else form(value)


def _require_residual(site: Site, value: Parts, entry: Parts) -> None:
    if len(value) != len(entry):
        raise UsageError(
            f"{site.name} returns {len(value)} tensors: say with carries= which arguments they go on from, "
            "or cache its output"
        )
    for part, start in zip(value, entry, strict=True):
        if part.shape != start.shape:
            raise UsageError(
                f"{site.name}: a residual needs an output shaped like the input {list(start.shape)}, "
                f"got {list(part.shape)}: cache its output instead"
            )


def _selected(args: tuple[Any, ...], kwargs: dict[str, Any], passing: Passing, *, entering: bool) -> tuple[Any, Any]:
    """Arguments for the computed items: every tensor whose first dimension is the batch is one."""
    items, batch = passing.items, len(passing.entry[0])
    head = args[:1] if not entering else ()
    return (*head, *(_take(arg, items, batch) for arg in args[len(head) :])), _take(kwargs, items, batch)


def _take(value: Any, items: Any, batch: int) -> Any:
    if isinstance(value, Tensor):
        return value[items] if value.ndim and len(value) == batch else value
    if isinstance(value, dict):
        return {key: _take(item, items, batch) for key, item in value.items()}
    return type(value)(_take(item, items, batch) for item in value) if type(value) in (tuple, list) else value
