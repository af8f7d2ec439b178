import numpy as np
import pytest
import soundfile
import torch

from fewstep.audio.enhance import damage, noises
from fewstep.audio.enhance.corpus import audio_files, decode
from fewstep.audio.enhance.data import MixedData, PairedData, parts_of, sides_of
from fewstep.audio.enhance.level import Level, gain_of
from fewstep.audio.enhance.mix import Mixer
from fewstep.audio.enhance.pairs import paired_files
from fewstep.audio.enhance.rooms import Response, bank, plate, simulate

RATE = 8000


def tone(seconds, frequency=300.0):
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * t) * (np.sin(2 * np.pi * 2 * t) > 0)).astype(np.float32)


@pytest.fixture
def folders(tmp_path):
    """Voices that beep, two noises, and a plate."""
    for name, wavs in {
        "speech": [tone(1.5, 200 + 40 * i) for i in range(6)],
        "noise": [0.1 * np.random.default_rng(i).standard_normal(3 * RATE) for i in range(2)],
        "rir": [np.random.default_rng(5).standard_normal(RATE) * np.exp(-np.arange(RATE) / 1000)],
    }.items():
        (tmp_path / name).mkdir()
        for i, wav in enumerate(wavs):
            soundfile.write(tmp_path / name / f"{i}.wav", wav, RATE, subtype="FLOAT")
    return tmp_path


def mixed(folders, **options):
    places = {name: str(folders / name) for name in ("speech", "noise", "rir")}
    sizes = {"sample_rate": RATE, "frames": 65, "hop": 64, "batch_size": 2, "pairs": 4, "rooms": 2, "t60": (0.2, 0.3)}
    return MixedData(**places, cache=str(folders / "cache"), **sizes | options)


@pytest.mark.parametrize("task", ["denoise", "dereverb", "restore"])
def test_a_pair_depends_on_seed_epoch_and_index_alone(folders, task):
    batches = []
    for _ in range(2):
        data = mixed(folders, task=task)
        data.prepare_data()
        data.setup()
        batches.append([batch for _ in range(2) for batch in data.train_dataloader()])
    assert len(batches[0]) == 4
    for ours, theirs in zip(*batches, strict=True):
        assert ours["x0"].shape == ours["y"].shape == (2, 64 * 64)
        assert torch.equal(ours["x0"], theirs["x0"])
        assert torch.equal(ours["y"], theirs["y"])
        assert torch.isfinite(ours["y"]).all()
    assert not torch.equal(batches[0][0]["y"], batches[0][1]["y"])
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert next(iter(loader))["x0"].shape[1] == 64 * 64


def test_the_signal_to_noise_ratio_is_the_drawn_one(folders):
    clips = decode(audio_files(folders / "speech"), RATE, folders / "cache")
    noise = decode(audio_files(folders / "noise"), RATE, folders / "cache")
    mixer = Mixer(clips, RATE, noise=noise, snr=(6.0, 6.0), augment=False, generated=0.0)
    clean, noisy = mixer.degrade(clips[0], np.random.default_rng(0))
    loud = np.square(clean).reshape(-1, 50).mean(1)
    power = loud[loud > loud.max() * 1e-2].mean()
    assert 10 * np.log10(power / np.square(noisy - clean).mean()) == pytest.approx(6, abs=0.7)


def test_noise_of_the_test_is_never_heard_in_training(folders):
    clips = decode(audio_files(folders / "noise"), RATE, folders / "cache")
    train, test = parts_of(clips, 0.0, 0.6), parts_of(clips, 0.7, 1.0)
    for i in range(len(clips)):
        np.testing.assert_allclose(train[i], clips[i][: train.length(i)], atol=1e-4)
        np.testing.assert_allclose(test[i], clips[i][-test.length(i) :], atol=1e-4)
        assert train.length(i) + test.length(i) < clips.length(i)


def test_sides_share_no_recording(folders):
    sides = sides_of(folders / "speech")
    assert len({file for files in sides.values() for file in files}) == sum(map(len, sides.values())) == 6


def test_decoding_happens_once(folders, monkeypatch):
    files = audio_files(folders / "speech")
    first = decode(files, RATE, folders / "cache")
    monkeypatch.setattr("fewstep.audio.enhance.corpus.read_audio", None)
    again = decode(files, RATE, folders / "cache")
    np.testing.assert_array_equal(first[3], again[3])
    np.testing.assert_allclose(first[3], soundfile.read(files[3])[0], atol=1e-4)


def test_folders_that_do_not_fit(folders):
    with pytest.raises(ValueError, match="is no folder"):
        audio_files(folders / "nowhere")
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no recording"):
        audio_files(folders / "empty")
    with pytest.raises(ValueError, match="expected a task out of"):
        mixed(folders, task="declip")
    with pytest.raises(ValueError, match="at least three recordings"):
        sides_of(folders / "noise")


@pytest.mark.parametrize("kind", [noises.coloured, noises.hum, noises.clicks])
def test_generated_noises(kind):
    one, same, other = (kind(4000, RATE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (4000,)
    assert np.isfinite(one).all()
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("kind", [damage.band_limit, damage.companded, damage.coded, damage.clipped])
def test_damage_leaves_speech_where_it_was(kind):
    wav = tone(1.0, 440).astype(np.float64) + 0.05 * np.random.default_rng(0).standard_normal(RATE)
    for seed in range(4):
        out = kind(wav, RATE, np.random.default_rng(seed))
        assert out.shape == wav.shape
        assert np.isfinite(out).all()
        assert not np.allclose(out, wav, atol=1e-3)
        assert np.corrcoef(out, wav)[0, 1] > 0.7


def test_a_room_has_its_direct_sound_first_and_dies_away():
    room = simulate(RATE, np.random.default_rng(0), t60=(0.3, 0.4))
    assert 0.2 < room.t60 < 0.6
    peak = int(np.abs(room.direct).argmax())
    assert room.direct[peak] == pytest.approx(1, abs=1e-3)
    assert room.whole[peak] == pytest.approx(1, abs=0.1)
    assert np.square(room.whole[: peak - 20]).sum() < 0.05 * np.square(room.whole).sum()
    assert np.square(room.whole[-200:]).mean() < 1e-3 * np.square(room.whole[:400]).mean()


def test_rooms_are_kept(tmp_path, monkeypatch):
    made = bank(tmp_path, RATE, count=2, seed=3, t60=(0.2, 0.3))
    monkeypatch.setattr("fewstep.audio.enhance.rooms.simulate", None)
    kept = bank(tmp_path, RATE, count=2, seed=3, t60=(0.2, 0.3))
    np.testing.assert_array_equal(made[1].whole, kept[1].whole)
    assert made[0].t60 != made[1].t60


def test_a_plate_gets_a_direct_sound_and_a_drawn_decay():
    response = plate(np.random.default_rng(0).standard_normal(RATE), RATE, np.random.default_rng(1), t60=(0.3, 0.3))
    assert isinstance(response, Response)
    assert response.t60 == 0.3
    assert response.whole[0] >= 0.5
    assert len(response.whole) < RATE


def test_the_level_is_that_of_the_whole_for_any_pieces():
    wav = np.random.default_rng(0).standard_normal((2, 10_000)) * np.linspace(0, 0.1, 10_000)
    level = Level()
    for i in range(0, 10_000, 777):
        level.add(wav[:, i : i + 777])
    assert level.gain() == gain_of(wav)
    assert gain_of(wav + 0.5) == gain_of(wav)
    assert gain_of(0.1 * wav) == pytest.approx(10 * gain_of(wav), rel=0.03)
    assert gain_of(np.zeros(1000)) == gain_of(np.zeros(1000), "peak") == 1.0
    assert gain_of(wav, "peak") == pytest.approx(1 / np.abs(wav).max())
    with pytest.raises(ValueError, match="expected a level out of loud, peak"):
        gain_of(wav, "quiet")


@pytest.fixture
def pair_folder(tmp_path):
    def make(*sides):
        for side in sides:
            for kind in ("clean", "noisy"):
                name = side.format(kind)
                (tmp_path / name).mkdir(parents=True, exist_ok=True)
                for i in range(3):
                    wav = tone(1, 200 + 30 * i) + (0.05 if kind == "noisy" else 0)
                    soundfile.write(tmp_path / name / f"p{i}.wav", wav, RATE)
        return tmp_path

    return make


@pytest.mark.parametrize("sides", [("{}_trainset_28spk_wav", "{}_testset_wav"), ("train/{}", "valid/{}", "test/{}")])
def test_layouts_of_pairs(pair_folder, sides):
    folder = pair_folder(*sides)
    found = paired_files(folder)
    assert {side: len(pairs) for side, pairs in found.items()} == {"train": 3, "validation": 3, "test": 3}
    clean, noisy = found["test"].read(1, RATE)
    np.testing.assert_allclose(noisy - clean, 0.05, atol=1e-3)
    data = PairedData(folder=str(folder), sample_rate=RATE, frames=33, hop=64, batch_size=2, pairs=4)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["y"].shape == (2, 32 * 64)
    assert batch["y"].abs().amax(1).max() == pytest.approx(1, abs=1e-3)


def test_pairs_that_do_not_match(pair_folder):
    folder = pair_folder("train/{}")
    (folder / "train" / "noisy" / "p1.wav").unlink()
    with pytest.raises(ValueError, match=r"1 recordings have no partner of the same name, the first: p1\.wav"):
        paired_files(folder)
    with pytest.raises(ValueError, match="expected folders clean_trainset"):
        paired_files(folder / "train")
    soundfile.write(folder / "train" / "noisy" / "p1.wav", tone(0.5), RATE)
    with pytest.raises(ValueError, match="are no pair"):
        paired_files(folder)["train"].read(1, RATE)
