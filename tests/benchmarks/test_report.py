"""The report: what is on record is shown, what is not is listed as not run."""

from __future__ import annotations

import pytest

ENVIRONMENT = {
    "lineup": "1", "python": "3", "system": "Linux", "processor": "Test CPU", "cores": 2,
    "memory_total_mib": 2048, "gpus": [], "packages": {"onnxruntime": "1.2"},
}  # fmt: skip
MEMORY = {"peak_mib.anonymous_mib": 100.0, "peak_mib.file_backed_mib": 50.0}
SPREAD = {"median": 2.5, "min": 2.0, "max": 3.0}


def document(name: str, results: object, **settings: object) -> dict[str, object]:
    return {
        "benchmark": name, "environment": ENVIRONMENT, "settings": settings, "results": results
    }  # fmt: skip


@pytest.fixture
def found():
    peers = {
        "medians": {
            "lineup": {"run_s": 1.0, "ready_s": 3.0, "open_s": 0.5, **MEMORY},
            "diffusers fp32": {"run_s": 2.5, "ready_s": 9.0, "load_s": 4.0, **MEMORY},
        },
        "ratios": {"diffusers fp32": {"run_s": SPREAD, "total_s": SPREAD}},
        "versions": {"diffusers fp32": {"torch": "2.13"}},
        "failures": {"optimum": "no such module"},
        "image_errors": {"lineup": {"mean_levels": 0.01, "max_levels": 1.0}},
    }
    scan = {"lineup scan": {"total_s": 1.0}, "PyTorch script": {"total_s": 2.5}}
    points = [
        {
            **peers, "medians": scan, "images": n, "candidates": 2,
            "ratios": {"PyTorch script": {"total_s": SPREAD}},
            "agreement": {"same_captions_percent": 100.0, "max_similarity_gap": 1e-6},
        }
        for n in (1, 2)
    ]  # fmt: skip
    line = {"start_s": 1.0, "each_s": 0.005}
    point = {"count": 10, "seconds": 1.05, "peak_anonymous_mib": 90.0}
    samples = [{"rows": 10, "anonymous_mib": 80.0}]
    flat = {"early_mib": 80.0, "late_mib": 81.0, "growth_mib": 1.0, "seconds": 2.0}
    return {
        "synthesis": document("synthesis", peers, device="cpu", tiny=False),
        "attribution": document("attribution", {"points": points}, tiny=True),
        "growth": document(
            "growth", {"images": {"points": [point], "line": line}}, redrawn=1, gamma=1
        ),
        "memory_flat": document(
            "memory_flat", {**flat, "samples": samples}, images=50_000, size_px=64
        ),
        "memory_limits": document(
            "memory_limits",
            {"limits": {"2GiB": {"diffusers fp32": {"error": "a | MemoryError"}}}},
            limited_by="cgroup-v2",
        ),
    }


def test_what_is_on_record_is_shown_with_its_device(found):
    from report import report_from_records

    page = report_from_records(found)

    assert "**2.50** (2.00 to 3.00)" in page
    assert "Test CPU, 2 cores, 2 GiB, no GPU" in page
    assert "optimum: failed: no such module" in page
    assert "torch 2.13" in page
    assert "**+1.0 MiB**" in page
    assert "| 2GiB | diffusers fp32 | MemoryError |" in page
    assert "100 %; 1e-06" in page


def test_what_is_not_on_record_was_not_run(found):
    from report import report_from_records

    page = report_from_records(found)

    gpu = page.split("SD-Turbo's size, GPU\n")[1].split("##")[0]
    assert gpu.strip() == "Not run. `python benchmarks/synthesis.py --device cuda --record`"


def test_a_try_out_is_not_passed_off_as_a_measurement(found):
    from report import report_from_records

    assert report_from_records(found).count("Tiny models: a try-out, no measurement") == 1


def test_plots_are_drawn_of_what_is_there(found, tmp_path):
    from report import draw_plots

    made = {path.stem: path for path in draw_plots(found, tmp_path)}

    assert set(made) == {"synthesis", "attribution", "growth", "memory_flat"}
    assert all(1000 < path.stat().st_size < 60_000 for path in made.values())


def test_every_record_that_is_kept_can_be_rendered():
    from _record import RESULTS_DIR
    from report import records, report_from_records

    kept = records()

    assert set(kept) == {path.stem for path in RESULTS_DIR.glob("*.json")}
    assert report_from_records(kept).startswith("# Results")
