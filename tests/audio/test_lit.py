import copy

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fewstep.audio.api import TextToSpeech
from fewstep.audio.data.tts import SpeechData, buckets
from fewstep.audio.data.vocoder import VocoderData
from fewstep.audio.lit import ProDiffModule, ProDiffStudentModule, VocoderModule
from fewstep.audio.models.discriminators import Discriminators
from fewstep.core import checkpoint
from fewstep.core.errors import UsageError


def trainer(folder, steps, every=1, **options):
    return lightning.Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=every)], **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from pathlib import Path

    folder = Path(__file__).parents[1] / "data" / "speech"
    options = {"test_phrases": 1, "validation_phrases": 1, "batch_size": 2}
    cache = str(tmp_path_factory.mktemp("cache"))
    return {
        "speech": lambda **other: SpeechData(folder=str(folder), cache=cache, **options | other),
        "vocoder": lambda: VocoderData(folder=str(folder), cache=cache, frames=16, **options),
    }


def checkpoint_of(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the second half writes elsewhere
def test_teacher_learns_resumes_and_speaks(net, data, tmp_path):
    """Four steps in one go equal three, a stop within an epoch, and one more; what is exported loads and speaks."""
    with torch.random.fork_rng():
        for part in net.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        make = lambda: ProDiffModule(net=copy.deepcopy(net), total_steps=4, learning_rate=1e-3)  # noqa: E731
        whole = make()
        single = lambda: data["speech"](batch_size=1)  # noqa: E731
        trainer(tmp_path / "whole", 4).fit(whole, single())
        trainer(tmp_path / "parts", 3).fit(make(), single())
        resumed = make()
        trainer(tmp_path / "rest", 4).fit(resumed, single(), ckpt_path=tmp_path / "parts" / "last.ckpt")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert checkpoint_of(tmp_path / "whole")["global_step"] == 4
    statistics = data["speech"]()
    statistics.setup()
    assert tuple(whole.net.statistics[0].tolist()) == pytest.approx(statistics.statistics().mel)
    tester = trainer(tmp_path / "test", 4)
    (measured,) = tester.test(whole, data["speech"](), verbose=False)
    assert measured.keys() == {"test/l1_1", "test/l1_2", "test/l1_4"}
    (mels,) = tester.predict(whole, data["speech"]())
    assert mels.shape[1] == 80
    whole.export(tmp_path / "voice")
    speech = TextToSpeech.load(tmp_path / "voice", vocoder="griffin-lim")("Hello.", steps=1)
    assert speech.wav.shape[-1] == speech.mel.shape[-1] * 256


def test_a_teacher_goes_on_from_a_voice(voice_folder, data, tmp_path):
    """It starts at the voice's weights with the voice's statistics, whatever the new data's are, and learns."""
    module = ProDiffModule(start=str(voice_folder / "voice"), total_steps=2, learning_rate=1e-3)
    before = copy.deepcopy(module.net.state_dict())
    assert all(p.requires_grad for p in module.net.parameters())
    with torch.random.fork_rng():
        trainer(tmp_path, 2).fit(module, data["speech"]())
    after = module.net.state_dict()
    assert torch.equal(after["statistics"], before["statistics"])
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"condition_net", "denoiser"}


def test_modules_need_something_to_start_from(vocoder, tmp_path):
    with pytest.raises(ValueError, match="needs `net`, or `start`"):
        ProDiffModule()
    discriminators = Discriminators(periods=(2,), resolutions=(512,), period_channels=2, resolution_channels=2)
    with pytest.raises(ValueError, match="needs `generator`, or `start`"):
        VocoderModule(discriminators=discriminators)
    VocoderModule(generator=vocoder, discriminators=discriminators).export(tmp_path / "vocoder")
    again = VocoderModule(start=str(tmp_path / "vocoder"), discriminators=discriminators)
    for name, value in vocoder.state_dict().items():
        torch.testing.assert_close(again.generator.state_dict()[name], value, rtol=1e-3, atol=1e-3, msg=name)
    assert all(p.requires_grad for p in again.generator.parameters())
    model = {"_target_": "fewstep.audio.models.vocos.Vocos", **vocoder.config()}
    checkpoint.export(tmp_path / "other", vocoder, {"kind": "tts", "model": model, "path": {}})
    with pytest.raises(UsageError, match="expected a ProDiff voice"):
        ProDiffModule(start=str(tmp_path / "other"))


def test_student_learns_the_denoiser_only(voice_folder, data, tmp_path):
    student = ProDiffStudentModule(teacher=str(voice_folder / "voice"), steps=2, total_steps=3, learning_rate=1e-2)
    before = copy.deepcopy(student.net.state_dict())
    with torch.random.fork_rng():
        trainer(tmp_path, 3).fit(student, data["speech"]())
    moved = {
        name.split(".")[0] for name, value in student.net.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == {"denoiser"}
    for name, value in student.teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)
    assert not any("teacher" in key for key in checkpoint_of(tmp_path)["state_dict"])
    student.export(tmp_path / "student")
    assert TextToSpeech.load(tmp_path / "student", vocoder="griffin-lim").default_steps == 2


def test_a_student_has_steps(voice_folder):
    with pytest.raises(ValueError, match="at least one step"):
        ProDiffStudentModule(teacher=str(voice_folder / "voice"), steps=0)


def test_vocoder_trains_in_both_phases(vocoder, data, tmp_path):
    module = VocoderModule(
        generator=vocoder,
        discriminators=Discriminators(periods=(2,), resolutions=(512,), period_channels=2, resolution_channels=2),
        adversarial_start=1,
        total_steps=3,
        ema_decay=0.5,
    )
    before = copy.deepcopy(module.discriminators.state_dict())
    with torch.random.fork_rng():
        trainer(tmp_path, -1, every=None, max_epochs=3).fit(module, data["vocoder"]())
    assert int(module.steps) >= 2
    assert any(not torch.equal(v, before[k]) for k, v in module.discriminators.state_dict().items())
    assert "state_dict" in checkpoint_of(tmp_path)
    module.export(tmp_path / "vocoder")
    assert (tmp_path / "vocoder" / "model.safetensors").exists()


def test_batches_hold_similar_lengths_and_every_item_once():
    lengths = torch.randint(50, 500, (103,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = buckets(lengths, 8, (0, 1))
    assert sorted(i for batch in batches for i in batch) == list(range(103))
    spread = [max(lengths[i] for i in b) / min(lengths[i] for i in b) for b in batches]
    assert sorted(spread)[len(spread) // 2] < 1.4
    assert buckets(lengths, 8, (0, 1)) == batches
    assert buckets(lengths, 8, (0, 2)) != batches


def test_the_students_own_steps_lead_to_where_it_is_taught(voice_folder):
    """Items taught at t = 1 stay at the prior; those at t = 1/2 are where one of the student's steps leads."""
    student = ProDiffStudentModule(teacher=str(voice_folder / "voice"), steps=2)
    student.net.eval()
    cond = student.net.condition(torch.tensor([[1, 20, 30, 4]] * 2))
    x0, eps = torch.randn(2, 2, 80, cond.frames.shape[-1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = student._roll(x0, eps, torch.tensor([2, 1]), cond)
        prior = student.path.sample(x0, eps, torch.ones(2))
        guess = student.net(prior, torch.ones(2), cond)
    torch.testing.assert_close(x[0], prior[0])
    (a, _, s), (ar, _, sr) = (student.path.coefficients(t) for t in (1.0, 0.5))
    wanted = ar * guess[1] + sr / s * (prior[1] - a * guess[1])
    torch.testing.assert_close(x[1], wanted.float(), rtol=1e-4, atol=1e-5)


def test_the_students_times_can_be_shifted_towards_the_data(voice_folder, tmp_path):
    student = ProDiffStudentModule(teacher=str(voice_folder / "voice"), steps=2, shift=1 / 3)
    numbers = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0])
    torch.testing.assert_close(student._time(numbers), torch.tensor([1.0, 0.5, 0.25, 0.1, 0.0]))
    student.export(tmp_path / "student")
    assert TextToSpeech.load(tmp_path / "student", vocoder="griffin-lim").shift == pytest.approx(1 / 3)


def test_a_student_may_be_told_its_own_prosody(voice_folder, data):
    """Where the draw falls below the share, what it is told is what the predictors say; durations stay recorded."""
    student = ProDiffStudentModule(teacher=str(voice_folder / "voice"), steps=2, own_prosody=0.5)
    speech = data["speech"]()
    speech.prepare_data()
    speech.setup()
    batch = next(iter(speech.train_dataloader()))
    with torch.no_grad():
        mixed = student._condition(batch, torch.tensor([0.9, 0.1]))
        recorded = student.teacher.condition(batch["tokens"], student._prosody(student.teacher, batch))
    torch.testing.assert_close(mixed.frames[0], recorded.frames[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(mixed.frames[1], recorded.frames[1], rtol=1e-2, atol=1e-2)
    assert torch.equal(mixed.durations, recorded.durations)
    with pytest.raises(ValueError, match="own_prosody is a share"):
        ProDiffStudentModule(teacher=str(voice_folder / "voice"), own_prosody=2)
