import time

import pytest

from lineup.results import Attribution, RowError, StageTimes
from lineup.scan.meter import MainStage, ScanMeter, line_from_summary, table_from_summary


@pytest.fixture
def meter(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    meter = ScanMeter(workers=2)
    meter.start()
    meter.add_row(Attribution("a", "r", ms=StageTimes(100, 700, 200, 300, 50)))
    meter.add_row(Attribution("b", "r", ms=StageTimes(100, 300), error=RowError("E", "bad")))
    meter.add_skipped()
    with meter.timed(MainStage.WRITE):
        clock[0] += 1.0
    with meter.timed(MainStage.WAIT):
        clock[0] += 1.0
    meter.start()  # the first start counts
    return meter


def test_shares_are_of_the_threads_that_do_the_stage(meter):
    summary = meter.summary()
    stages = {stage.name: stage for stage in summary.stages}

    assert (summary.images, summary.failed, summary.skipped) == (2, 1, 1)
    assert (summary.seconds, summary.images_per_second) == (2.0, 1.0)
    assert list(stages) == ["read", "decode", "preprocess", "wait", "inference", "fuse", "write"]
    assert stages["decode"].busy_seconds == 1.0
    assert stages["decode"].share == 0.25  # of two threads for two seconds
    assert stages["inference"].share == 0.15
    assert (stages["write"].share, stages["wait"].share) == (0.5, 0.5)


def test_the_line_and_the_table(meter):
    summary = meter.summary()

    assert line_from_summary(summary) == "2 images, 1 failed, 1 already done, 1.0 images/s"
    table = table_from_summary(summary)
    assert "decode           1.00   25.0%  of 2 reader threads" in table
    assert "inference        0.30   15.0%  of scanning thread" in table


def test_a_scan_that_never_started_has_no_rate():
    summary = ScanMeter(workers=1).summary()

    assert line_from_summary(summary) == "0 images, 0 failed, 0.0 images/s"
    assert all(stage.share == 0.0 for stage in summary.stages)
