"""A generator that needs no nets: what a seed gives is a ball or a box of its size."""

from types import SimpleNamespace

import numpy as np
import pytest

from fewstep.core.errors import UsageError
from fewstep.three_d import pipeline, pretrained
from fewstep.three_d.lattice import Field, Lattice
from fewstep.three_d.pipeline import Draw
from tests.three_d.solids import ball, box, tint

PICTURE = 32


def field(seed, r=24):
    radius = 0.2 + 0.02 * (seed % 10)
    sdf = ball(radius, r) if seed % 2 else box((0.4, radius, 0.2), r)
    return Field(sdf.astype(np.float32), tint(r).astype(np.float32))


class Stub:
    """What `load` and `generate` were called with, and how generating shall fail."""

    def __init__(self):
        self.loaded, self.calls, self.memory, self.broken, self.device = [], [], 99, (), "cuda"

    def load(self, name, device="cpu"):
        if str(name) not in ("shapes-mdt", "shapes-flow"):
            raise UsageError(f"no model is called {name}")
        self.loaded.append((str(name), str(device)))
        net = SimpleNamespace(condition=SimpleNamespace(picture=PICTURE))
        steps = SimpleNamespace(steps=2)
        parts = {"structure": SimpleNamespace(steps=2, net=net), "slat": steps, "lattice": Lattice(30, 5)}
        return SimpleNamespace(**parts, device=SimpleNamespace(type=self.device))

    def generate(self, models, told, *, seeds, options=None, retries=4, batch_size=16, progress=None):
        self.calls.append((list(told), list(seeds), options))
        if len(told) > self.memory:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 8 bytes")
        if set(seeds) & set(self.broken):
            raise UsageError("no shape after 5 seeds: try more steps, or another prompt")
        steps = options.steps or 2
        seconds = {"structure": 0.2 * len(told), "slat": 0.1 * len(told), "decode": 0.0}
        return [Draw(field(seed), seed, 50, 2 * steps, seconds) for seed in seeds]


@pytest.fixture
def stub(monkeypatch):
    made = Stub()
    monkeypatch.setattr(pretrained, "load", made.load)
    monkeypatch.setattr(pipeline, "generate", made.generate)
    return made
