from __future__ import annotations

import json


def test_rows_are_compared_without_their_times(tmp_path):
    from _record import rows_without_times

    first, second, third = (tmp_path / name for name in "abc")
    first.write_text(json.dumps({"path": "x", "ms": 1}) + "\n")
    second.write_text(json.dumps({"ms": 2, "path": "x"}) + "\n")
    third.write_text(json.dumps({"ms": 1, "path": "y"}) + "\n")

    assert rows_without_times(first) == rows_without_times(second) != rows_without_times(third)


def test_figures_are_medians_where_there_are_any():
    from orders import medians_of_order

    runs = [{"scan_s": 0.5, "total_s": value} for value in (3.0, 1.0, 2.0)]

    found = medians_of_order(runs)
    assert (found["total_s"], found["peak_anonymous_mib"]) == (2.0, None)
