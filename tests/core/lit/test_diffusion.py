import functools
import math

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from fewstep.core import parameterize, paths, solvers, times
from fewstep.core.checkpoint import load, load_weights_only
from fewstep.core.errors import UsageError
from fewstep.core.lit import training_times
from fewstep.core.lit.callbacks import Ema, LastCheckpoint
from fewstep.core.lit.diffusion import DiffusionModule
from fewstep.core.lit.toy import PlaneNet, RingData, energy_distance

PATHS = {
    "vp_linear": paths.vp_linear(),
    "ve": paths.ve(),
    "rectified_flow": paths.rectified_flow(),
    "ou": paths.ou(),
    "resshift": paths.resshift(),
}


class Constant(nn.Module):
    """A net that gives what it was told."""

    def __init__(self, output, takes_cond=False):
        super().__init__()
        self.output, self.seen = output, []
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x, t, cond=None):
        self.seen.append((x, t, cond))
        return self.output(x, t) + 0 * self.unused


def _module(net, path=PATHS["vp_linear"], **options):
    module = DiffusionModule(net, path, **options)
    module.log = lambda *_, **__: None
    return module


@pytest.fixture(autouse=True)
def _detached(monkeypatch):
    """A module without a trainer is in epoch 0 on rank 0."""
    monkeypatch.setattr(DiffusionModule, "current_epoch", 0)
    monkeypatch.setattr(DiffusionModule, "global_rank", 0)


@pytest.mark.parametrize("kind", parameterize.KINDS)
@pytest.mark.parametrize("name", PATHS)
def test_loss_is_zero_for_the_right_net_alone(kind, name):
    """x0 = 2 and y = 5 everywhere: x_t gives eps away, so a net can say the target exactly."""
    path, x0, y = PATHS[name], 2.0, 5.0

    def right(x, t):
        a, b, s = path.broadcast(path.coefficients(t), x)
        eps = (x - a * x0 - b * y) / s
        like = torch.full_like(x, x0)
        return parameterize.target(kind, path, like, eps, t, torch.full_like(x, y))

    batch = {"x0": torch.full((64, 3), x0, dtype=torch.float64), "y": torch.full((64, 3), y, dtype=torch.float64)}
    scale = max(1.0, float(right(batch["x0"], torch.tensor(path.t_min)).abs().max()))
    assert _module(Constant(right), path, parameterization=kind).training_step(batch, 0) < 1e-8 * scale**2
    wrong = _module(Constant(lambda x, t: right(x, t) + 1), path, parameterization=kind)
    torch.testing.assert_close(wrong.training_step(batch, 0), torch.ones(()), rtol=1e-6, atol=1e-6, check_dtype=False)


def test_the_net_is_told_cond_where_there_is_one():
    net = Constant(lambda x, t: torch.zeros_like(x))
    batch = {"x0": torch.zeros(2, 3), "cond": torch.tensor([4, 5])}
    _module(net).training_step(batch, 0)
    _module(net).training_step({"x0": batch["x0"]}, 0)
    assert net.seen[0][2] is batch["cond"]
    assert net.seen[1][2] is None


def test_padding_counts_for_nothing():
    net = Constant(lambda x, t: torch.where(torch.arange(4) < 2, 0.0, 100.0).expand_as(x))
    mask = (torch.arange(4) < 2).expand(8, 4)
    x0 = torch.zeros(8, 4)
    module = _module(net, parameterization="x0")
    assert module.training_step({"x0": x0, "mask": mask}, 0) == 0
    assert module.training_step({"x0": x0}, 0) > 1000


def test_weight_and_loss_are_used():
    net = Constant(lambda x, t: torch.full_like(x, 3.0))
    batch = {"x0": torch.zeros(4, 2)}
    weighted = _module(net, parameterization="x0", weight=lambda path, t: torch.full_like(t, 0.5))
    assert weighted.training_step(batch, 0) == 4.5
    absolute = _module(net, parameterization="x0", loss=nn.L1Loss(reduction="none"))
    assert absolute.training_step(batch, 0) == 3


def test_draws_depend_on_seed_epoch_and_batch_alone():
    batch = {"x0": torch.zeros(4, 2)}

    def drawn(seed=0, batch_idx=0):
        net = Constant(lambda x, t: torch.zeros_like(x))
        _module(net, seed=seed).training_step(batch, batch_idx)
        return net.seen[0][0]

    before = torch.random.get_rng_state()
    one = drawn()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, drawn())
    assert not torch.equal(one, drawn(seed=1))
    assert not torch.equal(one, drawn(batch_idx=1))


def test_optimizer_and_scheduler():
    module = DiffusionModule(
        PlaneNet(),
        PATHS["ve"],
        optimizer=functools.partial(torch.optim.SGD, lr=0.5),
        scheduler=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2),
    )
    found = module.configure_optimizers()
    assert found["optimizer"].param_groups[0]["lr"] == 0.5
    assert found["lr_scheduler"]["interval"] == "step"
    assert isinstance(DiffusionModule(PlaneNet(), PATHS["ve"]).configure_optimizers(), torch.optim.AdamW)


def test_predicts_by_seed_whatever_the_batch():
    torch.manual_seed(0)
    module = DiffusionModule(PlaneNet(), PATHS["vp_linear"], steps=3)
    shape = torch.tensor([[2], [2], [2]])
    together = module.predict_step({"seed": torch.tensor([4, 7, 9]), "shape": shape}, 0)
    alone = module.predict_step({"seed": torch.tensor([7]), "shape": shape[:1]}, 0)
    torch.testing.assert_close(alone[0], together[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="needs 'shape', 'y' or 'x0', got \\['seed'\\]"):
        module.predict_step({"seed": torch.tensor([7])}, 0)


def test_predicts_with_y_and_other_solvers():
    module = DiffusionModule(PlaneNet(), PATHS["ou"], steps=2, solver=solvers.ddpm(), grid=times.uniform_logsnr)
    assert module.predict_step({"y": torch.zeros(3, 2)}, 0).shape == (3, 2)


def test_bad_parameters():
    with pytest.raises(UsageError, match="parameterization 'epz': expected one of eps"):
        DiffusionModule(PlaneNet(), PATHS["ve"], parameterization="epz")
    with pytest.raises(UsageError, match="steps is at least 1, got 0"):
        DiffusionModule(PlaneNet(), PATHS["ve"], steps=0)


def test_export_needs_a_recipe(tmp_path):
    module = DiffusionModule(PlaneNet(width=8), PATHS["ve"])
    with pytest.raises(UsageError, match="export needs this module's recipe"):
        module.export(tmp_path)
    net = {"_target_": "fewstep.core.lit.toy.PlaneNet", "width": 8}
    module.export(tmp_path, recipe={"module": {"net": net, "path": {"_target_": "fewstep.core.paths.ve"}}})
    loaded, config = load(tmp_path, kind="diffusion")
    assert config["steps"] == 20
    x, t = torch.randn(4, 2), torch.rand(4)
    torch.testing.assert_close(loaded(x, t), module.net(x, t), rtol=1e-2, atol=1e-2)


def test_a_run_starts_from_trained_weights(tmp_path):
    net = {"_target_": "fewstep.core.lit.toy.PlaneNet", "width": 8}
    trained = DiffusionModule(PlaneNet(width=8), PATHS["ve"])
    trained.export(tmp_path, recipe={"module": {"net": net, "path": {"_target_": "fewstep.core.paths.ve"}}})
    begun = DiffusionModule(PlaneNet(width=8), PATHS["ve"], start=str(tmp_path))
    for name, value in begun.net.state_dict().items():
        torch.testing.assert_close(value, trained.net.state_dict()[name], rtol=1e-3, atol=1e-3)
    assert all(value.requires_grad for value in begun.net.parameters())
    with pytest.raises(UsageError, match="does not fit this net"):
        DiffusionModule(PlaneNet(width=4), PATHS["ve"], start=str(tmp_path))


class _Conditional(torch.utils.data.Dataset):
    """x0 is what cond says; y is a shifted copy."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        cond = torch.tensor(float(index % 2))
        x0 = cond.expand(3) * 2 - 1
        return {"x0": x0, "y": x0 + 0.5, "cond": cond, "mask": torch.tensor([True, True, False])}


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x, t, cond):
        return self.layer(torch.cat([x, t[:, None].to(x), cond[:, None]], 1))


def test_trains_validates_and_saves_with_everything_on(tmp_path, monkeypatch):
    monkeypatch.undo()
    means = []
    module = DiffusionModule(
        _Net(),
        paths.ou(),
        parameterization="x0",
        steps=2,
        metrics={"mean": lambda drawn, x0: means.append(drawn.shape) or drawn.mean()},
    )
    trainer = pl.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        callbacks=[Ema(decay=0.5), LastCheckpoint()],
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=1,
    )
    loader = DataLoader(_Conditional(), batch_size=8)
    trainer.fit(module, loader, loader)
    assert means == [(16, 3), (16, 3)]
    assert set(trainer.callback_metrics) == {"train/loss", "val/loss", "val/mean"}
    state = load_weights_only(tmp_path / "checkpoints" / "last.ckpt")
    assert set(state["state_dict"]) == {"net.layer.weight", "net.layer.bias"}
    assert trainer.test(module, loader, verbose=False)[0]["val/loss"] > 0


def test_the_toy_is_learnt(tmp_path, monkeypatch):
    """Samples lie on the ring; 29 in 100 points of the prior do."""
    monkeypatch.undo()
    pl.seed_everything(0, verbose=False)
    optimizer = functools.partial(torch.optim.Adam, lr=5e-3)
    module = DiffusionModule(PlaneNet(), paths.rectified_flow(), parameterization="flow", optimizer=optimizer)
    trainer = pl.Trainer(
        max_steps=800,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, RingData(n=4096))
    drawn = module.eval().predict_step({"seed": torch.arange(512), "shape": torch.full((512, 1), 2)}, 0)
    on_ring = (drawn.norm(dim=1) - 1).abs() < 0.24
    assert on_ring.float().mean() > 0.7


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 200), seed=st.integers(0, 2**31))
def test_stratified_draws_fall_one_into_each_part(n, seed):
    u = training_times.stratified(n, torch.Generator().manual_seed(seed))
    assert ((u > 0) & (u < 1)).all()
    assert sorted((u.double() * n - 1e-4).floor().clamp(0, n - 1).long().tolist())[0] == 0
    assert (u.sort().values.diff() - 1 / n).abs().max() < 1e-5 if n > 1 else True


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("draw", [training_times.uniform, training_times.logit_normal, training_times.lognormal_sigma])
def test_times_stay_on_the_path(name, draw):
    path = PATHS[name]
    t = draw(training_times.stratified(1000, torch.Generator().manual_seed(0)), path)
    assert t.shape == (1000,)
    assert (t >= path.t_min * (1 - 1e-6)).all()
    assert (t <= path.t_max * (1 + 1e-6)).all()


def test_lognormal_sigma_has_the_law_it_says():
    path = paths.edm()
    u = training_times.stratified(4000, torch.Generator().manual_seed(0))
    log_sigma = -path.lam(training_times.lognormal_sigma(u, path, mean=-1.0, std=0.5).double())
    assert math.isclose(log_sigma.mean(), -1.0, abs_tol=0.01)
    assert math.isclose(log_sigma.std(), 0.5, abs_tol=0.01)


def test_logit_normal_prefers_the_middle():
    path = paths.rectified_flow()
    t = training_times.logit_normal(training_times.stratified(4000, torch.Generator().manual_seed(0)), path)
    assert math.isclose(t.mean(), 0.5, abs_tol=0.01)
    assert t.std() < 0.25


def test_toy_data_and_distance():
    data = RingData(n=64, components=2, radius=3.0, std=1e-3)
    points = data.points(2000, 0)
    assert torch.allclose(points[:, 0].abs(), torch.tensor(3.0), atol=0.01)
    assert energy_distance(points, data.points(2000, 1)).abs() < 0.05
    assert energy_distance(points, points + torch.tensor([1.0, 0.0])) > 0.1
    with pytest.raises(UsageError, match="expected n >= 8 and positive sizes, got n=4"):
        RingData(n=4)
    assert len(data.test_dataloader().dataset) == len(data.val_dataloader().dataset) == 8
