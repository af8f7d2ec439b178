"""Recipes of the core on a voice: only the denoiser learns, padding does not count, students are read as taught."""

import pytest
import torch

from fewstep.audio.api import TextToSpeech
from fewstep.audio.data.tts import SpeechData
from fewstep.audio.distill import VoiceDistillModule, VoiceStudent
from fewstep.core.distill import distance
from fewstep.core.distill.consistency import Consistency
from fewstep.core.distill.ctm import ConsistencyTrajectory
from fewstep.core.distill.distribution import DistributionMatching
from fewstep.core.distill.progressive import Progressive
from fewstep.core.distill.reflow import PairDistillation, Reflow
from fewstep.core.distill.segment import ddim
from fewstep.core.errors import UsageError

from .conftest import RECORDINGS

RECIPES = {
    "progressive": Progressive(2, distance=distance.l1),
    "consistency": Consistency(1.0, steps=4, step=ddim, distance=distance.l1),
    "ctm": ConsistencyTrajectory(1.0, steps=4, leaps=2, step=ddim, distance=distance.l1),
    "reflow": Reflow(limit=1.0, distance=distance.l1),
    "pairs": PairDistillation(distance=distance.l1),
}
MEL = {"test_phrases": 1, "validation_phrases": 1}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Two recordings of different length."""
    data = SpeechData(folder=str(RECORDINGS), cache=str(tmp_path_factory.mktemp("cache")), batch_size=2, **MEL)
    data.prepare_data()
    data.setup()
    (found, *_) = data.train_dataloader()
    assert found["frame_mask"].sum(dim=(1, 2)).unique().numel() == 2
    return found


def module(voice_folder, recipe, **more):
    found = VoiceDistillModule(teacher=str(voice_folder / "voice"), method=recipe, **more)
    found.log = lambda *a, **k: None
    found.on_train_epoch_start()
    return found


def training_step(found, batch, monkeypatch):
    monkeypatch.setattr(VoiceDistillModule, "global_step", property(lambda self: 0))
    return found.training_step(batch, 0)


@pytest.mark.parametrize("name", RECIPES)
def test_only_the_denoiser_learns_and_padding_does_not_count(name, voice_folder, batch, monkeypatch):
    student = module(voice_folder, RECIPES[name])
    loss = training_step(student, batch, monkeypatch)
    loss.backward()
    moved = {
        key for key, value in student.net.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0
    }
    assert moved
    assert not any("condition_net" in key for key in moved)
    assert all(value.grad is None for value in student.teacher.parameters())
    assert all(value.grad is None for value in student.target.parameters())
    spoiled = dict(batch, mel=torch.where(batch["frame_mask"] > 0, batch["mel"], 1e3))
    torch.testing.assert_close(training_step(student, spoiled, monkeypatch), loss)


@pytest.mark.parametrize("name", ["progressive", "consistency", "ctm"])
def test_an_exported_student_speaks_as_it_was_taught(name, voice_folder, tmp_path):
    taught = module(voice_folder, RECIPES[name])
    taught.export(str(tmp_path))
    again, cond = VoiceStudent.load(tmp_path), taught.voice.condition(torch.tensor([[1, 20, 30, 4]]))
    for steps in (1, 2):
        ours = taught._student(taught.ema.module, bounded=True).speak(cond, steps=steps, seed=0)
        torch.testing.assert_close(again.speak(cond, steps=steps, seed=0), ours, rtol=0.05, atol=0.05)
    if name == "progressive":
        assert TextToSpeech.load(tmp_path, vocoder="griffin-lim").default_steps == 2
    else:
        with pytest.raises(UsageError, match="tts-student"):
            TextToSpeech.load(tmp_path, vocoder="griffin-lim")


def test_mistakes_are_named(voice_folder):
    with pytest.raises(UsageError, match="recipe of one loss"):
        module(voice_folder, DistributionMatching())
    with pytest.raises(UsageError, match="at least one step"):
        module(voice_folder, Progressive(2), steps=0)
    with pytest.raises(UsageError, match="no guidance to be distilled"):
        module(voice_folder, ConsistencyTrajectory(1.0, guidance=(1, 3)))
    with pytest.raises(UsageError, match="expected a voice or a student of one"):
        VoiceStudent.load(voice_folder / "vocoder")


def test_a_loss_that_is_not_finite_stops(voice_folder, batch, monkeypatch):
    student = module(voice_folder, RECIPES["reflow"])
    with torch.no_grad():
        student.net.denoiser.leave.weight.fill_(torch.nan)
    with pytest.raises(UsageError, match="the loss is nan at step 0"):
        training_step(student, batch, monkeypatch)
