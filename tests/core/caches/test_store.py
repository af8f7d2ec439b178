"""A schedule comes back as it was stored, and only for what it was tuned for."""

import json

import pytest
import torch
from torch import nn

from fewstep.core import caches
from fewstep.core.caches import Cache, Every, Newton, Reuse, Scale, Schedule, Taylor
from fewstep.core.errors import UsageError

GRID = torch.linspace(1, 0, 7)


def net(width=2):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(width, width)


def stored(tmp_path, **options):
    cache = Cache("blocks", Schedule(6, (0, 2, 5)), **options)
    return cache, caches.save(cache, tmp_path / "tiny.cache.json", net=net(), times=GRID)


@pytest.mark.parametrize("predictor", [Reuse(), Newton(2), Taylor(3)], ids=str)
def test_round_trip(tmp_path, predictor):
    cache, file = stored(tmp_path, predictor=predictor, stages=2)
    assert caches.load(file, net=net(), times=GRID.double(), scope="blocks") == (cache,)
    assert caches.load(file, net=net(), times=GRID) == (cache,)


SCOPES = [
    caches.outputs("a"),
    caches.deltas("b", carries=("p", "q")),
    caches.span("c", 1, 3, what="output"),
    caches.whole(what="delta"),
    caches.branch(2),
    caches.encoder(),
]


def test_several_caches_and_all_scopes(tmp_path):
    several = tuple(Cache(scope, Schedule(6, (0, i + 1 if i < 5 else 1))) for i, scope in enumerate(SCOPES))
    file = caches.save(several, tmp_path / "all.cache.json", net="0" * 16, times=GRID)
    assert caches.load(file, net="0" * 16, times=GRID) == several
    split = caches.unet_branch(caches.Split(lambda: None, lambda: None))
    with pytest.raises(UsageError, match="the U-Net's branch is code, which is not stored"):
        caches.save(Cache(split, Schedule(6, (0,))), file, net="0" * 16, times=GRID)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": net(3)}, "was tuned for the net [0-9a-f]{16}, not for [0-9a-f]{16}: tune again"),
        ({"net": "0123456789abcdef"}, "not for 0123456789abcdef"),
        ({"times": GRID[:-1]}, "tuned for 6 rows on a grid of its own: tune again"),
        ({"times": GRID**2}, "tuned for 6 rows on a grid of its own: tune again"),
        ({"scope": caches.span("blocks", 1)}, r"tuned for delta of blocks\[0:\], not for delta of blocks\[1:\]"),
        ({"scope": caches.whole()}, "not for output of the net"),
    ],
)
def test_another_net_grid_or_scope_is_refused(tmp_path, change, message):
    _, file = stored(tmp_path)
    with pytest.raises(UsageError, match=message):
        caches.load(file, **{"net": net(), "times": GRID, "scope": "blocks"} | change)


def test_only_schedules_are_stored(tmp_path):
    file, schedule = tmp_path / "x.cache.json", Schedule(6, (0,))
    for cache in (Cache("blocks", Every(2)), Cache("blocks", schedule, correction=Scale({1: 0.5}))):
        with pytest.raises(UsageError, match="only caches with a Schedule"):
            caches.save(cache, file, net=net(), times=GRID)
    with pytest.raises(UsageError, match=r"ends in \.cache\.json, got x\.json"):
        caches.save(Cache("blocks", schedule), tmp_path / "x.json", net=net(), times=GRID)
    with pytest.raises(UsageError, match="expected 7 times for 6 rows, got 6"):
        caches.save(Cache("blocks", schedule), file, net=net(), times=GRID[1:])


def test_files_that_are_something_else(tmp_path):
    _, file = stored(tmp_path)
    content = json.loads(file.read_text())
    for text, message in [
        ("{", "expected the JSON of a cache, got something else"),
        ("[]", "format fewstep.cache.2"),
        (json.dumps(content | {"format": "fewstep.cache.1"}), "format fewstep.cache.2: tune again"),
        (json.dumps({k: v for k, v in content.items() if k != "caches"}), r"not whole: \['caches'\]"),
        (json.dumps(content | {"caches": [{**content["caches"][0], "predictor": "magic"}]}), "not whole: magic"),
        (json.dumps(content | {"caches": [{**content["caches"][0], "scope": {"kind": "no"}}]}), "its scope is"),
    ]:
        file.write_text(text)
        with pytest.raises(UsageError, match=message):
            caches.load(file, net=net(), times=GRID, scope="blocks")
