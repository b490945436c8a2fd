"""A scan by a Ray cluster of two nodes on this machine, one of which and an actor die half-way.

    python benchmarks/ray_scan.py [--images 2000] [--record]

Images are drawn, and saved again at other qualities. They are scanned by one process; by the
cluster, undisturbed; and by the cluster while an actor is killed and then a node removed. Both
outputs of the cluster must have every image's row once, and the rows of the one process but for
their times. A core's images per second are counted in processor time of one process with one
thread, so that what else the machine does is left out. Nodes are processes of one machine: this
shows what Ray costs, not what it brings.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from _record import finish, parser_of, settings_of, without_times
from scan_profile import draw_images

SIZE_PX = 256
DRAWN = 32
NODE_CORES = 1
SIZES_PX = (256, 512, 1024)
SIZED = 128
TOLERANCE = 1e-4
"""Relative: the last of a score's seven digits depends on which images are answered together."""


def write_images(folder: Path, count: int, size_px: int = SIZE_PX) -> None:
    """Write JPEG images with different contents, and one file that is none."""
    drawn = [cv2.imread(str(one)) for one in draw_images(folder, [size_px], min(DRAWN, count))]
    for path in folder.iterdir():
        path.unlink()
    for index in range(count):
        quality = 60 + index // len(drawn) % 40
        data = cv2.imencode(".jpg", drawn[index % len(drawn)], [cv2.IMWRITE_JPEG_QUALITY, quality])[
            1
        ]
        # A comment makes contents differ whose pixels do not.
        comment = f"{index:08}".encode()
        marked = data.tobytes()[:2] + b"\xff\xfe\x00\x0a" + comment + data.tobytes()[2:]
        (folder / f"{index:06}.jpg").write_bytes(marked)
    (folder / "broken.png").write_bytes(b"no image")


def scan(folder: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start `lineup scan`."""
    command = [sys.executable, "-m", "lineup", "scan", str(folder), "-o", str(output), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def finished(child: subprocess.Popen[bytes]) -> None:
    """Wait for a scan with a failed image.

    Raises:
        RuntimeError: It ended otherwise.
    """
    _, messages = child.communicate()
    if child.returncode != 1:
        raise RuntimeError(f"exit code {child.returncode}: {messages.decode()[-2000:]}")


def rows_from_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows by path, without their times.

    Raises:
        RuntimeError: A path has two rows.
    """
    rows: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        row = without_times(json.loads(line))
        if row["path"] in rows:
            raise RuntimeError(f"two rows of {row['path']}")
        rows[row["path"]] = row
    return rows


def is_same(one: Any, other: Any) -> bool:
    """Tell whether JSON values are equal, numbers but for `TOLERANCE`."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(one))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def different(rows: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return the paths whose rows are missing, not expected, or not the same."""
    paths = rows.keys() | expected.keys()
    return sorted(one for one in paths if not is_same(rows.get(one), expected.get(one)))


class TwoNodes:
    """A cluster of two nodes on this machine; a context manager."""

    def __enter__(self) -> TwoNodes:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

        head = {"num_cpus": NODE_CORES, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._second = self._cluster.add_node(num_cpus=NODE_CORES)
        self.address: str = self._cluster.address
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()

    def actors(self, *, of_head: bool) -> list[int]:
        """Return the processes of a node's actors."""
        node = self._cluster.head_node if of_head else self._second
        raylet = node.all_processes["raylet"][0].process.pid
        found = []
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                is_actor = b"Attributor" in (entry / "cmdline").read_bytes()
            except (OSError, ValueError, IndexError):  # no process, or one that has ended
                continue
            if parent == raylet and is_actor:
                found.append(int(entry.name))
        return found

    def remove_second(self) -> None:
        """Kill the second node with all that runs there."""
        self._cluster.remove_node(self._second, allow_graceful=False)


def disturbed(cluster: TwoNodes, child: subprocess.Popen[bytes], output: Path) -> dict[str, int]:
    """Kill an actor of the head and then the other node, when rows come; tell when."""
    killed = {}
    wait_for_rows(output, row_count(output) + 1, child)
    while not (pids := cluster.actors(of_head=True)) and child.poll() is None:
        time.sleep(0.02)  # the first rows may be the other node's
    if not pids:
        finished(child)  # says why, if it failed
        raise RuntimeError("The scan ended before the head had an actor: give it more images.")
    os.kill(pids[0], 9)
    killed["actor_killed_at_rows"] = count = row_count(output)
    wait_for_rows(output, count + 1, child)
    cluster.remove_second()
    killed["node_removed_at_rows"] = row_count(output)
    return killed


def row_count(output: Path) -> int:
    """Return how many rows there are so far."""
    return output.read_bytes().count(b"\n") if output.exists() else 0


def wait_for_rows(output: Path, count: int, child: subprocess.Popen[bytes]) -> None:
    """Wait until there are so many rows, or the scan has ended."""
    while row_count(output) < count and child.poll() is None:
        time.sleep(0.02)


def measure(folder: Path, scratch: Path) -> dict[str, Any]:
    """Scan a folder in the three ways, and compare."""
    outputs = [scratch / f"{name}.jsonl" for name in ("alone", "cluster", "disturbed")]
    seconds = []
    started = time.perf_counter()
    finished(scan(folder, outputs[0]))
    seconds.append(time.perf_counter() - started)
    with TwoNodes() as cluster:
        started = time.perf_counter()
        finished(scan(folder, outputs[1], f"--ray={cluster.address}"))
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        child = scan(folder, outputs[2], f"--ray={cluster.address}")
        killed = disturbed(cluster, child, outputs[2])
        finished(child)
        seconds.append(time.perf_counter() - started)
    alone, *others = map(rows_from_file, outputs)
    return {
        "images": len(alone),
        "killed": killed,
        "different_rows": [len(different(rows, alone)) for rows in others],
        "seconds": dict(zip(("one_process", "cluster", "disturbed"), seconds, strict=True)),
        "images_per_second": dict(
            zip(
                ("one_process", "cluster", "disturbed"),
                [len(alone) / one for one in seconds],
                strict=True,
            )
        ),
    }


def core_images_per_second(scratch: Path) -> dict[str, float]:
    """Return the images that a second of one core gives, by their size: start-up left out."""
    found = {}
    for size_px in SIZES_PX:
        folder = scratch / f"size-{size_px}"
        folder.mkdir()
        write_images(folder, SIZED, size_px)
        few = scratch / f"few-{size_px}"
        few.mkdir()
        write_images(few, 1, size_px)
        seconds = [processor_seconds(one, scratch) for one in (few, folder)]
        found[str(size_px)] = (SIZED - 1) / (seconds[1] - seconds[0])
    return found


def processor_seconds(folder: Path, scratch: Path) -> float:
    """Return the processor time of a scan with one thread for the model and one that decodes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = scratch / f"{folder.name}.jsonl"
    finished(scan(folder, output, "--threads=1", "--workers=1"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "images")
        folder.mkdir()
        write_images(folder, given.images)
        results = measure(folder, Path(name))
        results["core_images_per_second"] = core_images_per_second(Path(name))
    finish("ray_scan", settings_of(given, "images"), results, record=given.record)
    if any(results["different_rows"]):
        sys.exit("Rows differ.")


if __name__ == "__main__":
    main()
