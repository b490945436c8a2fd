"""Ours: `lineup scan` of a folder by a lineup, the command itself."""

from __future__ import annotations

import sys

import _child


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    from lineup.cli.main import cli  # noqa: PLC0415 - its time is told

    imported_s = _child.seconds_since_start()
    _child.say("loaded", import_s=imported_s, versions=_child.versions("onnxruntime-gpu"))
    scan = ["scan", *asked["images"], "--lineup", asked["lineup"], "--output", asked["rows"]]
    scan += ["--overwrite", "--threads", str(asked["threads"]), "--device", asked["device"]]
    exit_code, scan_s = _child.timed(
        lambda: cli.main([*scan, *asked["options"]], prog_name="lineup", standalone_mode=False)
    )
    if exit_code:  # time that made no verdicts is none to compare
        sys.exit(f"lineup scan ended with exit code {exit_code}")
    _child.say("measured", scan_s=scan_s)


if __name__ == "__main__":
    main()
