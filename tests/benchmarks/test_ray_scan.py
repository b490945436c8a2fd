"""The protocol of the benchmark, on few images: also the test of scans by a cluster.

Ray takes longer to start than all else here, so that one cluster serves every check.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import ray_scan

pytest.importorskip("ray", reason="needs the extra ray")

DATASET = """
import sys
import ray
import lineup.ray
folder, target, address = sys.argv[1:]
ray.init(address, log_to_driver=False)
files = ray.data.read_binary_files(folder, include_paths=True)
lineup.ray.attribute_dataset(files).write_parquet(target)
"""


@pytest.fixture(scope="module")
def cluster():
    try:
        cluster = ray_scan.TwoNodes().__enter__()
    except Exception as error:  # of a machine that is too busy for the times that Ray allows itself
        pytest.skip(f"Ray does not start here: {error}")
    yield cluster
    cluster.__exit__()


@pytest.mark.filterwarnings("ignore")  # of Ray's own code
def test_a_cluster_gives_the_rows_of_a_scan_once_whatever_dies(
    cluster, tmp_path, monkeypatch, lineup_home
):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    folder = tmp_path / "in"
    folder.mkdir()
    ray_scan.write_images(folder, 140, 128)
    enrolled = [
        sys.executable,
        "-m",
        "lineup",
        "enroll",
        "mine",
        *map(str, sorted(folder.glob("00000*.jpg"))),
    ]
    subprocess.run(enrolled, check=True, capture_output=True)
    address = f"--ray={cluster.address}"
    alone, clustered = tmp_path / "alone.jsonl", tmp_path / "cluster.jsonl"
    ray_scan.finished(ray_scan.scan(folder, alone))
    expected = ray_scan.rows_from_file(alone)
    lines = alone.read_bytes().splitlines(keepends=True)
    clustered.write_bytes(b"".join(lines[:10]))

    # From a store, whose rows name URIs; with the user's own gallery sent to the nodes.
    uri = tmp_path / "uri.parquet"
    ray_scan.finished(ray_scan.scan(f"file://{folder}", uri, address))
    import pyarrow.parquet as pq

    rows = pq.read_table(uri).select(["path", "sha256", "run"]).to_pylist()
    assert {row["path"].removeprefix("file://"): row["sha256"] for row in rows} == {
        path: row["sha256"] for path, row in expected.items()
    }
    assert {row["run"] for row in rows} == {row["run"] for row in expected.values()}

    # From bytes that Ray has read.
    command = [sys.executable, "-c", DATASET, str(folder), str(tmp_path / "rows"), cluster.address]
    subprocess.run(command, check=True, capture_output=True)
    assert pq.read_table(tmp_path / "rows").num_rows == len(expected)

    # Resumed, while an actor and then a node die.
    child = ray_scan.scan(folder, clustered, address, "--resume")
    ray_scan.disturbed(cluster, child, clustered)
    ray_scan.finished(child)
    found = ray_scan.rows_from_file(clustered)
    assert ray_scan.different(found, expected) == []
    assert list(found)[:10] == [json.loads(line)["path"] for line in lines[:10]]
