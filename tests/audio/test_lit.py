import copy

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fewstep.audio.api import TextToSpeech
from fewstep.audio.data.tts import LengthBuckets, SpeechData
from fewstep.audio.data.vocoder import VocoderData
from fewstep.audio.lit import ProDiffModule, ProDiffStudentModule, VocoderModule
from fewstep.audio.models.discriminators import Discriminators


def trainer(folder, steps, every=1, **options):
    return lightning.Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, reload_dataloaders_every_n_epochs=1,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=every)], **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from pathlib import Path

    folder = Path(__file__).parents[1] / "data" / "speech"
    options = {"test_phrases": 1, "validation_phrases": 1, "batch_size": 2}
    cache = str(tmp_path_factory.mktemp("cache"))
    return {
        "speech": lambda: SpeechData(folder=str(folder), cache=cache, **options),
        "vocoder": lambda: VocoderData(folder=str(folder), cache=cache, frames=16, **options),
    }


def checkpoint_of(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the second half writes elsewhere
def test_teacher_learns_resumes_and_speaks(net, data, tmp_path):
    """Four steps in one go equal two steps, a stop and two more; what is exported can be loaded and speaks."""
    with torch.random.fork_rng():
        for part in net.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        make = lambda: ProDiffModule(net=copy.deepcopy(net), total_steps=4, learning_rate=1e-3)  # noqa: E731
        whole = make()
        trainer(tmp_path / "whole", 4).fit(whole, data["speech"]())
        trainer(tmp_path / "parts", 2).fit(make(), data["speech"]())
        resumed = make()
        trainer(tmp_path / "rest", 4).fit(resumed, data["speech"](), ckpt_path=tmp_path / "parts" / "last.ckpt")
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
    buckets = list(LengthBuckets(lengths, 8, (0, 1)))
    assert sorted(i for batch in buckets for i in batch) == list(range(103))
    spread = [max(lengths[i] for i in b) / min(lengths[i] for i in b) for b in buckets]
    assert sorted(spread)[len(spread) // 2] < 1.4
    assert list(LengthBuckets(lengths, 8, (0, 1))) == buckets
    assert list(LengthBuckets(lengths, 8, (0, 2))) != buckets


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
