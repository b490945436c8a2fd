"""The protocol of the benchmark, on few images: also the test of scans by a cluster.

Ray takes longer to start than all else here, so that one cluster serves every check.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import lineup
import ray_scan
from lineup.scan.encoding import line_from_record

pytest.importorskip("ray", reason="needs the extra ray")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra ray")

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
@pytest.mark.slow
def test_a_cluster_gives_the_rows_of_a_scan_once_whatever_dies(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    folder, store, output = tmp_path / "in", tmp_path / "store", tmp_path / "rows.jsonl"
    for path, count in ((folder, 260), (store, 4)):
        path.mkdir()
        ray_scan.write_images(path, count, 128)
    with lineup.open() as engine:
        # The user's own gallery has to reach the nodes.
        engine.enroll("mine", sorted(store.glob("*.jpg")))
        local, remote = ([one.to_dict() for one in engine.scan(path)] for path in (folder, store))
    lines = [line_from_record(row) for row in local[:10]]
    output.write_bytes(b"".join(lines))
    remote = [{**row, "path": f"file://{row['path']}"} for row in remote]
    everything = tmp_path / "expected.jsonl"
    everything.write_bytes(b"".join(map(line_from_record, [*local, *remote])))
    expected = ray_scan.rows_from_file(everything)

    # From bytes that Ray has read.
    command = [sys.executable, "-c", DATASET, str(store), str(tmp_path / "rows"), cluster.address]
    subprocess.run(command, check=True, capture_output=True)
    found = pq.read_table(tmp_path / "rows").select(["sha256", "run"]).to_pylist()
    assert sorted(row["sha256"] for row in found) == sorted(row["sha256"] for row in remote)
    assert {row["run"] for row in found} == {row["run"] for row in local}

    # Files and a store's files, resumed, while an actor and then a node die.
    child = ray_scan.scan(folder, output, f"file://{store}", f"--ray={cluster.address}", "--resume")
    ray_scan.disturbed(cluster, child, output)
    ray_scan.finished(child)
    assert ray_scan.different(ray_scan.rows_from_file(output), expected) == []
    assert output.read_bytes().startswith(b"".join(lines))
