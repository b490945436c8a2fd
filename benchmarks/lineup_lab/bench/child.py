"""The process whose cold start is measured: python -m lineup_lab.bench.child JSON."""

import time

_BEGAN = time.time()

import json  # noqa: E402 - the clock starts before anything is imported
import sys  # noqa: E402


def main() -> None:
    """Open the target that the first argument describes, run once, say what it took."""
    start = time.perf_counter()
    from lineup_lab.bench.workloads import open_workload  # noqa: PLC0415 - timed

    imported = time.perf_counter()
    with open_workload(**json.loads(sys.argv[1])) as workload:
        opened = time.perf_counter()
        workload.run(0)
        ran = time.perf_counter()
    sys.stdout.write(
        json.dumps(
            {
                "began": _BEGAN,
                "import_ms": (imported - start) * 1e3,
                "open_ms": (opened - imported) * 1e3,
                "first_run_ms": (ran - opened) * 1e3,
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
