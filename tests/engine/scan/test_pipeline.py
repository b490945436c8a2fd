import threading
import time

import pytest

from lineup.finding import find_images
from lineup.imaging.header import DecodeLimits
from lineup.options import DEFAULT_OPTIONS
from lineup.scan.meter import ScanMeter
from lineup.scan.pipeline import Identities
from lineup.scan.pipeline import scan_rows as rows_of_scan
from lineup.stream import DEFAULT_STREAM, StreamOptions


def scan_rows(paths, engine, options=DEFAULT_STREAM, **given):
    return rows_of_scan(paths, engine, DEFAULT_OPTIONS, options, **given)


def test_one_row_per_file_in_order_whatever_is_wrong(mixed_folder, engine):
    paths = list(find_images([mixed_folder]))
    rows = list(scan_rows(paths, engine, StreamOptions(group_images=3, workers=3)))

    assert [row.path for row in rows] == [str(path) for path in paths]
    assert len(rows) == 16
    failed = {path.name for path, row in zip(paths, rows, strict=True) if row.error}
    assert failed == {"03-cut.png", "05-empty.png", "06-text.jpg", "07-bytes.webp"}
    assert all((row.verdict is None) == (row.error is not None) for row in rows)
    assert {row.run for row in rows} == {engine.run_id()}


def test_the_same_rows_for_any_batch_and_workers(mixed_folder, engine):
    def facts(options):
        rows = scan_rows(find_images([mixed_folder]), engine, options)
        return [
            (row.path, row.sha256, row.verdict and row.verdict.label, row.error) for row in rows
        ]

    assert facts(StreamOptions(group_images=1, workers=1)) == facts(
        StreamOptions(group_images=64, workers=8)
    )


def test_the_model_stays_in_the_calling_thread_and_in_its_limits(mixed_folder, engine):
    options = StreamOptions(group_images=5, group_tiles=8, workers=4)
    list(scan_rows(find_images([mixed_folder]), engine, options))

    assert engine.extractor.main_threads == {threading.current_thread()}
    assert engine.extractor.batches == [[4, 4]] * 6


def test_a_file_that_is_named_twice_is_scanned_once(mixed_folder, engine):
    inside = mixed_folder / "sub0" / "00.png"
    rows = list(scan_rows(find_images([inside, mixed_folder, mixed_folder / "sub0"]), engine))

    assert rows[0].path == str(inside)
    assert len(rows) == 16


def test_what_is_done_is_left_out_and_counted(mixed_folder, engine):
    first = list(scan_rows(find_images([mixed_folder]), engine))
    done = Identities()
    for row in first[:10]:
        done.add(row.path, row.sha256)
    meter = ScanMeter(2)
    rest = list(scan_rows(find_images([mixed_folder]), engine, done=done, meter=meter))

    assert [row.path for row in rest] == [row.path for row in first[10:]]
    assert (meter.images, meter.skipped) == (6, 10)


def test_pixels_over_the_limit_are_an_error_row(tmp_path, write_image, engine):
    path = write_image(tmp_path / "x.png", size=(40, 40))
    (row,) = scan_rows([path], engine, StreamOptions(limits=DecodeLimits(max_pixels=1599)))

    assert row.error.type == "ImageTooLargeError"


def test_rows_of_a_slow_list_are_not_held_back(tmp_path, write_image, engine):
    path = write_image(tmp_path / "x.png")
    more = threading.Event()

    def slow_list():
        yield path
        more.wait(30)

    rows = scan_rows(slow_list(), engine, StreamOptions(group_images=64, stall_seconds=0.01))
    assert next(rows).path == str(path)
    more.set()
    assert list(rows) == []


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, write_image, engine):
    """Readers that could run ahead through the whole list wait for a slow model."""
    path = write_image(tmp_path / "x.png")
    links = [tmp_path / f"{index:03}.png" for index in range(60)]
    for link in links:
        link.symlink_to(path)
    cut = []
    tiles = engine.extractor.tiles
    engine.extractor.tiles = lambda pixels: cut.append(1) or tiles(pixels)
    ahead = []
    options = StreamOptions(group_images=2, workers=2, look_ahead_images=4)
    for count, _ in enumerate(scan_rows(links, engine, options), start=1):
        time.sleep(0.002)
        ahead.append(len(cut) - count)

    assert len(ahead) == 60
    assert max(ahead) <= 4 + 2  # looked ahead, and the rest of the batch


def test_leaving_early_ends_the_threads(mixed_folder, engine):
    before = threading.active_count()
    rows = scan_rows(find_images([mixed_folder]), engine, StreamOptions(group_images=1, workers=3))
    next(rows)
    rows.close()

    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_an_interrupt_in_the_model_comes_through(mixed_folder, engine):
    def interrupted(tiles):
        raise KeyboardInterrupt

    engine.extractor.fingerprints_from_tiles = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(scan_rows(find_images([mixed_folder]), engine))
