"""Training modules: weights of a prior are widened for a condition, regressors train, export and come back."""

import lightning.pytorch as pl
import pytest
import torch

from fewstep.core import parameterize, paths
from fewstep.core.checkpoint import export, load
from fewstep.core.errors import UsageError
from fewstep.core.nn.preconditioned import Preconditioned
from fewstep.core.pretrained import Pretrained
from fewstep.mri.api import REGRESSION_KIND, Reconstructor
from fewstep.mri.data.scans import SimulatedScans
from fewstep.mri.lit.conditional import ConditionalModule, widen
from fewstep.mri.lit.few import FewStepModule, slice_of
from fewstep.mri.lit.losses import squared, trapezoid
from fewstep.mri.lit.recon import ReconModule, problem_of
from fewstep.mri.methods import DDS, Conditional
from fewstep.mri.models.prior import ComplexUNet
from fewstep.mri.models.resnet import ReconResNet

NET = {"_target_": "fewstep.mri.models.resnet.ReconResNet", "width": 4, "blocks": 1, "cascades": 1}


def prior(**options):
    return Preconditioned(ComplexUNet(widths=(8, 16), **options), paths.edm(), sigma_data=0.35)


def test_a_widened_net_answers_as_the_prior_until_it_learns():
    narrow, wide = prior(), prior(cond_channels=6)
    torch.nn.init.normal_(narrow.inner.net.leave[-1].weight, std=0.1, generator=torch.Generator().manual_seed(0))
    widen(wide, narrow.state_dict())
    x = torch.randn(2, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    t, cond = torch.tensor([0.1, 0.4]), torch.ones(2, 6, 16, 16)
    # the condition's planes come after the state's, and unshuffling keeps that order
    torch.testing.assert_close(wide(x, t, cond), narrow(x, t))


def test_a_conditional_module_starts_from_an_exported_prior(tmp_path):
    narrow = prior()
    torch.nn.init.normal_(narrow.inner.net.leave[-1].weight, std=0.1, generator=torch.Generator().manual_seed(0))
    path = {"_target_": "fewstep.core.paths.edm"}
    inner = {"_target_": "fewstep.mri.models.prior.ComplexUNet", "widths": [8, 16]}
    model = {
        "_target_": "fewstep.core.nn.preconditioned.Preconditioned",
        "inner": inner,
        "path": path,
        "sigma_data": 0.35,
    }
    config = {"kind": "diffusion", "model": model, "path": path, "parameterization": "x0", "steps": 4}
    export(tmp_path / "prior", narrow, config)
    module = ConditionalModule(
        prior(cond_channels=6), paths.edm(), start=tmp_path / "prior", parameterization="x0", loss=squared
    )
    x0 = torch.randn(3, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    batch = {"x0": x0, "cond": torch.zeros(3, 6, 16, 16)}
    loss = module._loss(batch, stream=(0, 0, 0, 0))
    loss.backward()
    assert float(loss.detach()) > 0
    learned = module.net.inner.net.enter.weight.grad[:, 8:]  # the planes of the condition
    assert module.net.inner.net.enter.weight[:, 8:].eq(0).all()
    assert learned.shape[1] == 6 * 4


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda s: {"other": torch.ones(1)}, "of the same net"),
        (lambda s: {k: v[:4] if v.ndim == 4 else v for k, v in s.items()}, "expected the shape"),
    ],
)
def test_other_weights_are_refused(change, says):
    with pytest.raises(UsageError, match=says):
        widen(prior(cond_channels=6), change(prior().state_dict()))


def test_the_rate_goes_up_stays_and_comes_down():
    rate = [trapezoid(i, steps=1000, warmup=10, decay=100) for i in range(1000)]
    assert rate[0] == pytest.approx(0.1)
    assert rate[500] == 1
    assert rate[-1] == pytest.approx(0.02 + 0.98 * 0.01)
    assert trapezoid(500, steps=10**6, warmup=10, decay=100) == rate[500]


def test_the_loss_is_the_squared_distance():
    a, b = torch.tensor([1 + 2j]), torch.tensor([0j])
    assert float(squared(a, b)) == 5
    assert float(squared(a.real, b.real)) == 1


def test_a_regressor_trains_exports_and_reconstructs(tmp_path):
    data = SimulatedScans(count=4, count_held_out=1, slice_size=48, share_heads=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ReconModule(ReconResNet(**{k: v for k, v in NET.items() if k != "_target_"}))
        trainer = pl.Trainer(
            max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(module, data)
    assert {"val/psnr", "val/start_psnr", "train/loss"} <= set(trainer.callback_metrics)
    with pytest.raises(UsageError, match="how to rebuild"):
        module.export(tmp_path / "net")
    module.export(tmp_path / "net", recipe={"module": {"net": NET}})
    net, config = load(tmp_path / "net", kind=REGRESSION_KIND)
    assert config["kind"] == REGRESSION_KIND
    problem = problem_of(next(iter(data.val_dataloader())))
    result = Reconstructor.load(tmp_path / "net", method="regression")(problem)
    assert result.std is None
    assert result.report["model"]["sha256"] == config["sha256"]
    assert net.training is False


def test_a_start_needs_a_prior_inside():
    with pytest.raises(UsageError, match="a net with a prior inside"):
        ReconModule(ReconResNet(width=4, blocks=1), start="mri-prior")


def test_the_kinds_of_the_core_read_these_nets():
    """A preconditioned complex net says x0."""
    x = torch.zeros(1, 8, 8, dtype=torch.complex64)
    assert parameterize.x0(prior(), paths.edm())(x, torch.tensor(0.1)).dtype == torch.complex64


def few(method, **options):
    net = prior(cond_channels=6 if method == "conditional" else 0)
    torch.nn.init.normal_(net.inner.net.leave[-1].weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return FewStepModule(net, net.path, method=method, loss=squared, **options)


@pytest.fixture(scope="module")
def scan():
    return next(iter(SimulatedScans(count=1, count_held_out=1, slice_size=48, share_heads=0.0).val_dataloader()))


@pytest.mark.parametrize("method, kind", [("dds", DDS), ("conditional", Conditional)])
def test_what_is_trained_is_what_runs(method, kind, scan):
    """With and without the graph the module answers with exactly what the method says of the scan."""
    module = few(method, calls=4)
    ours = kind(Pretrained(module.net, module.path, "x0", 4, None, {}), steps=4, samples=2)
    expected, calls = ours.solve(slice_of(scan), 7)
    assert calls == 4
    for grad in (False, True):
        torch.testing.assert_close(module.answer(scan, 7, samples=2, grad=grad).detach(), expected, rtol=0, atol=1e-4)


def test_the_gradient_of_all_calls_is_that_of_finite_differences(scan):
    module = few("dds", calls=3, denoising=0.0)
    weight = module.net.inner.net.leave[-1].weight
    error, _ = module.losses(scan, stream=(0,))
    error.log().backward()
    direction, h = weight.grad / weight.grad.norm(), 3e-3
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            weight.add_(sign * h * direction)
            ends.append(float(module.losses(scan, stream=(0,))[0].log()))
            weight.sub_(sign * h * direction)
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float(weight.grad.norm()), rel=0.03)
    assert all(value.grad is not None for value in module.net.parameters())


@pytest.mark.parametrize("method", ["dds", "conditional"])
def test_training_through_all_calls_lowers_the_error(method, scan):
    module = few(method, calls=3, optimizer=lambda parameters: torch.optim.Adam(parameters, 1e-3))
    before = float((module.answer(scan, 0) - scan["x0"]).abs().square().mean())
    optimizer = module.configure_optimizers()
    for _ in range(12):
        optimizer.zero_grad()
        error, denoised = module.losses(scan, stream=(0,))
        (error.log() + denoised).backward()
        optimizer.step()
    assert float((module.answer(scan, 0) - scan["x0"]).abs().square().mean()) < 0.8 * before


@pytest.mark.parametrize(
    "options, says",
    [
        ({"method": "dps"}, "a method among dds"),
        ({"calls": 0}, "at least 1"),
        ({"calls": []}, "at least 1"),
        ({"denoising": -1}, "-1"),
    ],
)
def test_impossible_few_steps_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        FewStepModule(prior(), paths.edm(), **options)


def test_few_step_training_takes_one_scan_at_a_time(scan):
    with pytest.raises(UsageError, match="batch 1"):
        slice_of({key: torch.cat([value, value]) for key, value in scan.items()})


def test_each_scan_is_given_one_of_several_numbers_of_calls(scan, monkeypatch):
    module, seen = few("dds", calls=(4, 2, 3), denoising=0.0), []
    plain = FewStepModule.answer
    monkeypatch.setattr(FewStepModule, "answer", lambda self, *a, **k: seen.append(k["calls"]) or plain(self, *a, **k))
    first = [float(module.losses(scan, stream=(i,))[0].detach()) for i in range(9)]
    assert set(seen) == {2, 3, 4}
    assert [float(module.losses(scan, stream=(i,))[0].detach()) for i in range(2)] == first[:2]
