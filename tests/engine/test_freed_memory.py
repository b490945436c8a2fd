"""Freed memory goes back to the system once a process was told to keep little."""

import subprocess
import sys

import pytest

PROGRAM = """
from lineup.machine import LITTLE, SOME, keep_freed_memory, resident_kib
import numpy as np
keep_freed_memory(LITTLE)
keep_freed_memory(SOME)  # never loosened
np.ones(30 * 2**20, np.uint8)  # freed at once; glibc then takes such blocks from its own pool
blocks = [np.ones(4 * 2**20, np.uint8) for _ in range(15)]
last = np.ones(2**16, np.uint8)
full = resident_kib()[0]
del blocks
print(full - resident_kib()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_blocks_go_back_as_they_are_freed():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, check=True, text=True
    )
    assert int(done.stdout) > 55 * 2**10
