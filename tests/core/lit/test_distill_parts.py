"""What surrounds a distillation: what is refused, what is kept on disk, how students are read again."""

import logging

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fewstep.core import parameterize, paths, sample, solvers, times
from fewstep.core.checkpoint import export
from fewstep.core.cli import main
from fewstep.core.distill.adversarial import Adversarial
from fewstep.core.distill.beside import PairJudge, VelocityRefiner
from fewstep.core.distill.consistency import Consistency
from fewstep.core.distill.ctm import ConsistencyTrajectory
from fewstep.core.distill.lora import Lora
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.refiner import Refinement
from fewstep.core.distill.reflow import PairDistillation, Reflow
from fewstep.core.errors import UsageError
from fewstep.core.lit import distill_checks
from fewstep.core.lit.distill import DistillModule
from fewstep.core.lit.distill_samples import save_samples
from fewstep.core.lit.pairs import PairData
from fewstep.core.lit.toy import PlaneNet, RingData
from fewstep.core.pretrained import TABLE, Pretrained

PLANE = {"_target_": "fewstep.core.lit.toy.PlaneNet"}


def model(folder, *, path="rectified_flow", kind="flow", **more):
    """An untrained net of the plane, exported."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = PlaneNet()
    config = {"kind": "diffusion", "model": PLANE, "path": {"_target_": f"fewstep.core.paths.{path}"}}
    return str(export(folder, net, config | {"parameterization": kind, "steps": 20} | more))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return model(tmp_path_factory.mktemp("teacher"))


def test_recipes_want_their_nets_and_no_others(teacher):
    judge, refiner = PairJudge(2, dims=0), VelocityRefiner(2, dims=0)
    wrong = [
        (Adversarial(2), {}, "Adversarial needs a discriminator"),
        (Reflow(), {"judge": judge}, "Reflow has no use for a discriminator"),
        (Refinement(), {}, "Refinement trains a refiner"),
        (Reflow(), {"refiner": refiner}, "Reflow has no use for a refiner"),
        (ConsistencyTrajectory(0.7), {"adapter": Lora()}, "does not go with `adapter`"),
        (ConsistencyTrajectory(0.7, guidance=(1, 3)), {"guidance_scale": 2.0}, "leave guidance_scale at 1"),
        (PairDistillation(), {"guidance_scale": 2.0}, "asks no teacher"),
        (Progressive(2), {"steps": 4}, "steps=4, but the recipe trains 2"),
    ]
    for method, more, message in wrong:
        with pytest.raises(UsageError, match=message):
            DistillModule(teacher=teacher, method=method, **more)


def test_a_student_of_another_kind_is_refused(teacher, tmp_path):
    other = model(tmp_path / "path", path="vp_linear")
    with pytest.raises(UsageError, match="differ in their path"):
        DistillModule(teacher=teacher, method=Reflow(), student=other)
    other = model(tmp_path / "kind", kind="x0")
    with pytest.raises(UsageError, match="differ in their parameterisation: x0 against flow"):
        DistillModule(teacher=teacher, method=Reflow(), student=other)
    module = DistillModule(teacher=teacher, method=Reflow(), student=model(tmp_path / "same"))
    assert module.net(torch.zeros(1, 2), torch.ones(1)).shape == (1, 2)


def test_data_of_another_shape_are_refused(teacher):
    module = DistillModule(teacher=teacher, method=Consistency(0.7))
    with pytest.raises(UsageError, match=r"cannot be asked about items of shape \[3\]"):
        module.training_step({"x0": torch.zeros(4, 3)}, 0)
    with pytest.raises(UsageError, match=r"cannot be asked .*give the data that the teacher was trained on"):
        module.training_step({"x0": torch.zeros(4, 2), "cond": torch.zeros(4)}, 0)
    with pytest.raises(UsageError, match="a pair is of one shape"):
        module.training_step({"x0": torch.zeros(4, 2), "eps": torch.zeros(4, 3)}, 0)

    class Narrow(torch.nn.Module):
        def forward(self, x, t):
            return x[:, :1]

    object.__setattr__(module.teacher, "net", Narrow())
    object.__setattr__(module.teacher, "parameterization", "x0")
    with pytest.raises(UsageError, match=r"answers items of shape \[2\] with \[1\]"):
        module.training_step({"x0": torch.zeros(4, 2)}, 0)


def test_progressive_distillation_halves(tmp_path):
    six, five = (model(tmp_path / str(n), steps=n, distilled="Progressive") for n in (6, 5))
    DistillModule(teacher=six, method=Progressive(3))
    with pytest.raises(UsageError, match=r"needs a teacher of 8, this one was made for 6; set method.steps=3"):
        DistillModule(teacher=six, method=Progressive(4))
    with pytest.raises(UsageError, match="5 is odd and cannot be halved"):
        DistillModule(teacher=five, method=Progressive(2))


def test_a_student_that_is_told_more_teaches_no_other(teacher, in_folder):
    module = DistillModule(teacher=teacher, method=ConsistencyTrajectory(0.7, guidance=(1.0, 5.0)))
    folder = str(module.export(in_folder / "student"))
    student = Pretrained.load(folder)
    assert student.told.guidance == [1.0, 5.0]
    assert student.sample(shape=(2, 2), steps=3, guidance_scale=4.0, generator=0).nfe == 3
    with pytest.raises(UsageError, match=r"learnt weights from 1.0 to 5.0"):
        student.sample(shape=(2, 2), guidance_scale=6.0)
    with pytest.raises(UsageError, match="this model is not told one"):
        Pretrained.load(teacher).sample(shape=(2, 2), guidance_scale=2.0)
    with pytest.raises(UsageError, match="cannot be distilled again"):
        DistillModule(teacher=folder, method=Reflow())


def test_weights_per_item_guide_the_teacher(teacher):
    module = DistillModule(teacher=teacher, method=ConsistencyTrajectory(0.7, guidance=(1.0, 5.0)))

    class Conditional(torch.nn.Module):
        def forward(self, x, t, cond):
            return x * cond

    object.__setattr__(module.teacher, "net", Conditional())
    nets = module._nets({"cond": 3.0, "uncond": 1.0})
    x, t, w = torch.ones(2, 2), torch.full((2,), 0.5), torch.tensor([1.0, 2.0])
    with_cond, without = (x - t[:, None] * x * c for c in (3.0, 1.0))
    torch.testing.assert_close(nets.guided(w)(x, t), without + w[:, None] * (with_cond - without))
    assert module._nets({"cond": 3.0}).guided is None


def test_a_student_keeps_its_times_and_its_table(teacher, in_folder):
    own = [1.0, 0.3, 0.1, 0.0]
    folder = DistillModule(teacher=teacher, method=Progressive(3, times=own)).export(in_folder / "student")
    student = Pretrained.load(folder)
    assert student.steps == 3
    assert student.grid().tolist() == own
    torch.testing.assert_close(student.grid(6)[::2], torch.tensor(own, dtype=torch.float64))
    torch.testing.assert_close(student.grid(1), torch.tensor([1.0, 0.0], dtype=torch.float64))
    drawn = student.sample(shape=(4, 2), generator=0)
    torch.testing.assert_close(drawn.times, torch.tensor(own, dtype=torch.float64))
    grid = torch.tensor(own, dtype=torch.float64)
    plain = sample(student.denoise(), student.path, times=grid, solver=solvers.ddim(), shape=(4, 2), generator=0)
    torch.testing.assert_close(drawn.x, plain.x)
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == PlaneNet().state_dict().keys()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"sha256": "0" * 64}))
    with pytest.raises(UsageError, match="tuned for the net"):
        Pretrained.load(folder)
    (folder / TABLE).unlink()
    assert Pretrained.load(folder).grid().tolist() == own


def test_a_gan_is_sampled_with_latents_of_the_items_own(teacher, in_folder):
    module = DistillModule(teacher=teacher, method=Adversarial(2), judge=PairJudge(2, dims=0))
    with torch.no_grad():
        for part in module.net.project.values():
            part.weight.normal_(generator=torch.Generator().manual_seed(0))
    student = Pretrained.load(module.export(in_folder / "student"))
    both = student.sample(shape=(2, 2), generator=5).x
    torch.testing.assert_close(student.sample(shape=(3, 2), generator=5).x[:2], both, rtol=1e-5, atol=1e-6)
    assert not torch.equal(student.sample(shape=(2, 2), generator=6).x, both)


def test_teachers_may_be_runs_and_their_checkpoints(in_folder, caplog):
    options = ["experiment=core/toy", "name=t", "trainer.max_steps=3", "data.n=64", "logger=none"]
    assert main(["fit", *options]) == 0
    x, t = torch.ones(2, 2), torch.full((2,), 0.5)
    shipped = Pretrained.load("runs/t/export").denoise()(x, t)
    torch.testing.assert_close(Pretrained.load("runs/t").denoise()(x, t), shipped)
    with caplog.at_level(logging.WARNING):
        averaged = Pretrained.load("runs/t/checkpoints/last.ckpt")
    assert not caplog.records
    torch.testing.assert_close(averaged.denoise()(x, t), shipped, rtol=1e-2, atol=1e-2)  # stored in half precision
    assert "averaged" not in Pretrained.load("runs/t").config
    assert main(["fit", *options, "overwrite=true", "callbacks.ema=null"]) == 0
    assert Pretrained.load("runs/t").config["averaged"] is False
    with caplog.at_level(logging.WARNING):
        Pretrained.load("runs/t/checkpoints/last.ckpt")
    assert "no averaged weights" in caplog.text
    job = in_folder / "runs/t/fit.yaml"
    kept = yaml.safe_load(job.read_text())
    for change, message in (
        ({"net": PLANE | {"width": 8}}, "does not fit the net"),
        ({"net": None}, "names no net and path"),
    ):
        module = {k: v for k, v in (kept["module"] | change).items() if v is not None}
        job.write_text(yaml.safe_dump(kept | {"module": module}))
        with pytest.raises(UsageError, match=message):
            Pretrained.load("runs/t/checkpoints/last.ckpt")
    job.unlink()
    with pytest.raises(UsageError, match="read with the job that made it"):
        Pretrained.load("runs/t/checkpoints/last.ckpt")


def test_a_teacher_without_averaged_weights_is_mentioned(tmp_path, caplog):
    raw = model(tmp_path, averaged=False)
    with caplog.at_level(logging.WARNING):
        DistillModule(teacher=raw, method=Reflow())
    assert "without averaged weights" in caplog.text


def test_memory_running_out_comes_with_advice():
    for error in (
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        with pytest.raises(UsageError, match=r"halve data.batch_size"), distill_checks.memory_advice():
            raise error
    with pytest.raises(RuntimeError, match="something else"), distill_checks.memory_advice():
        raise RuntimeError("something else")


@pytest.mark.parametrize(
    "experiment",
    ["distill/ctm", "distill/moment_matching", "distill/distribution_matching", "distill/unrolled", "distill/energy"],
)
def test_half_precision_rates_that_fall_and_clipping(experiment, teacher, in_folder):
    more = ["trainer.precision=bf16-mixed", "++module.total_steps=6", "++module.gradient_clip=1.0"]
    sizes = ["data.n=64", "data.batch_size=16", "trainer.max_steps=6", "logger=none", "name=s"]
    assert main(["fit", f"experiment={experiment}", f"teacher={teacher}", *sizes, *more]) == 0
    weights = load_file("runs/s/export/model.safetensors")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_samples_are_kept_as_arrays_and_as_pictures(tmp_path):
    from matplotlib.image import imread

    found = {name: torch.rand(100, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1 for name in ("a", "b")}
    file = save_samples(tmp_path / "samples", 7, found)
    assert load_file(file)["a"].shape == (64, 3, 4, 5)
    sheet = imread(file.with_suffix(".png"))
    assert sheet.shape[:2] == (2 * 4, 8 * 5)
    torch.testing.assert_close(
        torch.from_numpy(sheet[:4, :5, :3]).permute(2, 0, 1), found["a"][0] / 2 + 0.5, rtol=0, atol=1 / 254
    )
    points = save_samples(tmp_path / "points", 8, {"a": torch.zeros(3, 2)})
    assert [item.name for item in points.parent.iterdir()] == ["0000008.safetensors"]


class Told(torch.nn.Module):
    """A net that repeats what it is told."""

    def forward(self, x, t, cond):
        return cond.expand_as(x)


class ToldData(RingData):
    """Points with a condition each."""

    def train_dataloader(self):
        points = self.points(20, 0)
        items = [{"x0": p, "cond": p[:1] * 0 + i, "uncond": p[:1] * 0 - 1} for i, p in enumerate(points)]
        return torch.utils.data.DataLoader(items, batch_size=6)


def test_pairs_of_a_guided_teacher_keep_what_it_was_told(tmp_path, monkeypatch):
    path = paths.rectified_flow()
    fake = Pretrained(Told(), path, "x0", 4, None, {"sha256": "a"})
    monkeypatch.setattr(Pretrained, "load", classmethod(lambda cls, name, **more: fake))
    options = {"teacher": "any", "n": 24, "batch_size": 8, "steps": 2, "cache": str(tmp_path)}
    data = PairData(data=ToldData(), guidance_scale=3.0, **options)
    data.prepare_data()
    data.setup()
    kept = data.kept
    assert kept["cond"].flatten().tolist() == [float(i % 20) for i in range(24)]
    torch.testing.assert_close(kept["x0"], (-1 + 3 * (kept["cond"] + 1)).expand(24, 2))
    assert set(next(iter(data.train_dataloader()))) == {"x0", "eps", "cond", "uncond"}
    with pytest.raises(UsageError, match="batches have 'uncond'"):
        PairData(shape=[2], guidance_scale=2.0, **options).prepare_data()
    with pytest.raises(UsageError, match="need the `shape` of an item, or `data`"):
        PairData(teacher="any")


def test_a_teacher_of_its_own_grid_is_not_asked_elsewhere(teacher):
    """Parameterisation and path are those of the export, whatever the net."""
    loaded = Pretrained.load(teacher)
    x, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.4)
    torch.testing.assert_close(loaded.denoise()(x, t), parameterize.flow(loaded.net, loaded.path)(x, t))
    assert loaded.grid(4).tolist() == times.uniform(loaded.path, 4).tolist()
