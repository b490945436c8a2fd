"""The harness that lets peers take turns, on small programs of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PEER = """
import sys, json, time
sys.path.insert(0, {peers!r})
import _child
asked = _child.request()
print("noise of a library")
{work}
"""
HOLDS_MEMORY = """
_child.say("loaded", load_s=0.5, versions={"numpy": "1"})
held = bytearray(asked["mib"] * 2**20)
for place in range(0, len(held), 4096):
    held[place] = 1
time.sleep(0.1)
import numpy as np
_child.measure_images(asked, lambda: np.zeros((2, 2, 3), np.uint8))
"""


@pytest.fixture
def write_peer(tmp_path, monkeypatch):
    import _peers

    real = _peers.PEERS_DIR
    monkeypatch.setattr(_peers, "PEERS_DIR", tmp_path)

    def write(name: str, work: str):
        path = tmp_path / f"{name}.py"
        path.write_text(PEER.format(peers=str(real), work=work))
        return _peers.Peer(name, path.name, {"name": name})

    return write


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells")
def test_a_peer_is_timed_and_its_memory_is_seen_from_outside(write_peer, tmp_path):
    from _peers import run_peer

    peer = write_peer("holder", HOLDS_MEMORY)

    told = run_peer(peer, {"mib": 200, "repeat": 2, "image": str(tmp_path / "image.npy")})

    assert "error" not in told
    assert told["load_s"] == 0.5
    assert len(told["runs_s"]) == 2
    assert 0.1 < told["ready_s"] <= told["total_s"]
    assert told["peak_mib"]["anonymous_mib"] > 200 > told["loaded_mib"]["anonymous_mib"]
    assert told["peak_mib"]["total_mib"] >= told["peak_mib"]["anonymous_mib"]
    assert (tmp_path / "image.npy").exists()


def test_a_peer_that_fails_says_why_and_is_not_asked_again(write_peer):
    from _peers import summary, take_turns

    count = write_peer("fine", '_child.say("measured", scan_s=1.0)')
    broken = write_peer("broken", 'raise ValueError("no such model")')

    runs = take_turns([count, broken], {}, rounds=2)
    found = summary(runs, "fine", ("total_s",))

    assert (len(runs["fine"]), len(runs["broken"])) == (2, 1)
    assert "ValueError: no such model" in found["failures"]["broken"]
    assert found["ratios"] == {}
    assert found["medians"]["fine"]["scan_s"] == 1.0


def test_peers_take_turns(write_peer, tmp_path):
    from _peers import take_turns

    log = tmp_path / "log"
    work = 'open(asked["log"], "a").write(asked["name"] + " ")'
    peers = [write_peer(name, work) for name in ("a", "b")]

    take_turns(peers, {"log": str(log)}, rounds=2)

    assert log.read_text().split() == ["a", "b", "a", "b"]


def test_ratios_are_formed_within_a_round():
    from _peers import ratios

    ours = [{"run_s": value} for value in (1.0, 2.0, 4.0)]
    theirs = [{"run_s": value} for value in (3.0, 4.0, 4.0)]

    found = ratios({"ours": ours, "theirs": theirs}, "ours", ("run_s", "absent"))

    assert found == {"theirs": {"run_s": {"median": 2.0, "min": 1.0, "max": 3.0}}}


def test_repeated_runs_count_by_their_median():
    from _peers import medians

    runs = [
        {"runs_s": [9.0, 1.0, 2.0], "peak_mib": {"total_mib": 5}, "peer": "x"},
        {"runs_s": [4.0], "peak_mib": {"total_mib": 7}, "peer": "x", "extra": 1},
    ]
    for run in runs:
        run["runs_cpu_s"] = [2 * seconds for seconds in run["runs_s"]]

    assert medians(runs) == {"run_s": 3.0, "run_cpu_s": 6.0, "peak_mib.total_mib": 6}


def test_a_limit_without_a_control_group_is_not_run(write_peer):
    from memory_limits import run_limited

    peer = write_peer("fine", '_child.say("measured", scan_s=1.0)')

    assert run_limited(peer, {}, None, "2GiB")["error"].startswith("not run")
    assert run_limited(peer, {}, None, "none")["scan_s"] == 1.0


def test_a_group_gets_the_limit_and_goes_again(tmp_path):
    from memory_limits import limiter_from_choice

    limiter = limiter_from_choice(tmp_path)
    assert limiter.kind == "cgroup-v1"
    made = tmp_path / f"lineup-benchmark-{os.getpid()}"

    with limiter.limited(12345) as before_start:
        before_start()
        assert (made / "memory.limit_in_bytes").read_text() == "12345"
        assert (made / "cgroup.procs").read_text() == str(os.getpid())
        for file in made.iterdir():  # the kernel's own files vanish with the folder
            file.unlink()

    assert not made.exists()


def test_a_sample_of_a_process_that_ended_changes_nothing():
    from _peers import ProcessWatch

    watch = ProcessWatch(2**22 + 1)
    watch.look()

    assert watch.peaks == {}


def test_the_own_control_group_of_version_1_bounds_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import memory_limits

    (tmp_path / "own").write_text("5:cpu:/a\n4:memory:/b/c\n", encoding="utf-8")
    monkeypatch.setattr(memory_limits, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(memory_limits, "CGROUP_ROOT", tmp_path)
    assert memory_limits.limiter_from_choice(None) is None

    group = tmp_path / "memory" / "b" / "c"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("9")
    limiter = memory_limits.limiter_from_choice(None)
    assert limiter == memory_limits.Limiter("cgroup-v1", group)
