from __future__ import annotations

import pytest


def answer(label: str, ms: float, redrawn: int):
    from cascade import Answer

    return Answer(label, label == "ash", ms, redrawn)


def test_the_cascade_is_compared_with_running_everything():
    from cascade import summary

    everything = [answer("ash", 100, 4), answer("ash", 300, 4)]
    found = [answer("ash", 10, 0), answer("birch", 90, 2)]

    figures = summary(found, everything)

    assert figures["accuracy_percent"] == 50
    assert figures["accuracy_change_points"] == -50
    assert figures["cost_ratio"] == pytest.approx(4)
    assert figures["redrawn_percent"] == 50
    assert figures["mean_candidates_redrawn"] == 1
