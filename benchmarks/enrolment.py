"""What an enrolment is worth: a shipped source left out, and a few of its images enrolled.

    python benchmarks/image_sets.py verification --shared ../shared --output SET
    python benchmarks/enrolment.py SET --sources dalle3 gpt-4o sd15 [--enroll 20 5] [--record]

By `Engine.enroll`, in a gallery folder of its own. Then other images of the source are attributed,
as they are and after five kinds of handling, by the fingerprint and, where CLIP was pulled, by all
evidence; and meanwhile images of the other sources that nobody enrolled, and photographs.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import lineup
from _record import finish, parser_of, settings_of
from lineup.channels import DrawnChannel, through_channel
from lineup.engine import Engine
from lineup.finding import find_images
from lineup.gallery.gallery import Gallery
from lineup.gallery.opening import import_gallery, shipped_gallery, user_store
from lineup.options import AttributionOptions
from lineup.reading import read_image
from lineup.types import RgbImage
from lineup_lab.wild import without_source

HANDLING = ("clean", "jpeg:80", "webp:80", "resize:0.6", "resize:1.4", "screenshot")
PHOTOGRAPHS = "photographs"
MOST_OTHERS = {PHOTOGRAPHS: 26}
"""Images that are asked about meanwhile: 6 of a source, more photographs."""

Counts = dict[str, int]
"""How often each verdict was given."""


def handled(pixels: RgbImage, how: str, seed: int) -> RgbImage:
    """Return what an image is after one of `HANDLING`; the size of a screenshot is drawn."""
    if how == "screenshot":
        return DrawnChannel(how, seed)(pixels)
    return through_channel(pixels, how)


def fresh_images(folder: Path, gallery: Gallery) -> Iterator[tuple[Path, RgbImage]]:
    """Yield the images of a folder that a gallery does not hold."""
    known = {one for support in gallery.sources.values() for one in support.ids}
    for path in find_images([folder]):
        image = read_image(path)
        if image.sha256 not in known:
            yield path, image.pixels


def evidences(engine: Engine) -> dict[str, AttributionOptions]:
    """Return what is asked for: the fingerprint alone, and all that is there."""
    asked = {"fingerprint": AttributionOptions(("fingerprint",))}
    return asked | ({"all": AttributionOptions()} if engine.has_reference else {})


def verdicts(engine: Engine, images: Sequence[RgbImage], options: AttributionOptions) -> Counts:
    """Return how often each label was given, a family by the names of all its members."""
    given = (engine.attribute(one, options=options).verdict for one in images)
    return dict(Counter("/".join(one.family) or one.label for one in given).most_common())


def measure(directory: Path, source: str, count: int, limit: int) -> dict[str, Any]:
    """Enrol so many images of a source, and return what is said of others."""
    shipped = shipped_gallery()
    assert shipped is not None
    rest = without_source(shipped, source)
    fresh = fresh_images(directory / source, rest)
    chosen = [path for path, _ in islice(fresh, count)]
    others = [pixels for _, pixels in islice(fresh, limit)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gallery"
        import_gallery(user_store(folder), rest)
        with lineup.open(gallery=folder) as engine:
            start = time.perf_counter()
            engine.enroll(source, chosen)
            enrol_s = time.perf_counter() - start
            queries = {
                how: [handled(one, how, seed) for seed, one in enumerate(others)]
                for how in HANDLING
            }
            bystanders = dict(_bystanders(directory, source, shipped))
            asked = evidences(engine).items()
            found, meanwhile = (
                {
                    what: {key: verdicts(engine, images, by) for key, images in groups.items()}
                    for what, by in asked
                }
                for groups in (queries, bystanders)
            )
            stored = engine.gallery.sources[source].stored_bytes
    return {
        "source": source,
        "enrolled": len(chosen),
        "asked": len(others),
        "enrol_s": enrol_s,
        "stored_bytes": stored,
        "verdicts": found,
        "meanwhile": meanwhile,
    }


def _bystanders(
    directory: Path, source: str, shipped: Gallery
) -> Iterator[tuple[str, list[RgbImage]]]:
    for folder in sorted(one for one in directory.iterdir() if one.is_dir()):
        if folder.name != source:
            most = MOST_OTHERS.get(folder.name, 6)
            yield folder.name, [pixels for _, pixels in islice(fresh_images(folder, shipped), most)]


def lines_of(result: dict[str, Any]) -> Iterator[str]:
    """Yield lines for people."""
    source, asked = result["source"], result["asked"]
    yield f"{source}: {result['enrolled']} enrolled in {result['enrol_s']:.1f} s, " + (
        f"{result['stored_bytes'] / 1e6:.1f} MB"
    )
    for what, by_handling in result["verdicts"].items():
        shown = []
        for how, counts in by_handling.items():
            names = {name: n for name, n in counts.items() if name in result["meanwhile"][what]}
            shown.append(f"{how} {counts.get(source, 0)}" + (f" {names}" if names else ""))
        yield f"  {what}, of {asked}: " + ", ".join(shown)
        others = result["meanwhile"][what]
        photographs = others.get(PHOTOGRAPHS, {})
        rest = {name: counts for name, counts in others.items() if name != PHOTOGRAPHS}
        right = sum(counts.get(name, 0) for name, counts in rest.items())
        total = sum(sum(counts.values()) for counts in rest.values())
        yield f"    meanwhile right: {right} of {total}; photographs: {photographs}"


def main() -> None:
    """Measure, print lines and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("directory", metavar="SET", type=Path)
    parser.add_argument("--sources", nargs="+", default=["dalle3", "gpt-4o", "sd15"])
    parser.add_argument("--enroll", nargs="+", type=int, default=[20, 5], metavar="N")
    parser.add_argument("--limit", type=int, default=20, help="images asked about")
    arguments = parser.parse_args()
    results = []
    for count in arguments.enroll:
        for source in arguments.sources:
            results.append(measure(arguments.directory, source, count, arguments.limit))
            print("\n".join(lines_of(results[-1])), flush=True)
    settings = settings_of(arguments, "sources", "enroll", "limit")
    finish("enrolment", settings, results, record=arguments.record)


if __name__ == "__main__":
    main()
