"""A whole scan into a file, and its resumption."""

import csv
import io
import json
import threading

import pytest

from lineup.errors import UsageError
from lineup.finding import find_images
from lineup.scan.encoding import RowFormat, encoder_from_format
from lineup.scan.meter import MainStage, ScanMeter
from lineup.scan.output import OutputFile, OutputMode
from lineup.stream import StreamOptions

OPTIONS = StreamOptions(group_images=3, workers=2)


def write(paths, path, engine, *, row_format=RowFormat.JSONL, mode=OutputMode.CREATE, **given):
    meter = ScanMeter(2)
    with OutputFile(path, mode) as output:
        output.begin(encoder_from_format(row_format, engine.columns()), engine.run_id())
        rows = engine.scan(
            paths, reading=given.get("options", OPTIONS), done=output.done, meter=meter
        )
        for row in rows:
            with meter.timed(MainStage.WRITE):
                output.write(row)
            given.get("on_progress", lambda: None)()
    return meter


@pytest.fixture
def scan(tmp_path, mixed_folder, engine):
    """Scan the folder into a file; return the meter."""

    def scan(row_format=RowFormat.JSONL, mode=OutputMode.CREATE, engine=engine, **given):
        images = find_images([mixed_folder])
        return write(images, scan.path, engine, row_format=row_format, mode=mode, **given)

    scan.path = tmp_path / "in" / "rows.out"  # inside the folder that is scanned
    return scan


def without_times(data, row_format):
    if row_format is not RowFormat.CSV:  # a table of Parquet is JSON lines until its end
        found = [json.loads(line) for line in data.splitlines()]
        for row in found:
            row["ms"] = None
            for evidence in (row["evidence"] or {}).values():
                evidence["cost_ms"] = None
        return found
    rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
    return [{key: one for key, one in row.items() if not key.startswith("ms.")} for row in rows]


@pytest.mark.parametrize("row_format", list(RowFormat))
def test_a_file_cut_anywhere_resumes_to_the_rows_of_an_undisturbed_scan(scan, row_format):
    scan(row_format)
    whole = scan.path.read_bytes()
    expected = without_times(whole, row_format)
    assert len(expected) == 16

    for cut in [*range(0, len(whole), len(whole) // 12), len(whole) - 1, len(whole)]:
        scan.path.write_bytes(whole[:cut])
        meter = scan(row_format, OutputMode.RESUME)
        assert without_times(scan.path.read_bytes(), row_format) == expected
        assert meter.images + meter.skipped == 16


def test_a_changed_image_is_scanned_again(scan, mixed_folder, write_image):
    scan()
    write_image(mixed_folder / "sub0" / "00.png", (1, 2, 3), seed=99)
    meter = scan(mode=OutputMode.RESUME)

    # The four that are broken are tried again.
    assert (meter.images, meter.skipped) == (5, 11)


def test_another_gallery_is_refused(scan, fakes):
    scan()
    before = scan.path.read_bytes()
    other = fakes["fake_engine"](sources={"greens": (0, 1, 0)})

    with pytest.raises(UsageError, match="this is run"):
        scan(mode=OutputMode.RESUME, engine=other)
    assert scan.path.read_bytes() == before


def test_another_gallery_is_refused_by_a_table_too(scan, fakes):
    scan(RowFormat.CSV)
    other = fakes["fake_engine"](sources={"greens": (0, 1, 0)})

    with pytest.raises(UsageError, match="the header"):
        scan(RowFormat.CSV, mode=OutputMode.RESUME, engine=other)
    with pytest.raises(UsageError, match="line 1 is not what this scan writes"):
        scan(RowFormat.JSONL, mode=OutputMode.RESUME)


def test_every_row_is_in_the_file_when_it_is_reported(scan):
    counts = []
    scan(on_progress=lambda: counts.append(scan.path.read_bytes().count(b"\n")))

    assert counts == list(range(1, 17))


def test_writing_is_timed(scan):
    stages = {stage.name: stage.busy_seconds for stage in scan().summary().stages}

    assert stages["write"] > 0
    assert stages["decode"] > 0
    assert stages["inference"] > 0


def test_decoding_overlaps_the_model(tmp_path, write_image, fakes):
    """The model goes on when the fourth image is decoded, and that when the model has begun."""
    paths = [write_image(tmp_path / f"{index}.png", seed=index) for index in range(6)]
    engine = fakes["fake_engine"]()
    tiles, signals = engine.extractor.tiles, engine.extractor.signals_from_tiles
    decoded, model_runs, fourth_is_decoded, met = [], threading.Event(), threading.Event(), []

    def slow_tiles(pixels):
        if len(decoded) == 3:
            model_runs.wait(10)
            fourth_is_decoded.set()
        decoded.append(pixels)
        return tiles(pixels)

    def slow_signals(some):
        model_runs.set()
        met.append(fourth_is_decoded.wait(10))
        return signals(some)

    engine.extractor.tiles, engine.extractor.signals_from_tiles = slow_tiles, slow_signals
    options = StreamOptions(group_images=2, workers=1)
    write(paths, tmp_path / "r", engine, options=options)

    assert met
    assert all(met)
    assert len(decoded) == 6
