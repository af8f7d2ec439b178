import subprocess
import sys

import pytest

from fewstep.audio import torchaudio_import


def test_functionals_work_whatever_the_extension_says():
    assert torchaudio_import.load().functional.griffinlim is not None
    assert torchaudio_import.load() is torchaudio_import.load()


def test_the_stand_in_is_used_when_the_library_cannot_be_loaded():
    """A finder that makes the real extension fail as it does beside a CPU build of torch."""
    code = """
import sys, importlib.abc
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchaudio._extension":
            raise OSError("libtorch_cuda.so: cannot open shared object file")
sys.meta_path.insert(0, Broken())
from fewstep.audio.torchaudio_import import load
torchaudio = load()
assert sys.modules["torchaudio._extension"]._IS_TORCHAUDIO_EXT_AVAILABLE is False
print(torchaudio.transforms.Spectrogram(64)(__import__("torch").zeros(1, 256)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 33, 9])" in done.stdout


def test_what_needs_the_extension_says_so():
    @torchaudio_import._refuse
    def forced_align():
        """Stands for a function of theirs."""

    with pytest.raises(RuntimeError, match="forced_align needs torchaudio's compiled extension"):
        forced_align()
