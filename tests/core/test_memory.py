"""Freed memory is kept where the C library can: large blocks cost no page faults when taken again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from fewstep.core.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
import torch
torch.set_num_threads(1)
def turn():
    a = torch.zeros(1 << 20)
    return [a + i for i in range(3)]
for _ in range(5):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how):
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_large_blocks_are_taken_again_without_page_faults():
    assert _faults("keep") < 8192  # a tenth of 20 turns of 4 blocks of 1,024 pages
