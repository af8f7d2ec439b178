"""`fewstep cache tune`: what it writes is used, and only where it fits; budgets are kept in every unit."""

import json
import re
import shutil

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.core import caches, cli
from fewstep.core.build import build
from fewstep.core.caches.job import tuned_file
from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError
from fewstep.core.pretrained import Pretrained, cache_job
from tests.laws.cached import dit, grid
from tests.laws.cached import draw as sampled

NET = {
    "_target_": "fewstep.core.nn.preconditioned.Preconditioned",
    "inner": {"_target_": "fewstep.core.nn.unet.UNet", "channels_in": 1, "channels_out": 1, "widths": [8, 8]},
    "path": {"_target_": "fewstep.core.paths.vp_linear"},
    "sigma_data": 0.5,
}


@pytest.fixture
def folder(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(NET)
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
    config = {
        "kind": "diffusion", "model": NET, "path": NET["path"], "parameterization": "x0", "steps": 6,
        "shape": [1, 8, 8],
    }  # fmt: skip
    return export(tmp_path / "model", net, config)


def tune(folder, *more):
    return cli.main(["cache", "tune", str(folder), "--steps", "6", "--samples", "2", *more])


def test_the_tuned_cache_is_used_for_its_steps_only(folder, capsys):
    assert tune(folder, "--budget", "0.6") in (0, 1)
    said = capsys.readouterr()
    assert "of 6 steps" in said.out
    assert "steps without a cache" in said.out
    file = tuned_file(folder, 6)
    assert json.loads(file.read_text())["caches"]
    made = Pretrained.load(folder)
    plain = made.sample(shape=(1, 1, 8, 8), generator=3)
    cached = made.sample(shape=(1, 1, 8, 8), generator=3, cache="tuned")
    (cache,) = caches.load(file, net=made.net, times=made.grid(6))
    by_hand = made.sample(shape=(1, 1, 8, 8), generator=3, cache=[cache])
    assert torch.equal(cached.x, by_hand.x)
    assert not torch.equal(cached.x, plain.x)
    assert torch.equal(made.sample(shape=(1, 1, 8, 8), generator=3).x, plain.x)
    with pytest.raises(FileNotFoundError, match=r"tuned-5.cache.json does not exist: make it with .*--steps 5"):
        made.sample(shape=(1, 1, 8, 8), steps=5, cache="tuned")
    with pytest.raises(UsageError, match='expected cache="tuned" of a model with a folder'):
        made.sample(shape=(1, 1, 8, 8), cache="best")
    with torch.no_grad():
        next(made.net.parameters()).add_(1.0)
    with pytest.raises(UsageError, match="was tuned for the net"):
        made.sample(shape=(1, 1, 8, 8), cache="tuned")


def test_usage_of_the_command(folder, capsys, tmp_path):
    output = tmp_path / "mine.cache.json"
    assert tune(folder, "--unit", "calls", "--budget", "3", "-o", str(output)) in (0, 1)
    assert len(json.loads(output.read_text())["caches"][0]["refresh"]) == 3
    for arguments, message in [
        (["--unit", "flops", "--budget", "0.001"], "cannot be kept: with one row computed out of 6"),
        (["--budget", "1.5"], r"a share in \(0, 1\)"),
        (["--samples", "0"], "expected --steps >= 2 and --samples >= 1, got 6 and 0"),
    ]:
        capsys.readouterr()
        assert tune(folder, *arguments) == 2
        assert re.search(message, capsys.readouterr().err)
    assert cli.main(["cache", "tune", "vocos-small"]) == 2
    assert "of kind 'vocoder', which has no caches: expected diffusion, tts" in capsys.readouterr().err
    with pytest.raises(UsageError, match="its config names no shape: give --shape"):
        cache_job(_without_shape(folder, tmp_path))


def _without_shape(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    lines = (other / "config.yaml").read_text().splitlines()
    at = lines.index("shape:")
    (other / "config.yaml").write_text("\n".join(lines[:at] + lines[at + 4 :]) + "\n")
    return other


def test_budgets():
    net = dit()

    def run():
        return sampled(net).x

    scope = caches.span("blocks")
    assert caches.rows_within(net, run, scope=scope, budget=3, times=grid()) == 3
    assert caches.rows_within(net, run, scope=scope, budget=0.5, times=grid()) == 4
    count = caches.rows_within(net, run, scope=scope, budget=0.6, unit="flops", times=grid())

    def flops(rows):
        cache = caches.Cache(scope, caches.Schedule(8, tuple(range(rows))))
        with caches.attach(net, cache), FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    assert flops(count) <= 0.6 * flops(8) < flops(count + 1)
    assert 1 <= caches.rows_within(net, run, scope=caches.whole(), budget=0.9, unit="time", times=grid()) <= 8
    with pytest.raises(UsageError, match=r"a share in \(0, 1\), or in ms up to"):
        caches.rows_within(net, run, scope=scope, budget=1e9, unit="ms", times=grid())
    with pytest.raises(UsageError, match="cannot be kept"):
        caches.rows_within(net, run, scope=caches.span("blocks", 4), budget=0.3, unit="flops", times=grid())


def test_of_several_scopes_the_one_that_ends_nearest_is_taken():
    net = dit()

    def run():
        return sampled(net).x

    def wrong(cache):
        with caches.attach(net, cache, times=grid()):
            return float((run() - full).norm())

    full, scopes = run(), [caches.span("blocks"), caches.span("blocks", 2), caches.span("blocks", 0, 3)]
    alone = [
        caches.tune(net, run, scope=scope, budget=0.7, unit="flops", times=grid()) for scope in scopes[:1] + scopes[2:]
    ]
    both = caches.tune(net, run, scope=[scopes[0], scopes[2]], budget=0.7, unit="flops", times=grid())
    assert wrong(both) == min(map(wrong, alone))
    with pytest.raises(UsageError, match=r"cannot be kept.*; .*cannot be kept"):
        caches.tune(net, run, scope=scopes[1:], budget=0.05, unit="flops", times=grid())
    with pytest.raises(UsageError, match="expected one scope or more"):
        caches.tune(net, run, scope=[], budget=0.5, times=grid())
