"""Cores and threads under CPU quotas of containers, as cgroup v1 and v2 tell them."""

import os

import pytest

from lineup import machine
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions, session_options_from


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Write a /proc/self/cgroup and files of /sys/fs/cgroup, on a machine of eight cores."""
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
V2_BESIDE = "1:cpu:/\n0::/\n"
V1 = "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:cpuset:/docker/x\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "garbage"}, 8),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "100000 100000"}, 1),
        ("0::/a\n", {"other/cpu.max": "100000 100000"}, 8),
        (V1, {f"cpu/docker/x/{QUOTA}": "-1", f"cpu/docker/x/{PERIOD}": "100000"}, 8),
        (V1, {f"cpu,cpuacct/{QUOTA}": "50000", f"cpu,cpuacct/{PERIOD}": "20000"}, 3),
        (V1, {f"cpu/docker/x/{QUOTA}": "9", f"cpu/docker/x/{PERIOD}": "3"}, 3),
        (V2_BESIDE, {"unified/cpu.max": "max 1", f"cpu/{QUOTA}": "4", f"cpu/{PERIOD}": "1"}, 4),
    ],
)  # fmt: skip
def test_cores_under_a_quota(groups, own, files, cores):
    groups(own, files)

    assert machine.usable_cores() == cores
    threads = session_options_from(RuntimeOptions(), Device(DeviceKind.CPU)).intra_op_num_threads
    assert threads == (cores if cores < 8 else 0)


def test_threads_that_were_asked_for_stand(groups):
    groups("0::/\n", {"cpu.max": "100000 100000"})

    settings = session_options_from(RuntimeOptions(threads=3), Device(DeviceKind.CPU))

    assert settings.intra_op_num_threads == 3


def test_without_control_groups_the_scheduler_decides(groups):
    assert machine.usable_cores() == 8
