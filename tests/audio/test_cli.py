import io
import json
import sys

import pytest
import soundfile

from fewstep.core.cli import main


@pytest.fixture
def tts(voice_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *args: main(["tts", *args, "--voice", str(voice_folder / "voice")])


def test_a_wav_file(tts, tmp_path, capsys):
    assert tts("Hello there.", "-o", "new/out.wav", "--seed", "4") == 0
    info = soundfile.info(tmp_path / "new" / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
    said = capsys.readouterr().out
    assert "2 network calls" in said
    assert "real-time factor" in said
    assert "without the vocoder" in said


def test_steps_are_obeyed(tts, capsys):
    assert tts("Hello.", "-o", "a.wav", "--steps", "3", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["steps"], facts["nfe"]) == (3, 3)
    assert [w["word"] for w in facts["words"]] == ["hello"]


def test_a_file_of_lines_becomes_a_folder_that_is_never_overwritten(tts, tmp_path):
    (tmp_path / "in.txt").write_text("First line.\n\nSecond line!\nFirst line.\n")
    assert tts("--file", "in.txt", "-o", "out") == 0
    names = sorted(f.name for f in (tmp_path / "out").iterdir())
    assert names == ["0001-first-line.wav", "0002-second-line.wav", "0003-first-line.wav"]
    before = (tmp_path / "out" / names[0]).read_bytes()
    assert tts("--file", "in.txt", "-o", "out", "--seed", "9") == 0
    assert len(list((tmp_path / "out").iterdir())) == 6
    assert (tmp_path / "out" / names[0]).read_bytes() == before


def test_one_bad_line_does_not_stop_the_others(tts, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("First.\n...\nThird.\n")
    assert tts("--file", "in.txt", "-o", "out") == 1
    assert len(list((tmp_path / "out").iterdir())) == 2
    message = capsys.readouterr().err
    assert "line 2 skipped: nothing to say" in message
    assert "1 of 3 lines failed" in message


def test_standard_input_as_one_document(tts, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One.\nTwo.\n")))
    assert tts("--file", "-", "-o", "all.wav") == 0
    assert (tmp_path / "all.wav").exists()


def test_unknown_characters_are_named_once_for_a_whole_file(tts, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("One 中.\nTwo 中.\n", encoding="utf-8")
    assert tts("--file", "in.txt", "-o", "out") == 0
    assert capsys.readouterr().err.count("中") == 1


def test_emoji_and_control_characters_are_named_once(tts, capsys):
    assert tts("Hello 中 there 中\x07!", "-o", "a.wav") == 0
    assert capsys.readouterr().err.count("中") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("", "-o", "a.wav"), "nothing to say"),
        (("?!...", "-o", "a.wav"), "nothing to say"),
        (("Hi.", "-o", "a.wav", "--steps", "-1"), "steps is a whole number from 1"),
        (("Hi.", "-o", "a.wav", "--speed", "9"), "speed is a number"),
        (("Hi.", "-o", "a.mp3"), "-o wants a .wav file"),
        (("Hi.", "--file", "x.txt", "-o", "a.wav"), "either a text or --file"),
        (("-o", "a.wav"), "either a text or --file"),
        (("--file", "none.txt", "-o", "a.wav"), "none.txt"),
        (("--file", "empty.txt", "-o", "a.wav"), "holds no text"),
        (("--file", "latin.txt", "-o", "a.wav"), "not UTF-8"),
        (("--file", "good.txt", "-o", "empty.txt"), "is a file: -o wants a folder"),
        (("Hi.", "-o", "folder.wav"), "is a folder"),
        (("Hi.", "-o", "empty.txt/a.wav"), "cannot write to"),
        (("Hi.", "-o", "a.wav", "--device", "tpu9"), "--device tpu9 cannot be used"),
        (("Hi.", "-o", "a.wav", "--threads", "0"), "--threads is at least 1"),
        (("Hi.", "-o", "a.wav", "--vocoder", "nobody"), "nobody"),
        (("Say [[ QQ ]].", "-o", "a.wav"), "QQ"),
        (("Hi.", "-o", "a.wav", "--lexicon", "none.lex"), "none.lex"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(tts, tmp_path, capsys, args, message):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "good.txt").write_text("Hello.\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "folder.wav").mkdir()
    assert tts(*args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "a.wav").exists()


def test_play_runs_a_player_on_the_file(tts, tmp_path, monkeypatch):
    player = tmp_path / "bin" / "aplay"
    player.parent.mkdir()
    player.write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/played"\n')
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{player.parent}:/bin:/usr/bin")
    monkeypatch.setattr("shutil.which", lambda name: str(player) if name == "aplay" else None)
    assert tts("Hello.", "-o", "a.wav", "--play") == 0
    assert (tmp_path / "bin" / "played").read_text() == "-q a.wav\n"


def test_play_without_a_player(tts, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert tts("Hello.", "-o", "a.wav", "--play") == 2
    assert "--play needs" in capsys.readouterr().err


def test_an_existing_file_survives_a_failure(tts, tmp_path):
    assert tts("Hello.", "-o", "a.wav") == 0
    before = (tmp_path / "a.wav").read_bytes()
    assert tts("Hello.", "-o", "a.wav", "--steps", "0") == 2
    assert (tmp_path / "a.wav").read_bytes() == before
