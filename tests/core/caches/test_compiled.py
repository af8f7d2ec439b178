"""Blocks are compiled once, whatever the cache decides, and are as before afterwards."""

import pytest
import torch

from fewstep.core import caches
from fewstep.core.errors import UsageError
from tests.laws.cached import dit
from tests.laws.cached import draw as sampled


def draw(net, **options):
    return sampled(net, **options).x


def test_one_graph_for_all_blocks_and_rows():
    net, graphs = dit(), []
    full = draw(net)

    def backend(module, inputs):
        graphs.append(module)
        return module

    torch.compiler.reset()
    for block in net.blocks:
        block.__class__ = type("Plain", (type(block),), {"forward": plain})
    with caches.compiled(net, "blocks", backend=backend, fullgraph=True):
        with caches.attach(net, caches.every(1, scope="blocks")):
            torch.testing.assert_close(draw(net), full)
        first = len(graphs)
        for interval in (2, 3):
            with caches.attach(net, caches.every(interval, scope=caches.span("blocks", 1))):
                draw(net)
                draw(net)
    assert 1 <= first <= len(net.blocks)
    assert len(graphs) == first, "nothing is compiled again"
    assert all("forward" not in block.__dict__ for block in net.blocks)
    torch.testing.assert_close(draw(net), full)


def plain(self, x, emb):
    h = self.attn(x) + x
    return h + self.mlp(h * (1 + self.scale(emb)[:, None]))


def test_order_of_compiling_and_caching():
    net = dit()
    with (
        caches.attach(net, caches.every(2, scope="blocks")),
        pytest.raises(UsageError, match="compile the blocks before caches are attached"),
        caches.compiled(net, "blocks"),
    ):
        pass
    with pytest.raises(UsageError, match="matches no module"), caches.compiled(net, "nothing"):
        pass
