import csv
import io
import json
import time

import pytest

from lineup.errors import UsageError
from lineup.imaging.find import find_images
from lineup.scan.encoding import RowFormat
from lineup.scan.meter import ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.output import OutputFile, OutputMode
from lineup.scan.run import scan_to_output

OPTIONS = ScanOptions(batch=3, workers=2)


@pytest.fixture
def scan(tmp_path, mixed_folder, engine):
    """Scan the folder into a file; return the meter."""

    def scan(row_format=RowFormat.JSONL, mode=OutputMode.CREATE, engine=engine, **given):
        meter = ScanMeter(2)
        with OutputFile(scan.path, mode, row_format) as output:
            scan_to_output(
                find_images([mixed_folder]),
                engine,
                output,
                row_format=row_format,
                options=OPTIONS,
                meter=meter,
                **given,
            )
        return meter

    scan.path = tmp_path / "in" / "rows.out"  # inside the folder that is scanned
    return scan


def without_times(data, row_format):
    if row_format is RowFormat.JSONL:
        return [{**json.loads(line), "ms": None} for line in data.splitlines()]
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

    assert (meter.images, meter.skipped) == (1, 15)


def test_another_gallery_is_refused(scan, fakes):
    scan()
    before = scan.path.read_bytes()
    other = fakes["FakeEngine"](sources={"greens": (0, 1, 0)})

    with pytest.raises(UsageError, match="this is run"):
        scan(mode=OutputMode.RESUME, engine=other)
    assert scan.path.read_bytes() == before


def test_another_gallery_is_refused_by_a_table_too(scan, fakes):
    scan(RowFormat.CSV)
    other = fakes["FakeEngine"](sources={"greens": (0, 1, 0)})

    with pytest.raises(UsageError, match="the header"):
        scan(RowFormat.CSV, mode=OutputMode.RESUME, engine=other)
    with pytest.raises(UsageError, match="line 1 is not what this scan writes as jsonl"):
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


def test_decoding_overlaps_the_model(tmp_path, write_image, fakes, monkeypatch):
    """Twelve images at 20 ms of decoding and 20 ms of model take less than one after the other."""
    paths = [write_image(tmp_path / f"{index}.png", seed=index) for index in range(12)]
    engine = fakes["FakeEngine"](delay_ms=20)
    tiles = engine.extractor.tiles
    engine.extractor.tiles = lambda pixels: time.sleep(0.02) or tiles(pixels)
    meter = ScanMeter(1)
    with OutputFile(tmp_path / "r", OutputMode.CREATE, RowFormat.JSONL) as output:
        scan_to_output(
            paths,
            engine,
            output,
            row_format=RowFormat.JSONL,
            options=ScanOptions(batch=2, workers=1),
            meter=meter,
        )

    assert meter.summary().seconds < 0.95 * 12 * 0.04
