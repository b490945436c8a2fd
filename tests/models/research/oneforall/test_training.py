from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup_models.cli import train
from lineup_models.pictures import losses_of_run, write_loss_plot
from lineup_models.research.oneforall import presets
from lineup_models.research.oneforall.denoiser import ResidualSource
from lineup_models.research.oneforall.extractor import ExtractorKind, ExtractorSpec
from lineup_models.research.oneforall.presets import CPU, GPU, Making, Preset, Stage
from lineup_models.research.oneforall.training import (
    FINGERPRINT_NAME,
    RunOptions,
    train_fingerprint,
)
from lineup_models.research.oneforall.weights import read_fingerprint
from lineup_models.training import RECORD_NAME, Item, deterministic, device_named

pytestmark = pytest.mark.usefixtures("toy_simulators")


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_fingerprint(folder / FINGERPRINT_NAME).model.state_dict()


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


class _Interrupt:
    """Stops the run in the middle of one stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, name: str, items: Sequence[Item]) -> Iterable[Item]:
        for number, item in enumerate(items):
            if name == self.stage and number == 3:
                raise KeyboardInterrupt
            yield item


@pytest.fixture
def whole(photos: Path, preset: Preset, tmp_path: Path) -> Path:
    train_fingerprint(photos, RunOptions(preset), tmp_path / "whole")
    return tmp_path / "whole"


def test_a_run_leaves_weights_record_and_losses(whole: Path) -> None:
    trained = read_fingerprint(whole / FINGERPRINT_NAME)
    record = json.loads((whole / RECORD_NAME).read_text())
    assert set(record["seconds"]) == {"simulator", "extractor", "heads"}
    assert record["photographs_held_out"] == 2
    assert set(record["losses_last_50_steps"]) == {"extractor", "heads"}
    assert trained.denoiser is None
    tiles = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    fingerprint = trained.network()(tiles, torch.ones(1, 1))
    assert fingerprint.shape == (1, 48)
    assert torch.linalg.norm(fingerprint).item() == pytest.approx(1.0, abs=1e-5)
    losses = losses_of_run(whole)
    assert set(losses) == {"extractor", "heads", "simulator", "sibling1"}
    assert len(losses["extractor"]["contrastive"]) == 4


@pytest.mark.parametrize("stage", ["extractor", "heads"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    photos: Path, preset: Preset, tmp_path: Path, whole: Path, stage: str
) -> None:
    output = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        train_fingerprint(photos, RunOptions(preset), output, watch=_Interrupt(stage))
    assert stage in json.loads((output / RECORD_NAME).read_text())["seconds"]
    train_fingerprint(photos, RunOptions(preset), output)
    assert _equal(_weights(whole), _weights(output))
    assert losses_of_run(output) == losses_of_run(whole)


def test_another_seed_gives_other_weights(
    photos: Path, preset: Preset, tmp_path: Path, whole: Path
) -> None:
    train_fingerprint(photos, RunOptions(preset, seed=1), tmp_path / "other")
    assert not _equal(_weights(whole), _weights(tmp_path / "other"))


def test_a_folder_of_another_run_is_refused(photos: Path, preset: Preset, whole: Path) -> None:
    with pytest.raises(UsageError, match="other options or photographs"):
        train_fingerprint(photos, RunOptions(preset, seed=1), whole)


@pytest.mark.parametrize("stage", [Stage.EXTRACTOR, Stage.HEADS])
def test_a_stage_asks_for_what_it_lacks(
    photos: Path, preset: Preset, tmp_path: Path, stage: Stage
) -> None:
    with pytest.raises(UsageError, match="is not there; stage"):
        train_fingerprint(photos, RunOptions(preset), tmp_path / "run", stages=[stage])


@pytest.mark.parametrize("making", list(Making))
def test_the_published_pipeline_trains(
    photos: Path, preset: Preset, tmp_path: Path, whole: Path, making: Making
) -> None:
    published = replace(
        preset,
        residual=ResidualSource.DENOISER,
        making=making,
        extractor=ExtractorSpec(ExtractorKind.RESNET50, 4, (1, 1, 1, 1), 8),
        extractor_training=replace(preset.extractor_training, joint_heads=True, tau=0.02),
    )
    simulators = (whole / "simulator/simulator.safetensors",)
    output = tmp_path / "published"
    record = train_fingerprint(photos, RunOptions(published, simulators=simulators), output)

    assert set(record["losses_last_50_steps"]["extractor"]) == {
        "total",
        "contrastive",
        "pair",
        "real",
    }
    trained = read_fingerprint(output / FINGERPRINT_NAME)
    assert trained.denoiser is not None
    tiles = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert trained.network()(tiles, torch.ones(1, 1)).shape == (1, 8)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError):
        read_fingerprint(tmp_path / "missing")
    (tmp_path / "wrong").write_text("no weights")
    with pytest.raises(BundleFormatError, match="does not hold the weights"):
        read_fingerprint(tmp_path / "wrong")


def test_a_plot_is_drawn_where_it_can_be(whole: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = write_loss_plot(whole)
    assert plot is not None
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_presets_know_the_stages_they_need() -> None:
    assert Stage.DENOISER not in CPU.stages
    assert GPU.stages == tuple(Stage)
    assert GPU.extractor_training.tau == 0.02
    assert GPU.extractor_training.memory == CPU.extractor_training.memory == 1024


def test_the_command(
    photos: Path, preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presets.PRESETS, "cpu", preset)
    arguments = ["fingerprint", "--photos", str(photos), "--output", str(tmp_path / "run")]
    done = CliRunner().invoke(train, [*arguments, "--stages", "denoiser,simulator"])
    assert done.exit_code == 0, done.output
    assert "denoiser" in done.stdout
    assert "simulator" in done.stdout
    wrong = CliRunner().invoke(train, [*arguments, "--stages", "denoiser,nothing"])
    assert isinstance(wrong.exception, UsageError)
    assert "'nothing'" in str(wrong.exception)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="torch cannot compute on"):
        device_named("cuda:99")


def test_determinism_ends_with_the_block() -> None:
    with deterministic(threads=1):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
