import json

import pytest
from click.testing import CliRunner

from lineup.errors import UsageError
from lineup_lab.bench.record import STEADY_VARIATION, changes, differences, record_from_file
from lineup_lab.cli.bench import bench


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A real measurement of the shipped fingerprint, its cold start among it."""
    path = tmp_path_factory.mktemp("bench") / "a.json"
    arguments = ["whitened-spectrum", "--iterations", "2", "--duration", "0", "--size", "256"]
    result = CliRunner().invoke(bench, [*arguments, "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert "end to end" in result.output
    return record_from_file(path)


def test_the_figures_that_others_read_are_at_the_top(record):
    assert record["peak_anonymous_mib"] > 10
    assert record["peak_file_backed_mib"] > 10
    assert {"p50", "p90", "p99"} <= set(record["latency_ms"])
    assert record["latency_ms"]["count"] == 2
    assert set(record["stages"]) == {"tiles", "fingerprint"}
    assert record["environment"]["packages"]["numpy"]


def test_a_cold_start_is_the_sum_of_its_parts(record):
    cold = record["cold_start_ms"]
    parts = sum(cold[name] for name in ("process_ms", "import_ms", "open_ms", "first_run_ms"))
    assert 0 < parts <= cold["total_ms"]


def test_few_runs_and_scattered_ones_are_warned_of(record):
    assert any("p99 of 2 runs" in text for text in record["warnings"])
    scattered = record["latency_ms"]["cv"] > STEADY_VARIATION
    assert any("latency varies" in text for text in record["warnings"]) == scattered


def test_records_are_compared_figure_by_figure(record, tmp_path):
    other = json.loads(json.dumps(record))
    other["latency_ms"]["p50"] = 2 * record["latency_ms"]["p50"]
    other["environment"]["cores"] = 99
    other["power_w"] = {"mean": 3.0, "peak": 4.0, "sensor": "toy"}
    by_name = changes(record, other)
    before, after = by_name["latency_ms.p50"]
    assert after / before == 2.0
    assert len(set(by_name["stages.fingerprint.p50"])) == 1
    assert "power_w.mean" not in by_name  # one of them has none
    assert differences(record, other) == [f"cores: {record['environment']['cores']} / 99"]

    paths = []
    for name, one in (("a.json", record), ("b.json", other)):
        paths.append(tmp_path / name)
        paths[-1].write_text(json.dumps(one))
    result = CliRunner().invoke(bench, ["compare", *map(str, paths)])
    assert result.exit_code == 0, result.output
    assert "2.00" in result.output
    assert "differs in cores" in result.output


@pytest.mark.parametrize("text", ["{}", "not json", "[1]"])
def test_another_file_is_no_measurement(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        record_from_file(path)


def test_an_unknown_target_names_the_lineups():
    result = CliRunner().invoke(bench, ["nothing-of-that-name"])
    assert "nothing-of-that-name" in str(result.exception)
