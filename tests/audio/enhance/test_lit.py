from functools import partial

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from fewstep.audio.enhance.api import Enhancer
from fewstep.audio.enhance.generate import clean_spectrum
from fewstep.audio.enhance.lit import EnhanceModule
from fewstep.audio.enhance.loss import spectral_error
from fewstep.audio.enhance.metrics import perceived, si_sdr
from fewstep.audio.enhance.samplers import Even, PredictorCorrector
from fewstep.audio.enhance.stft import Spectrum
from fewstep.audio.models.enhance import SpectrumNet
from fewstep.audio.models.enhance_system import Enhancement
from fewstep.core import parameterize, paths, solvers, times
from fewstep.core.lit.muon import Muon
from fewstep.core.sample import sample
from tests.audio.enhance.conftest import SIZES, SPECTRUM, tiny_model


def batch(seed=0):
    drawn = torch.randn(2, 2, 1600, generator=torch.Generator().manual_seed(seed)) * 0.1
    return {"x0": drawn[0], "y": drawn[0] + drawn[1]}


def module(model=None, path=None, **options):
    return EnhanceModule(model or tiny_model(), path or paths.sb_ve(2.6, 0.01), total_steps=10, warmup=2, **options)


def fitted(made, steps=2):
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(made.train(), DataLoader([{k: v[0] for k, v in batch(i).items()} for i in range(4)], batch_size=2))
    return made


@pytest.mark.parametrize(
    "parts, path, options",
    [
        ({}, paths.sb_ve(2.6, 0.01), {}),
        ({}, paths.ou(), {"on_policy": 0.9, "end_share": 0.1}),
        ({}, paths.ou(), {"parameterization": "score", "through": True, "magnitude": 0.0, "end_share": 0.0}),
        ({"predictor": False}, paths.ou(), {"parameterization": "score", "predictive_weight": 0.0}),
        ({"net": False}, paths.ou(), {"diffusion_weight": 0.0}),
        ({}, paths.sb_ve(2.6, 0.01), {"optimizer": partial(Muon, lr=1e-3)}),
    ],
)
def test_all_that_should_learn_learns(parts, path, options):
    model = tiny_model(**parts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fitted(module(model, path, **options))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {name.split(".")[0] for name in before}


def test_the_given_optimizer_is_taken_with_its_own_rate():
    made = module(optimizer=partial(torch.optim.SGD, lr=0.3), learning_rate=7.0)
    told = made.configure_optimizers()
    assert isinstance(told["optimizer"], torch.optim.SGD)
    assert told["lr_scheduler"]["scheduler"].base_lrs == [0.3]


def test_the_guess_learns_from_the_diffusion_only_if_told():
    for through in (False, True):
        made = module(through=through, predictive_weight=0.0)
        made._losses(batch(), (0,))["diffusion"].backward()
        gradients = [p.grad for p in made.model.predictor.parameters()]
        assert any(g is not None for g in gradients) is through


def test_a_step_repeats_its_draws():
    losses = [module()._losses(batch(), (0, 1, 2)) for _ in range(2)]
    assert {k: v.item() for k, v in losses[0].items()} == {k: v.item() for k, v in losses[1].items()}


def test_the_score_loss_is_zero_for_the_true_score():
    """s score + eps of StoRM and SGMSE: the net that knows the noise has no loss."""
    path, told = paths.ou(), {}

    class Knows(torch.nn.Module):
        def forward(self, x, t, cond):
            a, b, s = path.broadcast(path.coefficients(t), x)
            return -(x - a * told["x0"] - b * cond[:, 0]) / s**2

    model = Enhancement(spectrum=SPECTRUM, net=Knows())
    told["x0"] = model.spectrum.forward(batch()["x0"])
    made = module(model, path, parameterization="score", predictive_weight=0.0)
    assert made._losses(batch(), (0,))["diffusion"].item() < 1e-4


def test_an_export_runs(tmp_path):
    net = {"_target_": "fewstep.audio.models.enhance.SpectrumNet", **SIZES}
    recipe = {
        "module": {
            "model": {
                "_target_": "fewstep.audio.models.enhance_system.Enhancement",
                "spectrum": SPECTRUM,
                "predictor": net,
                "net": {**net, "signals": 3, "told": True},
            },
            "path": {"_target_": "fewstep.core.paths.ou"},
            "sampler": {"_target_": "fewstep.audio.enhance.samplers.PredictorCorrector", "snr": 0.4},
        }
    }
    made = module(path=paths.ou(), steps=3, task="dereverb")
    enhancer = Enhancer.load(made.export(tmp_path / "out", recipe=recipe))
    assert (enhancer.default_steps, enhancer.task, enhancer.sampler) == (3, "dereverb", PredictorCorrector(0.4))
    assert enhancer(batch()["y"], 8000).nfe == 7
    again = EnhanceModule(tiny_model(), paths.ou(), start=str(tmp_path / "out"))
    for name, value in enhancer.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    with pytest.raises(ValueError, match="export needs this module's recipe"):
        made.export(tmp_path / "other")


def test_validation_measures_guess_and_diffusion(monkeypatch):
    made, logged = module(), {}
    monkeypatch.setattr(made, "log_dict", lambda values, **_: logged.update(values))
    with torch.no_grad():
        made.validation_step(batch(), 0)
    assert {"val/sdr_noisy", "val/sdr_steps0", "val/sdr_steps4", "val/guess", "val/diffusion"} <= set(logged)


@pytest.mark.parametrize(
    "options",
    [
        {"parameterization": "noise"},
        {"end_share": 2.0},
        {"magnitude": -1.0},
        {"on_policy": 1.5},
        {"on_policy": 0.5, "parameterization": "score"},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected one of|are shares in|for a net that says x0"):
        module(**options)


@pytest.mark.parametrize("path", [paths.sb_ve(2.6, 0.01), paths.ou()])
def test_states_of_the_net_are_those_that_sampling_meets(path):
    made, y = module(path=path), Spectrum(**SPECTRUM).forward(batch()["y"])
    with torch.no_grad():
        d = made.model.guess(y)
        told, eps = made.model.told(y, d), torch.zeros_like(d)
        rolled = made._rolled(d, told, eps, torch.tensor([0.5, 0.5]), twice=torch.tensor([True, False]))
    denoise = parameterize.x0(made.model.net, path, y=d, cond=told)
    for item, steps in ((0, 2), (1, 1)):
        start = path.prior(eps, d)
        grid = times.uniform(path, steps, end=0.5)
        met = sample(denoise, path, times=grid, solver=solvers.ddim(), x=start, y=d, generator=0).x
        torch.testing.assert_close(rolled[item], met[item], atol=1e-4, rtol=1e-3)


def test_a_perfect_net_gives_the_clean_spectrum():
    y, x0 = (torch.randn(1, 32, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    model = Enhancement(spectrum=SPECTRUM, net=SpectrumNet(**SIZES, signals=2, told=True))
    model.net.forward = lambda x, t, cond: x0.expand_as(x)
    for path, sampler in ((paths.sb_ve(), Even()), (paths.sb_ve(), Even(0.0)), (paths.ou(), Even())):
        got, nfe = clean_spectrum(model, path, y, steps=3, sampler=sampler)
        torch.testing.assert_close(got, x0)
        assert nfe == 3


def test_the_predictor_corrector_takes_two_steps_at_least():
    assert PredictorCorrector().calls(30) == 60
    for path in (paths.ou(), paths.sb_ve()):
        walk, grid = PredictorCorrector().plan(path, 5)
        assert hasattr(walk, "walk")
        assert grid[-2:].tolist() == pytest.approx([path.t_min, 0.0])
        assert len(grid) == 6
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        PredictorCorrector().plan(paths.ou(), 1)


def test_nets_say_what_they_need():
    net = SpectrumNet(**SIZES)
    with pytest.raises(ValueError, match="expected 1 spectra of 32 bins"):
        net(torch.zeros(1, 16, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match="bins divisible by 4"):
        SpectrumNet(bins=30)
    with pytest.raises(ValueError, match="got neither"):
        Enhancement()


def test_a_net_reaches_as_far_as_it_says():
    net = SpectrumNet(**SIZES).eval()
    x = torch.randn(1, 32, 61, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 30] += 1
    with torch.no_grad():
        differs = (net(x) - net(changed)).abs().amax((0, 1)) > 0
    places = differs.nonzero().flatten()
    assert int(places.min()) >= 30 - net.reach
    assert int(places.max()) <= 30 + net.reach
    assert len(places) > net.reach


def test_losses_and_metrics():
    clean = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    assert si_sdr(3 * clean, clean).min() > 60
    torch.testing.assert_close(si_sdr(clean + 0.1 * noise, clean), torch.tensor([20.0, 20.0]), atol=0.3, rtol=0)
    spectrum = torch.complex(clean, noise)
    turned = spectrum * 1j
    assert float(spectral_error(turned, spectrum, magnitude=1.0).max()) < 1e-9
    torch.testing.assert_close(spectral_error(turned, spectrum, magnitude=0.0), (turned - spectrum).abs().square())
    with pytest.raises(ValueError, match="defined at 16000 Hz, got 8000"):
        perceived(clean[0], clean[0], 8000)
