"""The campaign of damaged files, in small."""

from __future__ import annotations

import time

import mutations
from _mutation_worker import CHANGED, NOTED, OUTCOMES, REFUSED, mutated_from_number, seed_files


def test_damaged_files_are_refused_noted_or_seen_by_nobody() -> None:
    tally = mutations.run(count=230, seed=3, workers=1)

    assert tally.faults == {}, mutations.results_of(tally)
    results = mutations.results_of(tally)
    assert sum(results["total"].values()) == 230
    assert set(results["total"]) == set(OUTCOMES)
    assert all(results["total"][name] for name in (REFUSED, NOTED, CHANGED))
    assert results["worst_ms"] < 1000 * mutations.HANG_S


def test_a_file_is_the_same_whenever_it_is_made() -> None:
    files = seed_files()
    assert mutated_from_number(files, 0, 17) == mutated_from_number(files, 0, 17)
    assert mutated_from_number(files, 0, 17) != mutated_from_number(files, 1, 17)


def test_a_crash_is_counted_and_the_next_file_tried() -> None:
    tally = mutations.Tally()
    worker = mutations.Worker(seed=0, first=0, count=40, step=1)
    worker._process.kill()
    started = time.monotonic()
    while worker.step(tally):
        assert time.monotonic() - started < 60
    assert tally.faults["crash"] == [0]
    assert sum(map(sum, (counts.values() for counts in tally.results.values()))) == 39
