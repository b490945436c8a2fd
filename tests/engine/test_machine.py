import time

import numpy as np
import pytest

from lineup.machine import MemoryWatch

MIB = 2**20

pytestmark = pytest.mark.skipif(not MemoryWatch.available(), reason="needs Linux's /proc")


def test_memory_of_this_process_alone_is_anonymous():
    with MemoryWatch() as watch:
        before = watch.peak
        held = np.ones(64 * MIB, np.uint8)
        time.sleep(0.05)
        del held
        time.sleep(0.05)
    assert watch.peak.anonymous_mib - before.anonymous_mib == pytest.approx(64, abs=8)


def test_mapped_files_are_file_backed(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * MIB))
    with MemoryWatch() as watch:
        before = watch.peak
        mapped = np.memmap(path, np.uint8, "r")
        mapped.sum()
        after = watch.peak
    assert after.file_backed_mib - before.file_backed_mib == pytest.approx(64, abs=8)
    assert after.anonymous_mib - before.anonymous_mib < 8
