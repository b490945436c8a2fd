"""Short forms of the campaigns: kills, commands that meet, flipped bits, mutants."""

from __future__ import annotations

import ast
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineup.bundles.bundle import open_bundle
from lineup.paths import shipped_dir

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

needs_fork = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")


def results(program: str, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / program, *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])["results"]


@needs_fork
def test_killed_jobs_lose_nothing():
    pytest.importorskip("onnx_ir")
    found = results("kills.py", "--kills", "20", "--only", "import", "--only", "build")

    assert [(one["job"], one["kills"], one["problems"]) for one in found] == [
        ("import", 4, []),
        ("build", 4, []),
    ]


@needs_fork
def test_commands_that_meet_go_well():
    names = ["two-enrolments", "one-graph-cache", "one-bundle"]
    chosen = [part for name in names for part in ("--only", name)]
    found = results("concurrency.py", "--rounds", "1", *chosen)

    assert [(one["meeting"], one["problems"]) for one in found] == [(name, []) for name in names]


def test_flipped_bits_are_refused_and_put_right(tmp_path):
    import tampering

    bundle = tmp_path / "bundle"
    shutil.copytree(shipped_dir() / "bundles" / "whitened-spectrum", bundle)
    manifest = (bundle / "manifest.json").read_bytes()
    places = list(tampering.places(bundle, 9, random.Random(0)))

    assert len(places) == len(manifest) + 9
    chosen = random.Random(1).sample(places, 9) + places[-9:]
    assert {tampering.answer_to_flip(bundle, *one, bit=3) for one in chosen} == {"refused"}
    assert (bundle / "manifest.json").read_bytes() == manifest
    open_bundle(bundle)


def test_flipped_bits_of_calibrations_and_galleries_are_refused(tmp_path):
    import tampering

    found = tampering.other_answers(tmp_path, 60, 0)

    assert {kind: set(counts) for kind, counts in found.items()} == {
        "calibration": {"refused"},
        "gallery": {"refused"},
    }
    tampering.read_calibration(tmp_path)
    tampering.read_gallery_folder(tmp_path / "gallery")


SOURCE = '''
"""A module."""
LIMIT = 3

def f(x: int = 1) -> bool:
    """A function."""
    if not x:
        raise ValueError(f"{x + 1}")
    log.append(x)
    return x < 4
'''


def test_a_mutant_is_one_change_in_the_body_of_a_function():
    import mutants

    names = [name for name, _ in mutants.changed_trees(SOURCE)]

    assert names == [
        "f: if not x: -> pass",
        "f: not x -> x",
        "f: log.append(x) -> pass",
        "f: x < 4 -> x <= 4",
        "f: x < 4 -> x < 5",
    ]
    changed = mutants.changed_source(SOURCE, "f: x < 4 -> x <= 4")
    assert changed == ast.unparse(ast.parse(SOURCE)).replace("x < 4", "x <= 4")


def test_mutants_are_drawn_alike_from_all_groups():
    import msgspec

    import mutants

    groups = msgspec.toml.decode(mutants.TABLE.read_bytes(), type=dict[str, mutants.Group])
    chosen = mutants.drawn(2 * len(groups), 0, groups)

    assert [one.group for one in chosen] == 2 * list(groups)
    assert chosen == mutants.drawn(2 * len(groups), 0, groups)
    assert chosen != mutants.drawn(2 * len(groups), 1, groups)
    assert [mutants.mutant_from_text(str(one), groups) for one in chosen] == chosen


def test_what_computes_the_same_is_still_a_change_of_the_code():
    import msgspec

    import mutants

    groups = msgspec.toml.decode(mutants.TABLE.read_bytes(), type=dict[str, mutants.Group])
    for text in (text for group in groups.values() for text in group.equivalent):
        one = mutants.mutant_from_text(text, groups)
        source = (mutants.ROOT / one.path).read_text(encoding="utf-8")
        assert mutants.changed_source(source, one.name)


def test_survivors_tried_again_keep_the_settings_they_were_drawn_by(tmp_path, monkeypatch, capsys):
    import mutants

    before = {"mutants": 4, "compute_the_same": [], "alive": []}
    record = {"settings": {"count": 4, "seed": 7}, "results": before}
    (tmp_path / "mutants.json").write_text(json.dumps(record))
    monkeypatch.setattr(mutants, "RECORD", tmp_path / "mutants.json")
    monkeypatch.setattr(mutants, "Tree", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["mutants.py", "--again"])

    mutants.main()

    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["settings"] == record["settings"]
    assert done["results"]["seen_percent"] == 100
