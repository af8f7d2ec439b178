"""What all tests share: no network, no display, one thread's worth of torch."""

import os

os.environ["FEWSTEP_OFFLINE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# first calls import and compile; CI draws the same examples each time, so that it does not fail by chance
settings.register_profile("fewstep", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("fewstep")


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """A temporary current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
