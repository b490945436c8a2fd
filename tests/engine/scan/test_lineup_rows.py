"""Rows by a lineup: chunks, failures, resumption; attribution itself is a stand-in."""

import csv
import io
import json

import numpy as np
import pytest

from lineup.attribution.engine import Attribution
from lineup.attribution.options import AttributionOptions
from lineup.errors import BackendError, UsageError
from lineup.results import Evidence, Verdict
from lineup.scan.encoding import RowFormat
from lineup.scan.lineup_encoding import FURTHER_KEYS, lineup_encoder
from lineup.scan.lineup_rows import ChunkLimits, lineup_rows
from lineup.scan.meter import ScanMeter
from lineup.scan.options import ScanOptions
from lineup.scan.output import OutputFile, OutputMode
from lineup.scan.rows import record_from_row
from lineup.scan.run import write_rows

QUESTION = AttributionOptions()


class ToyEngine:
    """Says "bright" or "dark"; logs how many images came together."""

    def __init__(self, extractor):
        self.cutter = extractor
        self.calls = []
        self.poison = None

    def run_id(self, options):
        return "0123456789ab"

    def attributions(self, queries, *, options, may_add_candidates):
        assert not may_add_candidates
        self.calls.append(len(queries))
        if any(self.poison is not None and self.poison(one.pixels) for one in queries):
            raise RuntimeError("the model choked")
        return [self._answer(one) for one in queries]

    def _answer(self, query):
        assert query.tiles is not None
        assert len(query.sha256) == 64
        share = float(query.pixels.mean() / 255)
        posterior = {"bright": share, "dark": 1 - share, "unknown": 0.0, "real": 0.0}
        evidence = (
            Evidence("fingerprint", {"bright": share}, {"bright": 1.0}, 1.0),
            Evidence("resynthesis", {"dark": 1 - share}, {"dark": -1.0}, 2.0),
        )
        verdict = Verdict(
            "bright" if share > 0.5 else "dark",
            posterior,
            evidence,
            family=("bright", "dark"),
            caption="=a plain colour",
            notes=("one", "two"),
        )
        return Attribution(verdict, None, 0.0, 7.0, 0.5)


@pytest.fixture
def toy(engine):
    return ToyEngine(engine.extractor)


@pytest.fixture
def paths(tmp_path, write_image):
    return [write_image(tmp_path / f"{i}.png", (40 * i,) * 3, seed=i) for i in range(6)]


def scan(paths, toy, images=1, **options):
    chunk = ChunkLimits(images, **options)
    return list(lineup_rows(paths, toy, QUESTION, ScanOptions(workers=2), chunk=chunk))


@pytest.mark.parametrize(("images", "calls"), [(1, [1] * 6), (4, [4, 2]), (64, [6])])
def test_images_come_in_chunks_and_rows_in_order(paths, toy, images, calls):
    rows = scan(paths, toy, images)

    assert toy.calls == calls
    assert [row.path for row in rows] == [str(path) for path in paths]
    assert [row.verdict.label for row in rows] == ["dark"] * 4 + ["bright"] * 2
    assert rows[0].ms.inference == 7.0
    assert rows[0].ms.decode is not None


def test_a_chunk_is_bounded_in_bytes(paths, toy):
    one = 2 * 32 * 32 * 3  # pixels and tiles

    scan(paths, toy, 64, size_bytes=2 * one)
    scan(paths, toy, 64, size_bytes=one // 2)

    assert toy.calls == [2, 2, 2] + [1] * 6


def test_a_broken_file_is_a_row_and_no_part_of_a_chunk(paths, toy, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")

    rows = scan([*paths[:1], broken, *paths[1:]], toy, 3)

    assert toy.calls == [3, 3]
    assert [row.error is not None for row in rows] == [False, True] + [False] * 5


def test_only_the_culprit_fails(paths, toy):
    toy.poison = lambda pixels: 70 < pixels.mean() < 90

    rows = scan(paths, toy, 4)

    assert [row.error is not None for row in rows] == [False, False, True, False, False, False]
    assert rows[2].error.message == "the model choked"
    assert toy.calls == [4, 1, 1, 1, 1, 2]


def test_when_all_of_a_chunk_fail_the_scan_ends(paths, toy):
    toy.poison = lambda pixels: True

    with pytest.raises(BackendError, match="on 4 images in a row: the model choked"):
        scan(paths, toy, 4)


def test_a_mistake_of_the_user_is_no_images_fault(paths, toy):
    def refuse(queries, **_):
        raise UsageError("no captioner")

    toy.attributions = refuse
    with pytest.raises(UsageError):
        scan(paths, toy)


def encoder(row_format, **changes):
    settings = {
        "candidates": ("bright", "dark"),
        "fingerprinted": ("bright",),
        "redrawn": ("dark",),
        "evidence": ("fingerprint", "resynthesis"),
        "tells_real": True,
    }
    return lineup_encoder(row_format, **{**settings, **changes})


def test_a_scan_goes_on_where_it_was_stopped(paths, toy, tmp_path):
    target = tmp_path / "rows.jsonl"

    def write(mode, some):
        with OutputFile(target, mode, RowFormat.JSONL) as output:
            output.begin(encoder(RowFormat.JSONL), toy.run_id(QUESTION))
            meter = ScanMeter(2)
            rows = lineup_rows(
                some,
                toy,
                QUESTION,
                ScanOptions(workers=2),
                chunk=ChunkLimits(4),
                done=output.done,
                meter=meter,
            )
            write_rows(rows, output, meter)
            return meter

    write(OutputMode.CREATE, paths[:3])
    meter = write(OutputMode.RESUME, paths)

    assert (meter.skipped, meter.images) == (3, 3)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["path"] for line in lines] == [str(path) for path in paths]


def test_a_line_has_the_keys_of_every_scan_and_then_those_of_a_lineup(paths, toy):
    row = scan(paths[:1], toy)[0]

    line = json.loads(encoder(RowFormat.JSONL).bytes_from_row(row))

    plain = record_from_row(row)
    assert list(line) == [*plain, *FURTHER_KEYS]
    assert {key: line[key] for key in plain} == plain
    assert line["family"] == ["bright", "dark"]
    assert line["verdict_notes"] == ["one", "two"]
    assert line["evidence"]["resynthesis"]["llr"] == {"dark": -1.0}


def test_a_row_without_a_verdict_has_the_keys_too(tmp_path, toy):
    row = scan([tmp_path / "absent.png"], toy)[0]

    line = json.loads(encoder(RowFormat.JSONL).bytes_from_row(row))

    assert {line[key] for key in FURTHER_KEYS} == {None}


def test_a_table_gains_columns_at_the_end(paths, toy):
    row = scan(paths[:1], toy)[0]
    made = encoder(RowFormat.CSV)

    table = (made.header() + made.bytes_from_row(row)).decode()

    header, _ = csv.reader(io.StringIO(table))
    record = next(csv.DictReader(io.StringIO(table)))
    assert header[-5:] == ["run", *FURTHER_KEYS]
    assert header.index("real.llr.real") < header.index("resynthesis.score.dark")
    assert record["caption"] == "'=a plain colour"
    assert record["family"] == "bright; dark"
    assert record["resynthesis.llr.dark"] == "-1.0"


def test_a_table_has_columns_of_the_evidence_asked_for(toy):
    made = encoder(RowFormat.CSV, evidence=("fingerprint",), tells_real=False)

    header = made.header().decode()

    assert "resynthesis" not in header
    assert "real.llr" not in header


def test_pixels_are_those_of_the_file(paths, toy):
    seen = []
    toy.poison = lambda pixels: seen.append(pixels) or False

    scan(paths[:1], toy)

    assert seen[0].shape == (32, 32, 3)
    assert seen[0].dtype == np.uint8
