"""Kill commands with SIGKILL at random moments, and look at what they leave.

    python benchmarks/kills.py [--kills 1000] [--seed 0] [--only JOB] [--record]

Six jobs: a scan, an enrolment into a gallery that has a source, a calibration, an import and a pull
(from a local file) that replace a bundle of the name, a build that replaces a graph. Each is run
once undisturbed. Then it is started and killed at a moment drawn over that time, up to four times
on top of each other, and run to its end. After every kill what was there before has to be readable;
after the end there has to be what the undisturbed run left, no row or image lost or doubled. The
bundles of import and pull are toys, whose costs are not measured.

Exits with 1 when anything was lost, doubled or unreadable.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from _forks import Fork, load, write_images
from _record import finish, keep_result, parser_of, rows_without_times, settings_of
from lineup.backends.graph_cache import GraphCache
from lineup.bundles.store import BundleStore
from lineup.calibration.calibration import CALIBRATION
from lineup.files import sha256_from_file
from lineup.gallery.store import GalleryStore
from lineup.lineups.store import open_lineup
from lineup_export.ready import install, tower

IN_A_ROW = 4
"""Most kills before a job may end."""
IMAGES = 12
SHARES = {"scan": 3, "enroll": 4, "calibrate": 1, "import": 4, "pull": 4, "build": 4}
"""Of the kills: a calibration takes ten times as long as an import."""
CANDIDATES = ("pocket-ash", "pocket-birch")
TOY = "toy-tower"


@dataclass(frozen=True)
class Job:
    """A command, and what it may leave behind.

    Attributes:
        arguments: The command, given the folder of one trial.
        prepare: Makes what is there before, in such a folder.
        look: Raises where something cannot be read after a kill.
        outcome: What an undisturbed run and one with kills have to agree on.
    """

    arguments: Callable[[Path], list[str]]
    prepare: Callable[[Path], None]
    look: Callable[[Path], object]
    outcome: Callable[[Path], object]


def scan_job(images: Path) -> Job:
    """Return the scan of all images to a file, resumed."""

    def arguments(place: Path) -> list[str]:
        rows, gallery = str(place / "rows.jsonl"), ["--gallery", str(place / "gallery")]
        return ["scan", str(images), "-o", rows, "--resume", "--batch", "2", *gallery]

    def look(place: Path) -> None:
        rows = place / "rows.jsonl"
        if rows.exists():
            for line in rows.read_bytes().splitlines(keepends=True):
                assert not line.endswith(b"\n") or json.loads(line)["path"]

    return Job(
        arguments,
        lambda place: run_to_end(enrolment(place, "old", str(images / "0-00*.png")), place),
        look,
        lambda place: rows_without_times(place / "rows.jsonl"),
    )


def enrol_job(images: Path) -> Job:
    """Return the enrolment of all images, two at a time, beside a source that is there."""

    def look(place: Path) -> list[str]:
        return sorted(GalleryStore(place / "gallery").read().source("old").ids)

    def outcome(place: Path) -> dict[str, list[str]]:
        gallery = GalleryStore(place / "gallery").read()
        files = sorted(path.name.partition("-")[0] for path in (place / "gallery").rglob("*.s*"))
        return {name: sorted(one.ids) for name, one in gallery.sources.items()} | {"files": files}

    return Job(
        lambda place: enrolment(place, "new", str(images)),
        lambda place: run_to_end(enrolment(place, "old", str(images / "0-00*.png")), place),
        look,
        outcome,
    )


def enrolment(place: Path, name: str, paths: str) -> list[str]:
    """Return the command that enrols images into the gallery of a trial."""
    gallery = ["--gallery", str(place / "gallery")]
    return ["enroll", name, paths, *gallery, "--batch", "2", "--channels", "clean"]


def calibrate_job(images: Path) -> Job:
    """Return the calibration of a lineup by fingerprints alone."""

    def arguments(place: Path) -> list[str]:
        return ["calibrate", str(images), "--lineup", "mine", "--evidence", "fingerprint"]

    def prepare(place: Path) -> None:
        models = ["--captioner", "pocket-captioner", "--encoder", "pocket-clip"]
        for name in CANDIDATES:
            models += ["--candidate", f"{name}={name}"]
            run_to_end(["enroll", name, str(images / name / "*0.png")], place)
        run_to_end(["lineups", "create", "mine", *models], place)

    def look(place: Path) -> object:
        os.environ["LINEUP_HOME"] = str(place / "home")
        fitted = open_lineup("mine").calibration
        return None if fitted is None else CALIBRATION.read(fitted)

    return Job(arguments, prepare, look, lambda place: CALIBRATION.to_raw(look(place)))


def ready_job(command: Callable[[Path], list[str]], old: Path, new: Path) -> Job:
    """Return the installation of a toy tower over another of its name."""

    def prepare(place: Path) -> None:
        arguments = ["models", "import", str(old), "--description", str(old.with_suffix(".toml"))]
        run_to_end(arguments, place)

    def look(place: Path) -> str:
        return BundleStore(place / "home").open(TOY).digest

    return Job(lambda place: command(new), prepare, look, look)


def build_job() -> Job:
    """Return the optimisation of graphs that are in the cache already."""
    arguments = ["build", "pocket-clip", "--backend", "onnxruntime", "--rebuild"]

    def look(place: Path) -> list[str]:
        cache = GraphCache(place / "home" / "graphs")
        for folder in cache.folder.glob("[!.]*"):
            assert any(one.path.parent == folder for one in cache.list()), folder
        return sorted(one.key.digest for one in cache.list())

    return Job(lambda place: arguments, lambda place: run_to_end(arguments, place), look, look)


def jobs_in(folder: Path) -> dict[str, Job]:
    """Make what all trials read, and return the jobs by name."""
    images = folder / "images"
    write_images(images, IMAGES, 0)
    labelled = folder / "labelled"
    for seed, name in enumerate((*CANDIDATES, "real"), 1):
        write_images(labelled / name, 6, seed)
    old, new = (toy_tower(folder / name, seed) for seed, name in enumerate(("old", "new")))
    install.open_description = functools.partial(install.open_description, folder=new.parent)
    description = ["--description", str(new.with_suffix(".toml"))]
    return {
        "scan": scan_job(images),
        "enroll": enrol_job(images),
        "calibrate": calibrate_job(labelled),
        "import": ready_job(
            lambda file: ["models", "import", str(file), *description, "--overwrite"], old, new
        ),
        "pull": ready_job(
            lambda file: ["models", "pull", TOY, "--from", str(file), "--overwrite"], old, new
        ),
        "build": build_job(),
    }


def toy_tower(folder: Path, seed: int) -> Path:
    """Write an ONNX image tower of three blocks and its description; return the ONNX file."""
    draw = np.random.default_rng(seed)
    width = 256
    shapes = {"w0": (100, width), "w1": (width, width), "w2": (width, width)}
    constants = [
        numpy_helper.from_array(draw.normal(0, 0.1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    constants += [
        numpy_helper.from_array(np.array([-1, 3, 100]), "flat"),
        numpy_helper.from_array(np.array(0), "zero"),
    ]
    nodes = [helper.make_node("Reshape", ["pixels", "flat"], ["block0"])]
    for at in range(3):
        nodes.append(helper.make_node("MatMul", [f"block{at}", f"w{at}"], [f"product{at}"]))
        nodes.append(helper.make_node("Tanh", [f"product{at}"], [f"block{at + 1}"]))
    nodes.append(helper.make_node("Gather", ["block3", "zero"], ["image_embeds"], axis=1))
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 10, 10])
    embedding = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(nodes, "toy", [pixels], [embedding], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir()
    path = folder / f"{TOY}.onnx"
    onnx.save(model, path)
    layers = ", ".join(f'{{ block = {at}, tensor = "block{at}" }}' for at in (1, 2, 3))
    path.with_suffix(".toml").write_text(
        f"""schema_version = 1
name = "{TOY}"
title = "Toy"
licence = "MIT"
upstream = "toys/{seed}"
sha256 = "{sha256_from_file(path)}"
size_bytes = {path.stat().st_size}
preprocess = {{ width_px = 10, height_px = 10, resize_mode = "stretch", \
interpolation = "bilinear", antialias = true, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5], \
colour_order = "RGB", layout = "NCHW", value_range = [0.0, 1.0] }}
tower = {{ input = "pixels", default_layer = 2, embedding = "image_embeds", batch = 1, \
layers = [{layers}] }}
""",
        encoding="utf-8",
    )
    return path


def run_to_end(arguments: list[str], place: Path) -> float:
    """Run a command undisturbed; return the seconds."""
    started = time.perf_counter()
    fork = Fork(arguments, place / "home")
    if fork.wait() != 0:
        raise RuntimeError(f"{arguments}: exit code {fork.wait()}: {fork.messages()}")
    fork.said.unlink()
    return time.perf_counter() - started


def files_in(place: Path) -> int:
    """Return how many files lie in a folder, what the commands said left out."""
    return sum(path.is_file() and "said-" not in path.name for path in place.rglob("*"))


class Campaign:
    """The kills of one job.

    Attributes:
        kills: How many hit a running command.
        problems: What was lost, doubled or unreadable.
        leavings: Most files left after an end that an undisturbed run does not leave.
    """

    def __init__(self, job: Job, folder: Path, draw: random.Random) -> None:
        self.kills, self.leavings, self.trials = 0, 0, 0
        self.problems: list[str] = []
        self._job, self._folder, self._draw = job, folder, draw
        self._prepared = folder / "prepared"
        self._prepared.mkdir(parents=True)
        job.prepare(self._prepared)
        calm = self._fresh("calm")
        self.seconds = run_to_end(job.arguments(calm), calm)
        self._expected, self._files = job.outcome(calm), files_in(calm)

    def run(self, kills: int) -> None:
        """Kill that many times."""
        while self.kills < kills:
            place = self._fresh("trial")
            try:
                self._trial(place, min(IN_A_ROW, kills - self.kills))
            except Exception as error:  # whatever it is, it was found after a kill
                self.problems.append(f"{type(error).__name__}: {error}")

    def _trial(self, place: Path, most: int) -> None:
        self.trials += 1
        for _ in range(most):
            fork = Fork(self._job.arguments(place), place / "home")
            if fork.ended_within(self._draw.uniform(0, self.seconds)) or not fork.kill():
                break
            self.kills += 1
            self._job.look(place)
        run_to_end(self._job.arguments(place), place)
        if self._job.outcome(place) != self._expected:
            self.problems.append("the end is not that of an undisturbed run")
        self.leavings = max(self.leavings, files_in(place) - self._files)

    def _fresh(self, name: str) -> Path:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._prepared, place)
        return place


def campaign(kills: int, seed: int, names: list[str]) -> Iterator[dict[str, Any]]:
    """Kill every job its share of times; yield the figures of each."""
    tower.bundle_with_costs = lambda bundle: bundle
    load("lineup_export.ready.install", "lineup_lab.cli.calibrate", "lineup_lab.fit_calibration")
    with tempfile.TemporaryDirectory(prefix="lineup-kills-") as name:
        jobs = {job: one for job, one in jobs_in(Path(name)).items() if job in names}
        for job, one in jobs.items():
            started = time.perf_counter()
            draw = random.Random(f"{seed} {job}")  # noqa: S311 - no secret
            found = Campaign(one, Path(name, job), draw)
            found.run(round(kills * SHARES[job] / sum(SHARES.values())))
            yield {
                "job": job,
                "seed": seed,
                "kills": found.kills,
                "trials": found.trials,
                "problems": found.problems,
                "leavings": found.leavings,
                "seconds_undisturbed": round(found.seconds, 2),
                "minutes": round((time.perf_counter() - started) / 60, 1),
            }


def main() -> None:
    """Kill, look, count."""
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SHARES, action="append", help="a job; can be repeated")
    arguments = parser.parse_args()
    results = []
    for found in campaign(arguments.kills, arguments.seed, arguments.only or list(SHARES)):
        print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
        results.append(found)
        if arguments.record:
            keep_result("kills", found, ["job"])
    finish("kills", settings_of(arguments, "kills", "seed"), results, record=False)
    sys.exit(any(one["problems"] for one in results))


if __name__ == "__main__":
    main()
