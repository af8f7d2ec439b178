import os
import signal
from importlib import metadata

import pytest

from fewstep.core import cli
from fewstep.core.cli import main


@pytest.fixture
def room(monkeypatch):
    """A command `room` that does what the test says."""

    class Point:
        name, module = "room", "fewstep.nowhere"
        action = staticmethod(lambda arguments: 0)

        def load(self):
            return self.action

    point = Point()
    monkeypatch.setattr(cli, "_rooms", lambda: {"room": point})
    return point


def _raises(error):
    def action(arguments):
        raise error

    return action


def test_help_lists_all_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.BUILT_IN)
    assert "  tts " in out


def test_help_survives_a_broken_room(room, capsys):
    assert main(["--help"]) == 0
    assert "(cannot be loaded: ModuleNotFoundError" in capsys.readouterr().out


def test_no_command_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "usage: fewstep COMMAND" in capsys.readouterr().out


def test_threads_wait_without_spinning_unless_told(monkeypatch, capsys):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    main(["no-such-command"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    main(["no-such-command"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"fewstep {metadata.version('fewstep')}"


def test_unknown_command(capsys):
    assert main(["validat"]) == 2
    assert "no such command, did you mean 'validate'?" in capsys.readouterr().err


def test_room_commands_get_the_rest(room):
    seen = []
    room.action = lambda arguments: seen.append(arguments) or 1
    assert main(["room", "a", "--b"]) == 1
    assert seen == [["a", "--b"]]


@pytest.mark.parametrize(
    "error", [ValueError("bad"), TypeError("bad"), FileNotFoundError("bad"), PermissionError("bad")]
)
def test_mistakes_are_one_line(room, capsys, error):
    room.action = _raises(error)
    assert main(["room"]) == 2
    assert capsys.readouterr().err == "fewstep room: bad\n"


def test_debug_shows_the_traceback(room, capsys, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DEBUG", "1")
    room.action = _raises(ValueError("bad"))
    assert main(["room"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_bugs_are_not_hidden(room):
    room.action = _raises(RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        main(["room"])


class SIGTERMException(SystemExit):
    """As Lightning's: leaves without a code."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SystemExit(), 0),
        (SystemExit(2), 2),
        (SystemExit("words"), 2),
        (KeyboardInterrupt(), 128 + signal.SIGINT),
        (SIGTERMException(), 128 + signal.SIGTERM),
    ],
)
def test_exit_codes(room, error, code):
    room.action = _raises(error)
    assert main(["room"]) == code


def test_models_list_and_info(capsys, monkeypatch, tmp_path):
    from fewstep.core import hub

    monkeypatch.setattr(hub, "shipped", lambda: [("tiny", "toy")])
    monkeypatch.setattr(hub, "card", lambda name: f"# {name}")
    assert main(["models", "list"]) == 0
    assert main(["models", "info", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny\ttoy\n# tiny\n"
    monkeypatch.setattr(hub, "shipped", list)
    assert main(["models", "list"]) == 0
    assert "no models ship" in capsys.readouterr().out


def test_models_needs_an_action(capsys):
    assert main(["models"]) == 2
    assert main(["models", "info"]) == 2


class _Demo:
    def __init__(self, name, result):
        self.name, self._result = name, result

    def load(self):
        def demonstrate(out):
            (out / f"{self.name}.txt").write_text("shown")
            return dict(self._result)

        return demonstrate


def test_demo_runs_every_room(monkeypatch, in_folder, capsys):
    demos = [_Demo("speech", {"nfe": 2}), _Demo("broken", None)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: demos if group == "fewstep.demos" else [])
    assert main(["demo", "--out", "shown"]) == 1
    assert "speech: nfe 2, seconds " in capsys.readouterr().out
    assert (in_folder / "shown" / "speech.txt").exists()
    monkeypatch.setattr(metadata, "entry_points", lambda group: demos[:1])
    assert main(["demo", "--out", "shown"]) == 0
    assert '"nfe": 2' in (in_folder / "shown" / "demo.json").read_text()
