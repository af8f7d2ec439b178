"""Each training module learns from one small batch, exports, and is loaded by what `fewstep restore` loads."""

import pytest
import torch

from fewstep.core import paths, rng, solvers
from fewstep.core.errors import UsageError
from fewstep.restoration import pretrained
from fewstep.restoration.lit import losses
from fewstep.restoration.lit.chain import ChainModule
from fewstep.restoration.lit.diffir import DiffIRModule
from fewstep.restoration.lit.mean import MeanModule
from fewstep.restoration.lit.noise import NoiseModule
from fewstep.restoration.lit.student import StudentModule
from fewstep.restoration.lit.training import take
from fewstep.restoration.models.denoiser import Denoiser
from fewstep.restoration.models.diffir import DiffIR
from fewstep.restoration.models.ir_sde import ConditionalNAFNet
from fewstep.restoration.models.regressor import Regressor

PATH = {"_target_": "fewstep.core.paths.resshift", "kappa": 0.5, "n_steps": 4, "min_noise": 0.1}
MODELS = "fewstep.restoration.models."
REGRESSOR = {"_target_": MODELS + "regressor.Regressor", "task": "sr", "scale": 4, "width": 8, "blocks": 1}
DENOISER = {
    "_target_": MODELS + "denoiser.Denoiser", "regressor": REGRESSOR, "width": 8, "blocks": 1, "student": True,
}  # fmt: skip
SMALL = {
    "scale": 4, "dim": 8, "blocks": (1, 1, 1, 1), "refinement": 1, "expansion": 2.0, "norm_bias": False,
    "extractor_blocks": 1, "features": 4, "bounded": True,
}  # fmt: skip
ADAM = {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=3e-3)}


def _net(cls, config):
    return cls(**{k: v for k, v in config.items() if k != "_target_"})


def _denoiser():
    return Denoiser(_net(Regressor, REGRESSOR), width=8, blocks=1, student=True)


@pytest.fixture
def batch():
    x0 = torch.rand(2, 3, 4, 4, generator=rng.generator(0)) * 2 - 1
    x0 = torch.nn.functional.interpolate(x0, size=(32, 32), mode="bicubic").clamp(-1, 1)
    return {"x0": x0, "lq": torch.nn.functional.avg_pool2d(x0, 4)}


def _learns(module, batch, steps=15):
    (optimizer,) = [module.configure_optimizers()]
    before = None
    for _ in range(steps):
        loss = module.loss_of(batch, (0, 0, 0, 0))
        before = float(loss.detach()) if before is None else before
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(module.loss_of(batch, (0, 0, 0, 0)).detach()) < before
    assert module.answer(batch).shape == batch["x0"].shape


def _job(net, data="bicubic4", **module):
    return {"module": {"net": net, **module}, "data": {"recipe": data}}


def test_mean_then_chain_then_student(batch, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mean = MeanModule(_net(Regressor, REGRESSOR), **ADAM)
        _learns(mean, batch)
        folder = mean.export(tmp_path / "mean", recipe=_job(REGRESSOR))
        chain = ChainModule(
            _denoiser(), paths.resshift(0.5, 4, min_noise=0.1), start=folder, eta={4: 0.5, 16: 0.9}, **ADAM
        )
        kept = [value.clone() for value in chain.net.regressor.parameters()]
        _learns(chain, batch)
        assert all(torch.equal(a, b) for a, b in zip(kept, chain.net.regressor.parameters(), strict=True))
        folder = chain.export(tmp_path / "chain", recipe=_job(DENOISER, path=PATH))
        student = StudentModule(_denoiser(), chain.path, start=folder, **ADAM)
        _learns(student, batch, steps=6)
        model = pretrained.load(student.export(tmp_path / "student", recipe=_job(DENOISER, path=PATH)))
    assert (model.method, model.task, model.scale, model.steps) == ("resshift", "sr", 4, 4)
    assert [model.solver_of(n) for n in (1, 4, 8, 20)] == [solvers.ddim(eta) for eta in (0.5, 0.5, 0.7, 0.9)]
    assert model.recipe["steps"][0] == {"op": "resize", "scale": 0.25}
    lq = batch["lq"]
    torch.testing.assert_close(model.mean(lq), mean.answer(batch), atol=5e-3, rtol=0)
    assert model.has_student
    assert model.one(torch.randn(2, 3, 32, 32, generator=rng.generator(1)), lq).shape == (2, 3, 32, 32)


def test_both_stages_of_diffir(batch, tmp_path):
    net = {"_target_": MODELS + "diffir.DiffIR", "size": SMALL, "stage": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = DiffIRModule(DiffIR(size=SMALL, stage=1), **ADAM)
        _learns(first, batch)
        folder = first.export(tmp_path / "one", recipe=_job(net))
        second = DiffIRModule(DiffIR(size=SMALL, stage=2), start=folder, **ADAM)
        torch.testing.assert_close(second.net.body.enter.weight, first.net.body.enter.weight, atol=1e-3, rtol=1e-3)
        _learns(second, batch)
    model = pretrained.load(second.export(tmp_path / "two", recipe=_job({**net, "stage": 2})))
    assert model.method == "diffir"
    assert model.mean(batch["lq"]).shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="learns from stage 1"):
        DiffIRModule(DiffIR(size=SMALL, stage=2))


def test_noise_of_ir_sde(batch):
    pair = {"x0": batch["x0"], "lq": torch.nn.functional.avg_pool2d(batch["x0"], 3, 1, 1)}
    net = ConditionalNAFNet(width=8, encoder=[1], middle=1, decoder=[1])
    module = NoiseModule(net, paths.ir_sde(20.0), **ADAM)
    _learns(module, pair)
    with pytest.raises(UsageError, match="trained at timesteps"):
        NoiseModule(net, paths.rectified_flow())


def test_ir_sde_weights_are_the_distance_of_means():
    path = paths.ir_sde(20.0)
    module = NoiseModule(ConditionalNAFNet(width=8, encoder=[1], decoder=[1]), path)
    step = torch.tensor([2, 30, 100])
    a, b, s = path.coefficients(step.double() / 100)
    before = path.coefficients((step.double() - 1) / 100)[0]
    x, y, eps, other = (torch.randn(3, dtype=torch.float64) for _ in range(4))

    def mean(noise):  # equation 14 as published
        x0, fall = (x - b * y - s * noise) / a, a / before
        return fall * (1 - before**2) / (1 - a**2) * (x - y) + before * (1 - fall**2) / (1 - a**2) * (x0 - y) + y

    torch.testing.assert_close((mean(eps) - mean(other)).abs(), (module.weight(step) * (eps - other)).abs())


def test_losses_look_into_the_hole_only():
    x, x0, mask = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1
    x[..., 2:, :] = 9
    assert losses.absolute(x, x0, mask) == 1
    assert losses.squared(x, x0, mask, torch.tensor([3.0])) == 3


def test_what_cannot_be_trained(tmp_path):
    net = _net(Regressor, REGRESSOR)
    with pytest.raises(UsageError, match="std > 0"):
        ChainModule(Denoiser(net), paths.resshift(), std=0.0)
    with pytest.raises(UsageError, match=r"eta in \[0, 1\], or as .*, got 1.5"):
        ChainModule(Denoiser(net), paths.resshift(), eta=1.5)
    with pytest.raises(UsageError, match=r"got \{0: 0.5\}"):
        ChainModule(Denoiser(net), paths.resshift(), eta={0: 0.5})
    with pytest.raises(UsageError, match="a net with a student"):
        StudentModule(Denoiser(net), paths.resshift())
    with pytest.raises(UsageError, match="how to rebuild this net"):
        MeanModule(net).export(tmp_path)
    with pytest.raises(UsageError, match="none of the 1 tensors"):
        take(net, {"x": torch.zeros(3)})
    with pytest.raises(NotImplementedError):
        super(MeanModule, MeanModule(net)).answer({})


def test_a_checkpoint_that_lacks_something(tmp_path):
    from fewstep.core.checkpoint import export

    net = _net(Regressor, REGRESSOR)
    with pytest.raises(UsageError, match="lacks task, scale"):
        pretrained.load(export(tmp_path / "a", net, {"kind": "restoration", "model": REGRESSOR}))
    config = {"kind": "restoration", "model": REGRESSOR, "task": "sr", "scale": 4, "method": "magic", "path": PATH,
              "steps": 1, "recipe": {}}  # fmt: skip
    with pytest.raises(UsageError, match="method 'magic'"):
        pretrained.load(export(tmp_path / "b", net, config))
