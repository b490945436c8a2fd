"""Several commands at a time on the same files: nothing lost, doubled or unreadable, no traceback.

    python benchmarks/concurrency.py [--rounds 20] [--seed 0] [--only MEETING] [--record]

The meetings: two scans on one output; two enrolments into one gallery, of images that overlap; an
enrolment during scans; enrolments and removals during `attribute`; eight processes on one cache of
graphs, and on one of resyntheses; eight installations of one bundle, and readers meanwhile. Each is
repeated with other delays between the starts, up to a tenth of a second. A command may be refused
where the meeting says so, with a message.

Exits with 1 when anything went wrong.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _forks import Fork, load, write_images
from _record import finish, keep_result, parser_of, rows_without_times, settings_of
from lineup.backends.graph_cache import GraphCache
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import MANIFEST, MANIFEST_NAME
from lineup.bundles.store import BundleStore
from lineup.gallery.store import GalleryStore
from lineup.paths import shipped_dir

PROCESSES = 8
LONGEST_DELAY_S = 0.1


@dataclass
class Place:
    """What the commands of one round share."""

    folder: Path
    images: Path
    draw: random.Random

    @property
    def home(self) -> Path:
        """LINEUP_HOME of the commands."""
        return self.folder / "home"

    @property
    def gallery(self) -> Path:
        """A gallery of two sources."""
        return self.folder / "gallery"

    def start(self, *arguments: object) -> Fork:
        """Start a command a moment after the one before."""
        time.sleep(self.draw.uniform(0, LONGEST_DELAY_S))
        return Fork([str(one) for one in arguments], self.home)

    def enrol(self, name: str, pattern: str) -> Fork:
        """Start to enrol the images of a pattern."""
        options = ("--gallery", self.gallery, "--channels", "clean", "--batch", 1)
        return self.start("enroll", name, self.images / pattern, *options)


Meeting = Callable[[Place], Iterator[str]]
"""Yields what went wrong."""


def wrong_ends(forks: list[Fork], *allowed: int) -> Iterator[str]:
    """Yield the commands that ended otherwise than they may."""
    for fork in forks:
        code, said = fork.wait(), fork.messages()
        if code not in {0, *allowed} or "Traceback" in said:
            yield f"{fork.arguments[0]}: exit code {code}: {said.strip()[-300:]}"


def two_scans(place: Place) -> Iterator[str]:
    """Two scans on one output; one of them may be refused, and resumes what is not done."""
    rows = place.folder / "rows.jsonl"
    options = ("-o", rows, "--resume", "--batch", 1)
    forks = [place.start("scan", place.images, *options) for _ in range(2)]
    yield from wrong_ends(forks, 2)
    if all(fork.wait() for fork in forks):
        yield "both were refused"
    paths = rows_without_times(rows)
    if len(paths) != len(set(paths)) or len(paths) != len(list(place.images.iterdir())):
        yield f"{len(paths)} rows, {len(set(paths))} of them different"


def two_enrolments(place: Place) -> Iterator[str]:
    """Two enrolments into one source, of images that overlap, and one into another."""
    yield from wrong_ends(
        [
            place.enrol("x", "0-00[0-5]*.png"),
            place.enrol("x", "0-00[3-8]*.png"),
            place.enrol("y", "*"),
        ]
    )
    sources = GalleryStore(place.gallery).read().sources
    counts = {name: len(one) for name, one in sources.items()}
    if counts != {"a": 3, "b": 3, "x": 9, "y": len(list(place.images.iterdir()))}:
        yield f"{counts}"


def enrolment_during_scans(place: Place) -> Iterator[str]:
    """A source grows while scans start and answer from the gallery."""
    rows = [place.folder / f"{at}.jsonl" for at in range(2)]
    forks = [place.enrol("x", "*")]
    forks += [
        place.start("scan", place.images, "-o", one, "--gallery", place.gallery) for one in rows
    ]
    yield from wrong_ends(forks)
    for one in rows:
        if len(set(rows_without_times(one))) != len(list(place.images.iterdir())):
            yield f"{one.name} lacks rows"


def removal_during_attribute(place: Place) -> Iterator[str]:
    """Sources come and go while images are attributed."""
    image = place.images / "0-000.png"
    forks = []
    for name in ("a", "b"):
        forks += [place.start("attribute", image, "--gallery", place.gallery) for _ in range(2)]
        forks.append(place.start("gallery", "remove", name, "--gallery", place.gallery, "--yes"))
        forks.append(place.enrol("x", f"0-00[{len(forks)}-8]*.png"))
    yield from wrong_ends(forks)
    if set(GalleryStore(place.gallery).read().sources) != {"x"}:
        yield "the removed sources are back"


def one_graph_cache(place: Place) -> Iterator[str]:
    """Eight builds of the same graphs, half of them anew."""
    build = ("build", "pocket-clip", "--backend", "onnxruntime")
    forks = [place.start(*build, *(["--rebuild"] if at % 2 else [])) for at in range(PROCESSES)]
    yield from wrong_ends(forks)
    found = len(list(GraphCache(place.home / "graphs").list()))
    if found != len(BundleStore(place.home).open("pocket-clip").manifest.graphs):
        yield f"{found} graphs are in the cache"


def one_result_cache(place: Place) -> Iterator[str]:
    """Eight verdicts by resyntheses of one image."""
    image = shipped_dir() / "samples" / "pocket" / "ash.png"
    question = ("attribute", image, "--lineup", "pocket", "--json")
    forks = [place.start(*question) for _ in range(PROCESSES)]
    yield from wrong_ends(forks)
    if any('"pocket-ash"' not in fork.messages() for fork in forks):
        yield "not all have the answer"


def one_bundle(place: Place) -> Iterator[str]:
    """Two bundles of one name take turns, and others read it."""
    folders = [place.folder / name for name in ("one", "two")]
    forks = [
        place.start("models", "install", folders[at % 2], "--overwrite") for at in range(PROCESSES)
    ]
    yield from wrong_ends(forks)
    forks = []
    for at in range(PROCESSES // 2):
        forks.append(place.start("models", "install", folders[at % 2], "--overwrite"))
        forks.append(place.start("models", "show", "toy"))
        forks.append(place.start("models", "verify", "toy"))
    yield from wrong_ends(forks)
    if any(one.problem for one in BundleStore(place.home).verify("toy")):
        yield "the bundle is damaged"


MEETINGS: dict[str, Meeting] = {
    "two-scans": two_scans,
    "two-enrolments": two_enrolments,
    "enrolment-during-scans": enrolment_during_scans,
    "removal-during-attribute": removal_during_attribute,
    "one-graph-cache": one_graph_cache,
    "one-result-cache": one_result_cache,
    "one-bundle": one_bundle,
}


def prepare(folder: Path, images: Path) -> None:
    """Make what every round begins with: a gallery, and two bundles of one name."""
    place = Place(folder, images, random.Random(0))  # noqa: S311 - no secret
    for name, pattern in (("a", "0-00[0-2]*.png"), ("b", "0-00[3-5]*.png")):
        for problem in wrong_ends([place.enrol(name, pattern)]):
            raise RuntimeError(problem)
    for name, like in (("one", "pocket-clip"), ("two", "pocket-captioner")):
        bundle = open_bundle(shipped_dir() / "bundles" / like)
        renamed = dataclasses.replace(bundle.manifest, name="toy")
        shutil.copytree(bundle.path, folder / name)
        MANIFEST.write(folder / name / MANIFEST_NAME, renamed)


def main() -> None:
    """Let them meet, look, count."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=MEETINGS, action="append", help="can be repeated")
    arguments = parser.parse_args()
    load()
    results = []
    with tempfile.TemporaryDirectory(prefix="lineup-concurrency-") as name:
        images, prepared = Path(name, "images"), Path(name, "prepared")
        write_images(images, 12, arguments.seed)
        prepare(prepared, images)
        for meeting in arguments.only or MEETINGS:
            problems: list[str] = []
            started = time.perf_counter()
            for at in range(arguments.rounds):
                folder = Path(name, f"{meeting}-{at}")
                shutil.copytree(prepared, folder)
                draw = random.Random(f"{arguments.seed} {meeting} {at}")  # noqa: S311 - no secret
                problems += MEETINGS[meeting](Place(folder, images, draw))
                shutil.rmtree(folder)
            results.append(
                {
                    "meeting": meeting,
                    "seed": arguments.seed,
                    "rounds": arguments.rounds,
                    "problems": problems,
                    "minutes": round((time.perf_counter() - started) / 60, 1),
                }
            )
            print(", ".join(f"{key} {value}" for key, value in results[-1].items()), flush=True)
            if arguments.record:
                keep_result("concurrency", results[-1], ["meeting"])
    finish("concurrency", settings_of(arguments, "rounds", "seed"), results, record=False)
    sys.exit(any(one["problems"] for one in results))


if __name__ == "__main__":
    main()
