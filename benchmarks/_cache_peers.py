"""The caches of diffusers and of cache-dit on diffusers' transformer, each as it says it is to be used."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fewstep.benchmarks._cache_nets import STEPS

Peer = Callable[[nn.Module, Callable[[Any], Any]], Any]
"""A context manager over (net, run) that yields what is called in the net's place."""

_PARTS = [r"transformer_blocks\.\d+\.attn1", r"transformer_blocks\.\d+\.ff"]
"""The default names match no module of this net, which then is not cached at all."""


def peers(*, quick: bool) -> dict[str, Peer]:
    """By name; those whose package is not there are left out."""
    found: dict[str, Peer] = {}
    with contextlib.suppress(ImportError):
        from diffusers.hooks import FirstBlockCacheConfig, TaylorSeerCacheConfig

        for threshold in (0.1,) if quick else (0.05, 0.1, 0.2):
            found[f"diffusers FirstBlockCache {threshold}"] = _first_block(FirstBlockCacheConfig(threshold=threshold))
        for interval, order in ((3, 1),) if quick else ((3, 1), (5, 1)):
            config = TaylorSeerCacheConfig(
                cache_interval=interval, max_order=order, disable_cache_before_step=3,
                taylor_factors_dtype=torch.float32,
                cache_identifiers=_PARTS,
            )  # fmt: skip
            found[f"diffusers TaylorSeer {interval}, order {order}"] = _taylor(config)
        for threshold in () if quick else (0.06, 0.12):
            found[f"diffusers MagCache {threshold}"] = _mag(threshold)
    with contextlib.suppress(ImportError):
        import cache_dit  # noqa: F401

        for threshold in (0.08,) if quick else (0.04, 0.08, 0.16):
            found[f"cache-dit DBCache {threshold}"] = _cache_dit(threshold, taylor=False)
        found["cache-dit DBCache 0.08, TaylorSeer"] = _cache_dit(0.08, taylor=True)
    return found


class _Contexts:
    """Calls the net under the names of its guidance branches, in turn."""

    def __init__(self, net: nn.Module):
        self.net, self.calls = net, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from diffusers.hooks.hooks import CacheContext, _set_cache_context

        step, branch = divmod(self.calls, 2)
        name = ("cond", "uncond")[branch]
        _set_cache_context(self.net, CacheContext(name, step_index=step % STEPS, num_inference_steps=STEPS))
        self.calls += 1
        try:
            return self.net(*args, **kwargs)
        finally:
            _set_cache_context(self.net, None)
            if self.calls == 2 * STEPS:
                self.calls = 0
                _reset(self.net)


def _reset(net: nn.Module) -> None:
    from diffusers.hooks import HookRegistry

    HookRegistry.check_if_exists_or_initialize(net).reset_stateful_hooks(recurse=True)


@contextmanager
def _hooked(net: nn.Module, apply: Callable[[nn.Module], None]) -> Iterator[_Contexts]:
    """On a copy: diffusers remembers which modules had hooks when it first looked."""
    own = copy.deepcopy(net)
    apply(own)
    yield _Contexts(own)


def _first_block(config: Any) -> Peer:
    from diffusers.hooks import apply_first_block_cache

    return lambda net, run: _hooked(net, lambda module: apply_first_block_cache(module, config))


def _taylor(config: Any) -> Peer:
    from diffusers.hooks import apply_taylorseer_cache

    return lambda net, run: _hooked(net, lambda module: apply_taylorseer_cache(module, config))


def _mag(threshold: float) -> Peer:
    from diffusers.hooks import MagCacheConfig, apply_mag_cache

    @contextmanager
    def peer(net: nn.Module, run: Callable[[Any], Any]) -> Iterator[_Contexts]:
        said = io.StringIO()
        config = MagCacheConfig(calibrate=True, num_inference_steps=STEPS)
        with (
            _hooked(net, lambda module: apply_mag_cache(module, config)) as calibrated,
            contextlib.redirect_stdout(said),
        ):
            run(calibrated)
        line = next(line for line in said.getvalue().splitlines() if line.startswith("[") and "Mag" not in line)
        ratios = json.loads(line)
        tuned = MagCacheConfig(threshold=threshold, mag_ratios=ratios, num_inference_steps=STEPS)
        with _hooked(net, lambda module: apply_mag_cache(module, tuned)) as attached:
            yield attached

    return peer


def _cache_dit(threshold: float, *, taylor: bool) -> Peer:
    @contextmanager
    def peer(net: nn.Module, run: Callable[[Any], Any]) -> Iterator[Any]:
        import logging

        import cache_dit
        from cache_dit.caching.patch_functors import DiTPatchFunctor

        logging.getLogger("CACHE_DIT").setLevel(logging.ERROR)
        own = copy.deepcopy(net)  # it replaces the list of blocks
        adapter = cache_dit.BlockAdapter(
            transformer=own, blocks=own.transformer_blocks, forward_pattern=cache_dit.ForwardPattern.Pattern_3,
            check_forward_pattern=False, has_separate_cfg=True, patch_functor=DiTPatchFunctor(),
        )  # fmt: skip
        options: dict[str, Any] = {}
        if taylor:
            options["calibrator_config"] = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=1)
        cache_dit.enable_cache(
            adapter,
            cache_config=cache_dit.DBCacheConfig(
                Fn_compute_blocks=1, Bn_compute_blocks=0, residual_diff_threshold=threshold, max_warmup_steps=5,
                enable_separate_cfg=True, num_inference_steps=STEPS,
            ),
            **options,
        )  # fmt: skip
        try:
            yield own
        finally:
            cache_dit.disable_cache(own)

    return peer
