from __future__ import annotations

import json
import sys

IMPORT_LOG = """\
import time: self [us] | cumulative | imported package
import time:       300 |        300 |     numpy.version
import time:      1500 |      61000 |   numpy
a line that the program itself wrote to stderr
import time:       100 |      70000 | lineup.cli.doctor
import time:      2000 |       2000 | rich
"""


def test_heavy_imports_are_read_from_the_import_timer():
    from cli_start import heavy_imports

    assert heavy_imports(IMPORT_LOG) == {"numpy": 61.0, "rich": 2.0}


def test_import_timer_of_this_python_is_understood():
    import subprocess

    from cli_start import heavy_imports

    child = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import numpy"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert heavy_imports(child.stderr)["numpy"] > 1


def test_every_run_is_timed_but_the_first():
    from cli_start import milliseconds

    times = milliseconds([sys.executable, "-c", "import time; time.sleep(0.05)"], runs=2)

    assert len(times) == 2
    assert times == sorted(times)
    assert times[0] > 50


def test_benchmark_ends_in_one_json_line_and_records_it(tmp_path, monkeypatch, capsys):
    import _record

    monkeypatch.setattr(_record, "RESULTS_DIR", tmp_path)
    monkeypatch.setattr(_record, "environment", lambda: {"processor": "test"})

    _record.finish("speed", {"runs": 2}, {"a_ms": 1.5}, record=True)

    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == {
        "benchmark": "speed",
        "environment": {"processor": "test"},
        "settings": {"runs": 2},
        "results": {"a_ms": 1.5},
    }
    assert json.loads((tmp_path / "speed.json").read_text()) == printed
