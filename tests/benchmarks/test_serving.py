"""A few seconds of the load on `lineup serve`, and what its clients send."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from _serving_clients import judged, request_from_number

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL and SIGTERM")
def test_a_short_load_has_no_fault():
    pytest.importorskip("uvicorn", reason="needs the extra [serve]")
    pytest.importorskip("prometheus_client", reason="needs the extra [serve]")
    short = ["--seconds", "2", "--clients", "8", "--mutated", "100", "--kills", "0"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "serving.py", *short],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])["results"]

    assert found["faults"] == []
    assert found["load"]["rows"] > 0
    assert found["drained"]["exit_code"] == 0
    assert "500" not in found["changed"]["statuses"]


def test_changed_requests_follow_from_seed_and_number():
    picture = b"\x89PNG" + bytes(range(256)) * 4
    first = [request_from_number(picture, 0, number) for number in range(50)]

    assert first == [request_from_number(picture, 0, number) for number in range(50)]
    assert len(set(first)) > 40


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, {"verdict": "a"}, False),
        (429, {"error": {"message": "later"}}, False),
        (429, {"error": {"message": ""}}, True),
        (500, {"error": {"message": "x"}}, True),
        (200, ["Traceback"], True),
        (415, {"error": {"message": "x"}}, True),
    ],
)
def test_an_answer_is_judged(status, body, fault):
    assert bool(judged("good", status, json.dumps(body).encode(), 0.0).fault) is fault
