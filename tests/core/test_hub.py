import pytest
from torch import nn

from fewstep.core import hub
from fewstep.core.checkpoint import export
from fewstep.core.errors import UsageError

CONFIG = {"kind": "toy", "model": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}}


@pytest.fixture
def shipping(tmp_path, monkeypatch):
    """A package of weights with one model, `tiny`."""
    folder = export(tmp_path / "weights" / "tiny", nn.Linear(3, 2), CONFIG)
    (folder / "CARD.md").write_text("# tiny\n")
    (tmp_path / "weights" / "__pycache__").mkdir()
    monkeypatch.setattr(hub.resources, "files", lambda package: tmp_path / "weights")
    return folder


def test_shipped_names(shipping):
    assert hub.shipped() == [("tiny", "toy")]
    assert hub.resolve("tiny") == hub.resolve("tiny", kind="toy") == shipping
    assert hub.card("tiny") == "# tiny\n"


def test_folders(tmp_path):
    folder = export(tmp_path / "mine", nn.Linear(3, 2), CONFIG)
    assert hub.resolve(folder, kind="toy") == hub.resolve(str(folder)) == folder
    with pytest.raises(UsageError, match="has no card"):
        hub.card(str(folder))


def test_wrong_kind(shipping):
    with pytest.raises(UsageError, match="expected a model of kind 'vocoder', this one is of kind 'toy'"):
        hub.resolve("tiny", kind="vocoder")


def test_unknown_names_list_what_ships(shipping):
    with pytest.raises(UsageError, match="no model is called 'tinny': these ship: tiny"):
        hub.resolve("tinny")
    with pytest.raises(UsageError, match="no model of kind 'vocoder' is called 'x': these ship: none"):
        hub.resolve("x", kind="vocoder")


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(UsageError, match=r"config.yaml does not exist"):
        hub.resolve(tmp_path)


def test_offline_is_respected(monkeypatch):
    monkeypatch.setenv("FEWSTEP_OFFLINE", "1")
    with pytest.raises(UsageError, match="FEWSTEP_OFFLINE is set"):
        hub.resolve("someone/something")


def test_hub_ids_are_downloaded_as_safe_files_only(tmp_path, monkeypatch):
    import huggingface_hub

    folder = export(tmp_path / "snapshot", nn.Linear(3, 2), CONFIG)
    asked = {}

    def snapshot(name, *, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setenv("FEWSTEP_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert hub.resolve("someone/something", kind="toy") == folder
    assert asked["name"] == "someone/something"
    assert not {"*.pt", "*.bin", "*.py", "*"} & set(asked["patterns"])


def test_a_hub_that_does_not_answer(monkeypatch):
    import huggingface_hub

    def fail(name, **_):
        raise OSError("no route")

    monkeypatch.setenv("FEWSTEP_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UsageError, match="'someone/something' cannot be had from the hub: no route"):
        hub.resolve("someone/something")
