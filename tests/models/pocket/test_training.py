from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lineup.errors import UsageError
from lineup_models.cli import train
from lineup_models.pictures import losses_of_run
from lineup_models.pocket import presets
from lineup_models.pocket.data import read_world
from lineup_models.pocket.presets import Preset
from lineup_models.pocket.registry import (
    load_captioner,
    load_clip,
    load_generator,
    load_tokenizer,
    load_vae,
)
from lineup_models.pocket.run import Run
from lineup_models.pocket.training import train_pocket
from lineup_models.training import Item, deterministic

NewRun = Callable[..., Run]
"""Of the toy preset, from a folder and options."""

MODELS = ("vae-coarse", "vae-fine", "clip", "captioner", "teacher", "sibling", "other")


class _Interrupt:
    """Stops the run in the middle of one step."""

    def __init__(self, step: str, after: int) -> None:
        self.step, self.after = step, after

    def __call__(self, name: str, items: Sequence[Item]) -> Iterable[Item]:
        for number, item in enumerate(items):
            if name == self.step and number == self.after:
                raise KeyboardInterrupt
            yield item


@pytest.fixture(scope="module", autouse=True)
def same_bits() -> Iterator[None]:
    # As the command does; and one thread, since on a busy machine sums are shared out otherwise.
    with deterministic(threads=1):
        yield


@pytest.fixture(scope="module")
def run(preset: Preset) -> NewRun:
    return partial(Run, preset, workers=1)


@pytest.fixture(scope="module")
def whole(run: NewRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run that the tests only read."""
    output = tmp_path_factory.mktemp("pocket") / "whole"
    train_pocket(run(output))
    return output


def test_a_run_leaves_every_model_with_its_record(whole: Path) -> None:
    for name in MODELS:
        record = json.loads((whole / f"{name}.record.json").read_text())
        assert record["steps"] == (3 if name == "vae-fine" else 4)
        assert record["seconds"] > 0
    assert set(losses_of_run(whole)) == set(MODELS)
    right = json.loads((whole / "captioner.record.json").read_text())["right"]
    assert {"kinds", "colours", "background", "all"} <= set(right)
    world = read_world(whole / "world" / "held-out")
    assert world.pictures.shape == (3, 256, 256, 3)
    assert len({picture.tobytes() for picture in world.pictures}) == 3
    assert load_tokenizer(whole).encode("a ball").ids[1] > 3
    assert load_captioner(whole).spec.layers == 1
    assert load_clip(whole).spec.middle == 1
    assert (whole / "sheets" / "sibling.png").exists()


def test_latents_of_real_pictures_come_out_scaled(whole: Path) -> None:
    vae = load_vae(whole, "fine")
    latents = torch.load(whole / "latents" / "pairs-fine.pt", weights_only=True)["latents"]
    assert latents.shape == (5, 3, 32, 32)
    assert float(vae.latent_scaling) != 1.0
    with torch.no_grad():
        again = vae.latents_from_images(vae.images_from_latents(latents))
    assert again.shape == latents.shape


def test_a_sibling_keeps_the_text_encoder_of_the_teacher_and_others_learn_theirs(
    whole: Path, run: NewRun
) -> None:
    teacher = load_generator(whole, "teacher").text_encoder.state_dict()
    sibling = load_generator(whole, "sibling").text_encoder.state_dict()
    other = load_generator(whole, "other").text_encoder.state_dict()
    assert all(torch.equal(value, sibling[name]) for name, value in teacher.items())
    assert not all(torch.equal(value, other[name]) for name, value in teacher.items())


def test_stages_may_be_gone_through_one_by_one(whole: Path, run: NewRun, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(whole / "world", parts / "world")
    for stage in ("tokenizer", "vaes", "teacher", "pairs", "other"):
        train_pocket(run(parts), only=[stage])
    assert not (parts / "sibling.safetensors").exists()
    assert np.array_equal(
        np.load(parts / "pairs" / "pictures.npy"), np.load(whole / "pairs" / "pictures.npy")
    )
    # Nothing but the weights must agree: the record next to them holds the time.
    first, second = (load_generator(folder, "other").state_dict() for folder in (parts, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(("step", "after"), [("training", 0), ("teacher", 3), ("pairs", 1)])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    whole: Path, run: NewRun, tmp_path: Path, step: str, after: int
) -> None:
    output = tmp_path / "interrupted"
    needed = ["world", "tokenizer", "vae-coarse", "teacher", "pairs"]
    with pytest.raises(KeyboardInterrupt):
        train_pocket(run(output, watch=_Interrupt(step, after)), only=needed)
    train_pocket(run(output), only=needed)
    first, second = (load_generator(folder, "teacher").state_dict() for folder in (output, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert np.array_equal(
        np.load(output / "pairs" / "pictures.npy"), np.load(whole / "pairs" / "pictures.npy")
    )


def test_what_is_missing_or_unknown_is_told(run: NewRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stage 'vae-moss'"):
        train_pocket(run(tmp_path), only=["vae-moss"])
    with pytest.raises(UsageError, match="no rendered pictures"):
        train_pocket(run(tmp_path), only=["vaes"])
    with pytest.raises(UsageError, match="other options"):
        run(tmp_path, seed=1)


def test_the_command_trains_and_says_how_long_it_took(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.PRESETS, "cpu", preset)
    arguments = ["pocket", "--output", str(tmp_path), "--threads", "1", "--only", "tokenizer"]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 0, result.output
    assert "tokenizer 0 s" in result.stdout
    assert (tmp_path / "tokenizer.json").exists()
