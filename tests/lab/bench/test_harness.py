import time

from lineup_lab.bench.harness import BenchMode, BenchOptions, measure
from lineup_lab.bench.workloads import Workload


def sleeper(runs):
    def work(first, count):
        runs.extend(range(first, first + count))
        time.sleep(0.002 * count)
        return {"nap": 2.0 * count}

    return Workload("sleeper", "toy", "nap", "0", "cpu", work)


def test_warm_up_is_not_measured_and_every_run_has_its_own_index():
    runs = []
    counts = []
    options = BenchOptions(iterations=4, duration_s=0.0, warmup=3)
    measured = measure(sleeper(runs), options, on_run=counts.append)
    assert runs == list(range(7))
    assert counts == [1, 2, 3, 4]
    assert measured.latency["count"] == 4
    assert measured.latency["min"] >= 2.0
    assert measured.stages["nap"]["mean"] == 2.0


def test_both_iterations_and_duration_are_met():
    measured = measure(sleeper([]), BenchOptions(iterations=1, duration_s=0.05, warmup=0))
    assert 5 <= measured.latency["count"] <= 25


def test_offline_counts_pieces_not_runs():
    runs = []
    options = BenchOptions(BenchMode.OFFLINE, iterations=2, duration_s=0.0, warmup=0, batch=5)
    measured = measure(sleeper(runs), options)
    assert runs == list(range(10))
    assert measured.latency["count"] == 2
    assert measured.stages["nap"]["mean"] == 10.0
    assert 50 < measured.throughput_per_s <= 500
