"""The public names of the core, loaded when asked for."""

import subprocess
import sys

import pytest

import fewstep.core


def test_importing_the_core_is_cheap():
    code = "import sys, fewstep.core; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("first", ["from fewstep.core import sample", "import fewstep.core.sample"])
def test_sample_is_the_function_whatever_is_imported_first(first):
    code = f"{first}; from fewstep.core import sample; from fewstep.core.sample import sample as s; print(sample is s)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_all_names():
    for name in fewstep.core.__all__:
        assert getattr(fewstep.core, name) is not None


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"'fewstep\.core' has no attribute 'sampel'"):
        fewstep.core.sampel  # noqa: B018
