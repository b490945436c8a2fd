"""The GPU programs, rehearsed: every step runs, with small models and the host for the card."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lineup.paths import shipped_dir

SMALL = {
    "sd-turbo": "pocket-ash",
    "blip-base": "pocket-captioner",
    "clip-vit-l-14-336": "pocket-clip",
}
"""Shipped models, which nobody has to export, in the places of full-size ones."""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of models as part 2 leaves it; PyTorch's are still to be written."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "bundles").mkdir()
    for name, pocket in SMALL.items():
        (folder / "bundles" / name).symlink_to(shipped_dir() / "bundles" / pocket)
        (folder / "peers" / name).mkdir(parents=True)
    return folder


def rehearsed(part, work, *steps):
    """Run a part as the command line does; return its record."""
    from gpu.__main__ import main

    given = [part, "--rehearse", "--work", str(work), *(["--steps", *steps] if steps else [])]
    with pytest.raises(SystemExit) as end:
        main(given)
    assert steps or end.value.code == 0
    record = json.loads((work / "rehearsal" / f"{part}.json").read_text())
    assert record["settings"] == {"rehearsal": True}
    wanted = [record["results"][name] for name in steps] if steps else record["results"].values()
    assert [one["state"] for one in wanted] == ["done"] * len(wanted), record["results"]
    return record["results"]


def test_the_environment_and_the_export_rehearse(work):
    environment, export = rehearsed("environment", work), rehearsed("export", work)

    assert environment["device"]["device"] == "cuda:0"
    assert set(export["bundles"]) > set(SMALL)


def test_correctness_rehearses(work):
    found = rehearsed("correctness", work)

    unet = found["sd-turbo unet"]
    assert unet["recorded"] == 1
    assert 0 <= unet["max_relative_error"]["bound"] <= unet["max_relative_error"]["cuda"] < 0.02
    assert found["captions, beam 3"]["same_tokens"] == found["captions, beam 3"]["captions"]
    assert found["attribute"]["evidence"] == ["fingerprint", "photograph", "resynthesis"]


def test_a_graph_that_computes_something_else_does_not_pass(work, monkeypatch):
    from gpu import correctness
    from gpu.steps import Place

    place = Place(is_rehearsal=True, work=work)
    real = correctness.runner_from_bundle

    def wrong(bundle, role, device, options=None):
        runner = real(bundle, role, device, options)
        if device == correctness.CUDA:
            run = runner.run
            runner.run = lambda feeds: {name: one * 1.1 for name, one in run(feeds).items()}
        return runner

    with place.standing_in():
        assert correctness.compared_graph(place, "sd-turbo", "text_encoder")["passes"]
        monkeypatch.setattr(correctness, "runner_from_bundle", wrong)
        assert not correctness.compared_graph(place, "sd-turbo", "text_encoder")["passes"]


def test_copies_rehearse(work):
    found = rehearsed("copies", work)["vae_decoder"]

    assert set(found["run_ms"]) == {"CUDA graph, host to host", "host to card", "card to card"}
    assert found["copies_matter"] == (found["share"] >= 0.05)


def test_speed_rehearses(work):
    ours, scan = "lineup, no CUDA graphs", "lineup scan, 64 x 3"

    found = rehearsed("speed", work, ours, scan)

    assert np.load(work / "images" / "2.npy").shape == (64, 64, 3)
    assert found[ours]["image"]["p90_ms"] >= found[ours]["image"]["median_ms"] > 0
    assert found[scan]["images_per_s"] > 0


def test_memory_of_the_card_counts_from_the_start(monkeypatch):
    import torch

    from gpu.speed import CardWatch

    assert torch.cuda.is_available() or CardWatch().used_mib is None
    free = iter([70, 40, 60])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (next(free, 65) * 2**20, 100 * 2**20))

    with CardWatch() as card:
        while len(card._used_bytes) < 3:
            time.sleep(0.01)

    assert card.used_mib == 30


@pytest.mark.slow
def test_diffusers_rehearses(work):
    """One of three; the compiled one is traced for long, even for a compiler that does nothing."""
    from _models import save_peer

    (work / "peers" / "sd-turbo").rmdir()
    source = {"id": "random:0", "revision": "architecture of tiny sd-turbo"}
    (work / "manifest.json").write_text(json.dumps({"source": source}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers thinks that Stable Diffusion 1 is meant
        save_peer(work, work / "peers" / "sd-turbo")

    found = rehearsed("speed", work, "diffusers fp16")

    assert found["diffusers fp16"]["versions"]["diffusers"]


def test_every_part_fits_eight_minutes(capsys):
    from gpu.__main__ import main
    from gpu.steps import LIMIT_S, PARTS

    main(["plan"])

    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    assert [line.split()[0] for line in lines] == list(PARTS)
    assert all(int(line.split()[1]) <= LIMIT_S for line in lines)


def test_without_a_card_nothing_is_run(tmp_path, monkeypatch, capsys):
    from gpu.__main__ import main
    from lineup.backends import opening

    monkeypatch.setattr(opening, "probe_device", lambda _: "no card here")

    with pytest.raises(SystemExit) as end:
        main(["copies", "--work", str(tmp_path)])

    assert end.value.code == 1
    assert capsys.readouterr().out == "copies: not run: no card here\n"
    assert list(tmp_path.iterdir()) == []


def test_a_part_goes_on_where_it_was_ended(tmp_path, monkeypatch):
    from gpu import steps
    from gpu.steps import Place, Record, Step

    ran = []

    def ending(name, **figures):
        def run():
            ran.append(name)
            if name == "broken":
                raise ValueError("no room")
            return figures

        return run

    monkeypatch.setattr(
        steps,
        "steps_of_part",
        lambda *_: [
            Step("fine", 1, ending("fine", value=1)),
            Step("files", 1, ending("files"), leaves_files=True),
            Step("wrong", 1, ending("wrong", passes=False)),
            Step("broken", 1, ending("broken")),
            Step("ended", 1, ending("ended")),
            Step("long", 99, ending("long")),
        ],
    )
    given = argparse.Namespace(rehearse=True, work=tmp_path, steps=None, limit_s=50)
    before = Record("copies", Place(is_rehearsal=True, work=tmp_path))
    before.keep("ended", "began", tries=steps.MOST_TRIES)

    assert not steps.run_part("copies", given)
    known = Record("copies", Place(is_rehearsal=True, work=tmp_path)).steps

    assert ran == ["fine", "files", "wrong", "broken"]
    states = {name: one["state"] for name, one in known.items()}
    assert states == {
        "ended": "began", "fine": "done", "files": "done", "wrong": "failed",
        "broken": "failed", "long": "not run",
    }  # fmt: skip
    assert known["broken"]["why"] == "ValueError: no room"

    assert not steps.run_part("copies", given)
    assert ran[4:] == ["files", "wrong", "broken"]


def wheel(folder: Path, name: str, size_bytes: int) -> Path:
    """Write a wheel of one module."""
    path, about = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "#" * size_bytes + f"\nNAME = {name!r}\n")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


def test_slices_are_put_together_and_installed(tmp_path, monkeypatch, capsys):
    from gpu.environment import take, write_slices

    (tmp_path / "cuda" / "nvidia").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "cuda")
    store, site = tmp_path / "store", tmp_path / "site"
    wheels = [wheel(tmp_path, "first_part", 500), wheel(tmp_path, "second_part", 900)]
    folders = write_slices(wheels, tmp_path / "slices", 700)
    assert [folder.name for folder in folders] == ["slice-00", "slice-01", "slice-02", "slice-03"]

    assert not take(folders[2:], store, site)
    damaged = folders[0] / "slice-00"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"?")
    with pytest.raises(SystemExit, match="slice-00 has SHA-256"):
        take(folders[:1], store, site)
    damaged.write_bytes(whole)
    assert take(folders[:2], store, site)

    assert "2 of 4 slices" in capsys.readouterr().out
    monkeypatch.syspath_prepend(site)
    import second_part

    assert second_part.NAME == "second_part"
    assert (site / "nvidia").resolve() == tmp_path / "cuda" / "nvidia"
    sys.modules.pop("second_part")
