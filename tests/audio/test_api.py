import pytest
import torch

import fewstep.audio
from fewstep.audio import TextToSpeech
from fewstep.audio.mel import MelSpec
from fewstep.audio.models.griffin_lim import GriffinLim
from fewstep.audio.text.frontend import EmptyText
from fewstep.core.errors import UsageError


@pytest.fixture(scope="module")
def tts(voice_folder):
    return TextToSpeech.load(voice_folder / "voice")


def test_speech_is_whole(tts):
    speech = tts("Hello there. How are you?", seed=3)
    assert speech.wav.shape == (1, speech.mel.shape[-1] * 256)
    assert speech.wav.abs().max() <= 1
    assert (speech.steps, speech.nfe, speech.seed, speech.sample_rate) == (2, 2, 3, 22050)
    assert [w for w, _, _ in speech.words] == ["hello", "there", "how", "are", "you"]
    edges = [edge for _, start, end in speech.words for edge in (start, end)]
    assert edges == sorted(edges)
    assert edges[-1] <= speech.seconds
    assert speech.real_time_factor > 0


def test_seeds_repeat_and_differ(tts):
    first, again, other = (tts("Hello.", seed=s).wav for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_sentence_does_not_depend_on_those_after_it(tts):
    alone, followed = tts("Hello there."), tts("Hello there. And more.")
    assert torch.equal(followed.wav[:, : alone.wav.shape[1]], alone.wav)


def test_the_global_random_state_is_not_touched(tts):
    before = torch.get_rng_state()
    tts("Hello.")
    assert torch.equal(torch.get_rng_state(), before)


def test_pauses_lie_between_sentences(tts):
    without, with_pause = tts("One. Two.", pause=0.0), tts("One. Two.", pause=0.5)
    assert with_pause.seconds - without.seconds == pytest.approx(0.5, abs=0.02)
    first_end, second_start = with_pause.words[0][2], with_pause.words[1][1]
    middle = with_pause.wav[0, int((first_end + 0.1) * 22050) : int((second_start - 0.1) * 22050)]
    assert (middle == 0).any()


def test_speed(tts):
    text = "A longer sentence, so that rounding does not matter."
    assert tts(text, speed=2.0).seconds == pytest.approx(tts(text).seconds / 2, rel=0.05)


def test_stream_gives_sentences_one_by_one(tts):
    parts = list(tts.stream("One. Two. Three."))
    assert [p.words[0][0] for p in parts] == ["one", "two", "three"]


def test_unknown_characters_are_reported_once(tts):
    speech = tts("Hello 中 there 中. And 中 again.")
    assert speech.unknown == ("中",)


def test_ten_thousand_characters(tts):
    speech = tts("This is a sentence of a very long text. " * 250, steps=1)
    assert len(speech.words) == 250 * 9


@pytest.mark.parametrize("text", ["", "   ", "...!?", "🙂🙂", "\x00\x07"])
def test_nothing_to_say(tts, text):
    with pytest.raises(EmptyText, match="nothing to say"):
        tts(text)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("steps", 0, "steps is a whole number from 1"),
        ("steps", -2, "steps is a whole number from 1"),
        ("steps", 2.0, "steps is a whole number"),
        ("seed", -1, "seed is a whole number from 0"),
        ("speed", 0.0, "speed is a number from 0.25 to 4"),
        ("speed", float("nan"), "speed is a number from 0.25 to 4"),
        ("pitch", 30, "pitch is a number from -12 to 12"),
        ("energy", "loud", "energy is a number from -12 to 12"),
        ("pause", -1.0, "pause is 0 to 10 seconds"),
    ],
)
def test_numbers_out_of_range(tts, option, value, message):
    with pytest.raises(ValueError, match=message):
        tts("Hello.", **{option: value})


def test_unknown_voice():
    with pytest.raises(UsageError, match="no model of kind 'tts' is called 'nobody'"):
        TextToSpeech.load("nobody")


def test_a_vocoder_is_no_voice(voice_folder):
    with pytest.raises(UsageError, match="expected a model of kind 'tts'"):
        TextToSpeech.load(voice_folder / "vocoder")


def test_a_pickle_is_refused(voice_folder, tmp_path):
    (tmp_path / "config.yaml").write_text((voice_folder / "voice" / "config.yaml").read_text())
    torch.save({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"safetensors"):
        TextToSpeech.load(tmp_path)


def test_voice_and_vocoder_must_agree(tts):
    with pytest.raises(ValueError, match="they must be the same"):
        TextToSpeech(tts.net, tts.path, GriffinLim(MelSpec(hop=200)), steps=2)


def test_unknown_front_end(tts):
    with pytest.raises(ValueError, match="front end is one of builtin, espeak, gruut"):
        TextToSpeech(tts.net, tts.path, tts.vocoder, steps=2, backend="festival")


def test_no_other_name():
    with pytest.raises(AttributeError, match="Nothing"):
        fewstep.audio.Nothing  # noqa: B018


def test_a_tuned_cache_is_used_for_its_steps(voice_folder, tmp_path):
    import shutil

    from fewstep.core import cli

    folder = shutil.copytree(voice_folder / "voice", tmp_path / "voice")
    assert cli.main(["cache", "tune", str(folder), "--steps", "6", "--unit", "calls", "--budget", "3"]) in (0, 1)
    assert (folder / "tuned-6.cache.json").is_file()
    plain, cached = (TextToSpeech.load(folder, cache=cache)("Hello there.", steps=6) for cache in (None, "tuned"))
    assert (plain.nfe, cached.nfe) == (6, 3)
    assert plain.wav.shape == cached.wav.shape
    with pytest.raises(FileNotFoundError, match=r"tuned-5\.cache\.json does not exist"):
        TextToSpeech.load(folder, cache="tuned")("Hello there.", steps=5)
    with pytest.raises(ValueError, match='expected cache="tuned" or none'):
        TextToSpeech.load(folder, cache="best")
