"""Distillation through `fewstep fit`: every recipe runs, resumes exactly, exports a student that samples."""

import pytest
import torch
from safetensors.torch import load_file

from fewstep.core.checkpoint import load_weights_only
from fewstep.core.cli import main
from fewstep.core.config import experiments
from fewstep.core.distill.consistency import Consistency
from fewstep.core.errors import UsageError
from fewstep.core.lit.distill import DistillModule
from fewstep.core.lit.pairs import PairData
from fewstep.core.pretrained import Pretrained

RECIPES = [name for name in experiments() if name.startswith("distill/")]
TOY = ["data.n=256", "logger=none"]
SOON = {"distill/relay": ["module.method.degrade=4", "module.method.every=1"]}
"""What lets a recipe come to its point in a few steps."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Trained for a few seconds: good enough to be followed."""
    runs = tmp_path_factory.mktemp("teacher")
    options = [f"runs={runs}", "name=t", "trainer.max_steps=300", "trainer.check_val_every_n_epoch=1000"]
    assert main(["fit", "experiment=core/toy", "data.n=4096", "logger=none", *options]) == 0
    return runs / "t" / "export"


def fit(experiment, teacher, name, steps, *overrides):
    options = [f"teacher={teacher}", f"name={name}", f"trainer.max_steps={steps}", "data.batch_size=64"]
    options += [*SOON.get(experiment, []), *overrides]
    assert main(["fit", f"experiment={experiment}", *TOY, *options]) == 0
    return load_weights_only(f"runs/{name}/checkpoints/last.ckpt")


@pytest.mark.parametrize("experiment", RECIPES)
def test_recipes_learn_export_and_sample(experiment, teacher, in_folder):
    last = fit(experiment, teacher, "student", 12, "trainer.check_val_every_n_epoch=1")
    assert not any("teacher" in key for key in last["state_dict"])
    student, original = Pretrained.load("runs/student/export"), Pretrained.load(teacher)
    assert student.config["distilled"]
    moved = load_file("runs/student/export/model.safetensors")
    kept = load_file(teacher / "model.safetensors")
    assert set(moved) != set(kept) or any(not torch.equal(moved[name], kept[name]) for name in kept)
    drawn = student.sample(shape=(8, 2), generator=0)
    assert drawn.nfe == student.steps
    assert torch.isfinite(drawn.x).all()
    assert student.sample(shape=(8, 2), generator=0, steps=2).nfe == 2
    (samples, *_) = sorted((in_folder / "runs/student/samples").iterdir())
    assert {"student_1", "teacher_4"} <= set(load_file(samples))
    assert original.sample(shape=(8, 2), generator=0, steps=3).nfe == 3


@pytest.mark.parametrize(
    "experiment",
    ["distill/consistency", "distill/ctm", "distill/relay", "distill/high_frequency", "distill/adversarial"],
)
def test_resumed_equals_unbroken(experiment, teacher, in_folder):
    """Student, target and the denoiser of the student's law, in the middle of an epoch of four batches."""
    whole = fit(experiment, teacher, "whole", 7)
    fit(experiment, teacher, "parts", 3)
    parts = fit(experiment, teacher, "parts", 7, "ckpt=last")
    for key in ("state_dict", "raw_state_dict"):
        for name, value in whole[key].items():
            torch.testing.assert_close(parts[key][name], value, rtol=0, atol=0, msg=name)


def test_a_consistency_student_keeps_its_boundary(teacher, in_folder):
    fit("distill/consistency", teacher, "student", 2)
    student = Pretrained.load("runs/student/export")
    assert student.sigma_data == 0.71
    t = torch.full((4,), student.path.t_min)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    a, _, _ = student.path.coefficients(student.path.t_min)
    torch.testing.assert_close(student.denoise()(x, t), x / float(a), rtol=1e-4, atol=1e-4)


def test_a_few_hundred_steps_make_one_call_worth_more(teacher, in_folder):
    """The one-step student of the pairs is nearer to the data than the teacher in one step."""
    from fewstep.core.lit.toy import RingData, energy_distance

    fit("distill/pairs", teacher, "student", 300, "trainer.check_val_every_n_epoch=1000", "data.n=4096")
    x0 = RingData().points(2000, 7)
    one = lambda model: energy_distance(model.sample(shape=(2000, 2), generator=3, steps=1).x, x0)  # noqa: E731
    assert one(Pretrained.load("runs/student/export")) < 0.3 * one(Pretrained.load(teacher))


def test_pairs_are_drawn_once_and_belong_to_a_teacher(teacher, tmp_path):
    data = PairData(teacher=str(teacher), shape=[2], n=16, batch_size=6, steps=4, cache=str(tmp_path))
    data.prepare_data()
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    data.prepare_data()
    assert file.stat().st_mtime_ns == before
    data.setup()
    assert sum(len(batch["x0"]) for batch in data.train_dataloader()) == 14
    assert sum(len(batch["eps"]) for batch in data.val_dataloader()) == 2
    other = PairData(teacher=str(teacher), shape=[2], n=16, batch_size=6, steps=5, cache=str(tmp_path))
    other.prepare_data()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UsageError, match="at least 8 pairs"):
        PairData(teacher=str(teacher), shape=[2], n=7)


def test_mistakes_are_named(teacher, in_folder, capsys):
    method = Consistency(0.7)
    for wrong in ({"steps": 0}, {"fake_updates": 0}):
        with pytest.raises(UsageError, match="steps and fake_updates of at least 1"):
            DistillModule(teacher=str(teacher), method=method, **wrong)
    with pytest.raises(UsageError, match="expected a recipe"):
        DistillModule(teacher=str(teacher), method="consistency")
    with pytest.raises(UsageError, match="teacher-that-is-not"):
        DistillModule(teacher="teacher-that-is-not", method=method)
    module = DistillModule(teacher=str(teacher), method=method, guidance_scale=3.0)
    with pytest.raises(UsageError, match="batches need 'uncond'"):
        module.training_step({"x0": torch.zeros(2, 2)}, 0)
    (in_folder / "lacking").mkdir()
    config = (teacher / "config.yaml").read_text().replace("parameterization:", "other:")
    (in_folder / "lacking" / "config.yaml").write_text(config)
    (in_folder / "lacking" / "model.safetensors").write_bytes((teacher / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match="config.yaml lacks parameterization"):
        Pretrained.load(in_folder / "lacking")
    assert main(["fit", "experiment=distill/consistency"]) == 2
    assert "teacher" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(teacher, in_folder, capsys):
    fit("distill/consistency", teacher, "run", 2)
    before = (in_folder / "runs/run/checkpoints/last.ckpt").read_bytes()
    spoil = ["module.learning_rate=1e30", "overwrite=true", "callbacks.ema=null"]
    options = [f"teacher={teacher}", "name=run", "trainer.max_steps=9", "data.batch_size=64", *spoil]
    capsys.readouterr()
    assert main(["fit", "experiment=distill/consistency", *TOY, *options]) == 2
    assert "the last checkpoint is kept" in capsys.readouterr().err
    assert (in_folder / "runs/run/checkpoints/last.ckpt").read_bytes() == before


def test_guidance_is_distilled_into_one_call(teacher):
    """With guidance the target is the guided teacher's, and the student is asked once."""
    module = DistillModule(teacher=str(teacher), method=Consistency(0.7), guidance_scale=2.0)
    calls = []

    class Conditional(torch.nn.Module):
        def forward(self, x, t, cond=0.0):
            calls.append(cond)
            return x * cond

    object.__setattr__(module.teacher, "net", Conditional())
    nets = module._nets({"cond": 3.0, "uncond": 1.0})
    x, t = torch.ones(2, 2), torch.full((2,), 0.5)
    guided = nets.teacher(x, t)
    assert calls == [3.0, 1.0]
    conditional, plain = (x - t[:, None] * x * c for c in (3.0, 1.0))
    torch.testing.assert_close(guided, plain + 2 * (conditional - plain))
