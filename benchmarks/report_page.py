"""How large the page of a long scan is, and how soon it can be used in a browser.

    python benchmarks/report_page.py [--rows 100000] [--record]

Rows are those of the package's samples over and over, with other paths and drawn numbers, since
equal ones would pack too well. `lineup report` runs as a process of its own; without playwright and
a Chromium (`--chromium`) the page is not opened.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _record import finish, parser_of
from lineup.engine import open_engine
from lineup.files import sha256_from_bytes
from lineup.paths import shipped_dir

ACTIONS = {
    "search": "by('search').value = '0999'; choose()",
    "order by probability": "by('search').value = ''; by('order').value = 'share'; choose()",
    "order by name": "by('order').value = 'path'; choose()",
    "last page": "turn(Infinity)",
}
"""What a person does, as the page's script does it."""


def write_rows(path: Path, count: int) -> None:
    """Write a scan of `count` images."""
    draw = random.Random(0)  # noqa: S311 - no secret
    with open_engine(device="cpu") as engine:
        rows = [row.to_dict() for row in engine.scan(str(shipped_dir() / "samples"))]
    with path.open("w", encoding="ascii") as stream:
        for number in range(count):
            row = json.loads(json.dumps(rows[number % len(rows)]))
            row["path"] = f"photos/{number // 1000:03d}/image-{number:06d}.png"
            row["sha256"] = sha256_from_bytes(str(number).encode())
            row["posterior"] = {key: draw.random() * one for key, one in row["posterior"].items()}
            for one in row["evidence"].values():
                one["scores"] = {key: value + draw.random() for key, value in one["scores"].items()}
                one["llr"] = {key: value + draw.random() for key, value in one["llr"].items()}
            stream.write(json.dumps(row) + "\n")


def opened(page: Path, rows: int, chromium: str) -> dict[str, float]:
    """Open the page; return seconds until its first and all rows, and of what a person does."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only who has it

    with sync_playwright() as driver:
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=chromium, args=args)
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector(".entry")
        seconds = {"first rows": time.perf_counter() - start}
        while f"of {rows:,}" not in tab.inner_text("#shown"):
            time.sleep(0.05)
        seconds["all rows"] = time.perf_counter() - start
        for name, script in ACTIONS.items():
            took = (
                f"() => {{ const t = performance.now(); {script}; return performance.now() - t }}"
            )
            seconds[name] = tab.evaluate(took) / 1e3
        browser.close()
    return seconds


def main() -> None:
    """Measure, print the figures and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, page = Path(folder, "rows.jsonl"), Path(folder, "rows.html")
        write_rows(rows, options.rows)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lineup", "report", str(rows)], check=True)
        wall = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        results: dict[str, Any] = {
            "rows_mb": rows.stat().st_size / 1e6,
            "page_mb": page.stat().st_size / 1e6,
            "seconds": wall,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mib": used.ru_maxrss / 1024,
        }
        if Path(options.chromium).exists():
            results["browser_seconds"] = opened(page, options.rows, options.chromium)
    for name, value in results.items():
        print(f"{name:16} {value if isinstance(value, dict) else round(value, 2)}")
    finish("report_page", {"rows": options.rows}, results, record=options.record)


if __name__ == "__main__":
    main()
