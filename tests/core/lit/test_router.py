"""The router closes modules that do not matter, leaves open those that do, and its schedules are what it says."""

import pytest
import torch
from torch import nn

from fewstep.core import caches
from fewstep.core.caches.router import Router, mixed
from fewstep.core.errors import UsageError
from tests.laws.cached import dit, draw


def test_weights_and_schedules():
    router = Router(dit(), r"blocks\.\d\.mlp", 4)
    assert router.names == [f"blocks.{i}.mlp" for i in range(5)]
    with torch.no_grad():
        router.logits.fill_(-9.0)
        router.logits[1, 2] = 1.0
    assert router.weights.shape == (4, 5)
    assert (router.weights[0] > 0.99).all()
    assert float(router.weights.detach().min()) == pytest.approx(torch.sigmoid(torch.tensor(-5.0)).item())
    assert [s.refresh for s in router.schedules()] == [(0,), (0,), (0, 2), (0,), (0,)]
    net = dit()
    with caches.attach(net, router.caches()) as attached:
        draw(net, steps=4)
    assert attached.report.skips == 14
    with pytest.raises(UsageError, match="two rows or more and a threshold"):
        Router(dit(), "blocks", 1)


def test_a_mixture_interpolates_between_stored_and_fresh():
    net = nn.Sequential(nn.Linear(2, 2))
    router = Router(net, "0", 3)
    one, other = torch.ones(1, 2), torch.zeros(1, 2)
    with mixed(net, router) as mixing:
        first = net(one)
        mixing.row = 1
        with torch.no_grad():
            router.logits.fill_(0.0)
        half = net(other)
        fresh = nn.functional.linear(other, net[0].weight, net[0].bias)
        torch.testing.assert_close(half, (first + fresh) / 2)
        half.sum().backward()
        assert router.logits.grad[0, 0] != 0
        mixing.on = False
        torch.testing.assert_close(net(other), fresh)
        mixing.forget()
        torch.testing.assert_close(net(one), first)
    assert "forward" not in net[0].__dict__
    cached = caches.attach(net, caches.every(2, scope="0"))
    with cached, pytest.raises(UsageError, match="without caches"), mixed(net, router):
        pass


@pytest.fixture
def model(tmp_path):
    """A tiny image net as an export."""
    from fewstep.core.checkpoint import export

    config = {
        "_target_": "fewstep.core.nn.preconditioned.Preconditioned",
        "inner": {"_target_": "fewstep.core.nn.unet.UNet", "channels_in": 1, "channels_out": 1, "widths": [8, 8]},
        "path": {"_target_": "fewstep.core.paths.vp_linear"},
        "sigma_data": 0.5,
    }
    from fewstep.core.build import build

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(config)
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1)))
        for stage in (net.inner.down[1], net.inner.middle, net.inner.up[0]):  # the deep part says nothing new
            for block in stage:
                block.told.weight.zero_()
    told = {"kind": "diffusion", "model": config, "path": config["path"], "parameterization": "x0", "steps": 4}
    export(tmp_path / "model", net, told)
    return tmp_path / "model"


def test_training_closes_what_is_not_worth_its_price(model, tmp_path):
    import lightning.pytorch as pl

    from fewstep.core.lit.router import NoiseData, RouterModule

    data = NoiseData(shape=[1, 8, 8], n=6, batch_size=2)
    pattern = r"inner\.(down|up)\.\d+\.\d+"
    found = {}
    for beta in (0.0, 10.0):
        module = RouterModule(model=str(model), pattern=pattern, steps=4, beta=beta, lr=2.0, measure_every=3)
        trainer = pl.Trainer(
            max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu",
        )  # fmt: skip
        trainer.fit(module, data)
        found[beta] = module
    assert all(len(s.refresh) == 4 for s in found[0.0].router.schedules()), "computing is free: all stays open"
    assert all(s.refresh == (0,) for s in found[10.0].router.schedules()), "too dear: all is closed but the first row"
    assert not any("made" in key or "net" in key for key in found[0.0].state_dict())
    assert float(found[0.0].importance[1:].mean()) == pytest.approx(1.0)
    found[10.0].export(tmp_path / "out")
    loaded = caches.load(tmp_path / "out" / "router.cache.json", net=found[10.0].made.net, times=found[10.0].grid)
    assert loaded == found[10.0].router.caches()
    with pytest.raises(UsageError, match="beta >= 0, steps >= 2, measure_every >= 0"):
        RouterModule(model=str(model), pattern=pattern, beta=-1.0)
    with pytest.raises(UsageError, match="n >= 1 and batch_size >= 1"):
        NoiseData(shape=[1], n=0)
