"""The whole training, stage by stage; every stage goes on where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lineup.errors import UsageError
from lineup.files import sha256_from_bytes
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.photographs import HOLD_OUT_RULE, split_photographs
from lineup_models.research.oneforall.batches import BankSource, OnlineSource, Source
from lineup_models.research.oneforall.denoiser import (
    Denoiser,
    DenoiserTask,
    ResidualSource,
    denoiser_from_spec,
    spectrum_module,
    whitening_of_photographs,
)
from lineup_models.research.oneforall.extractor import ExtractorKind, extractor_from_spec
from lineup_models.research.oneforall.extractor_training import (
    ExtractorTask,
    Fingerprinter,
    HeadsTask,
)
from lineup_models.research.oneforall.presets import Making, Preset, Stage
from lineup_models.research.oneforall.weights import TrainedFingerprint, write_fingerprint
from lineup_models.simulator.bank import fill_bank
from lineup_models.simulator.bank_reader import add_features, read_bank
from lineup_models.simulator.features import FeatureFunction, features_from_spectrum
from lineup_models.simulator.network import read_simulator
from lineup_models.simulator.training import WEIGHTS_NAME, train_simulator
from lineup_models.training import (
    LoopOptions,
    Task,
    Watch,
    check_made,
    claimed_record,
    plainly,
    read_tensors,
    run_task,
    write_record,
    write_tensors,
)

FINGERPRINT_NAME = "fingerprint.safetensors"
FEATURES = "spectrum"
SIBLING_PERTURBATION = 0.4
"""Noise that makes a sibling of a simulator, in units of its weights' spread."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run of a preset.

    Attributes:
        preset: Everything a training is made with.
        seed: Of everything random.
        lpips: Judge the simulator's reconstructions by the published LPIPS.
        device: Where denoiser, extractor and heads are trained, e.g. "cpu" or "cuda".
        simulators: Weights of simulators that are trained already; none trains them.
    """

    preset: Preset
    seed: int = 0
    lpips: bool = False
    device: str = "cpu"
    simulators: tuple[Path, ...] = ()


def train_fingerprint(
    photos: Path,
    options: RunOptions,
    output: Path,
    *,
    stages: Sequence[Stage] | None = None,
    watch: Watch = plainly,
) -> dict[str, Any]:
    """Train a fingerprint on the photographs of a folder; go on with an interrupted run.

    Args:
        photos: Searched recursively for photographs; none may come from a generator.
        options: The preset and its seed.
        output: Folder of the run.
        stages: Which stages to go through; None for all that the preset needs.
        watch: Wraps the steps of each stage.

    Returns:
        The record of the run, plain JSON values; it also lies in `training.json`.

    Raises:
        UsageError: The folder holds another run, or a stage lacks what an earlier one makes.
    """
    run = FingerprintRun(photos, options, output, watch)
    wanted = options.preset.stages if stages is None else stages
    going_through = {
        Stage.DENOISER: run.train_denoiser,
        Stage.SIMULATOR: run.train_simulators,
        Stage.EXTRACTOR: run.train_extractor,
        Stage.HEADS: run.train_heads,
    }
    for stage, go_through in going_through.items():
        if stage in wanted:
            started = time.perf_counter()
            try:
                go_through()
            finally:
                run.note(stage, time.perf_counter() - started)
    return run.record


class FingerprintRun:
    """The stages of a run and what lies in its folder."""

    def __init__(self, photos: Path, options: RunOptions, output: Path, watch: Watch) -> None:
        self.photos, self.options, self.output, self.watch = photos, options, output, watch
        self.preset, self.device = options.preset, torch.device(options.device)
        split = split_photographs([photos], self.preset.hold_out)
        self.paths = split.fit
        names = "\n".join(path.name for path in self.paths)
        # What makes two runs the same.
        settings = {
            "preset": asdict(self.preset),
            "seed": options.seed,
            "lpips": options.lpips,
            "device": self.device.type,
            "simulators": [str(path) for path in options.simulators],
            "photographs": len(self.paths),
            "photographs_held_out": len(split.held_out),
            "photographs_sha256": sha256_from_bytes(names.encode()),
            "hold_out_rule": HOLD_OUT_RULE,
        }
        self.record = claimed_record(output, settings)

    def note(self, stage: Stage, seconds: float) -> None:
        """Add to a stage's time in the record, also where it was interrupted."""
        before = self.record["seconds"].get(stage.value, 0.0)
        self.record["seconds"][stage.value] = round(before + seconds, 1)
        write_record(self.output, self.record)

    def train_denoiser(self) -> None:
        """Train the denoiser and write its weights."""
        options, seed = self.preset.denoiser_training, self.options.seed
        denoiser = denoiser_from_spec(self.preset.denoiser, seed=seed)
        task = DenoiserTask(denoiser, self.paths, options, seed=seed, device=self.device)
        self._run(task, options.loop)
        buffers = {name: value.cpu() for name, value in denoiser.state_dict().items()}
        write_tensors(self.output / "denoiser.pt", buffers)

    def train_simulators(self) -> None:
        """Train the simulator, then siblings of it: other weights, other fingerprints."""
        if self.options.simulators:
            return
        options = replace(
            self.preset.simulator_training,
            seed=self.options.seed,
            hold_out=self.preset.hold_out,
            lpips=self.options.lpips,
        )
        base, *siblings = (self.output / name for name in self._simulator_names())
        initial = str((base / WEIGHTS_NAME).resolve())
        runs = {base: options}
        for number, folder in enumerate(siblings, 1):
            runs[folder] = replace(
                options,
                seed=self.options.seed + number,
                steps=self.preset.sibling_steps,
                initial=initial,
                perturbation=SIBLING_PERTURBATION,
            )
        for folder, one in runs.items():
            if not (folder / WEIGHTS_NAME).exists():
                train_simulator(self.photos, one, folder, watch=self.watch)

    def train_extractor(self) -> None:
        """Train the extractor, with the heads where the preset says so."""
        model, options = self._new_model(), self.preset.extractor_training
        seed, device = self.options.seed, self.device
        task = ExtractorTask(model, self._source(), options, seed=seed, device=device)
        self._run(task, options.loop)
        self._write(model)

    def train_heads(self) -> None:
        """Train the heads on the extractor's last checkpoint."""
        model, options = self._new_model(), self.preset.heads_training
        trained = read_tensors(self.output / "extractor.checkpoint.pt", Stage.EXTRACTOR.value)
        done, wanted = trained["steps_done"], self.preset.extractor_training.loop.steps
        if done < wanted:
            raise UsageError(
                f"The extractor in {self.output} has {done} of {wanted} steps behind it.",
                hint="Finish it first: --stages extractor,heads",
            )
        prefix = "model."
        state = {
            name.removeprefix(prefix): value
            for name, value in trained["modules"].items()
            if name.startswith(prefix)
        }
        model.load_state_dict(state)
        seed, device = self.options.seed, self.device
        task = HeadsTask(model, self._source(), options, seed=seed, device=device)
        self._run(task, options.loop)
        self._write(model)

    def _run(self, task: Task, loop: LoopOptions) -> None:
        run_task(task, loop, self.output, watch=self.watch)
        self.record["losses_last_50_steps"][task.name] = task.last_losses()

    def _write(self, model: Fingerprinter) -> None:
        trained = TrainedFingerprint(model, self._denoiser(), self.record)
        write_fingerprint(trained, self.output / FINGERPRINT_NAME)

    def _new_model(self) -> Fingerprinter:
        preset, seed = self.preset, self.options.seed
        whitened = preset.extractor.kind is ExtractorKind.WHITENED
        whitening = self._whitening() if whitened else None
        extractor = extractor_from_spec(preset.extractor, preset.spectrum, whitening, seed=seed)
        return Fingerprinter(extractor, seed=seed)

    def _whitening(self) -> FoundAxes:
        path = self.output / "whitening.pt"
        if not path.exists():
            found = whitening_of_photographs(
                self.watch("whitening", self.paths),
                self.preset.spectrum,
                self._features(),
                seed=self.options.seed,
            )
            write_tensors(
                path, {name: torch.tensor(value) for name, value in asdict(found).items()}
            )
        stored = read_tensors(path, Stage.EXTRACTOR.value)
        arrays = {name: value.numpy() for name, value in stored.items()}
        return FoundAxes(**{**arrays, "floor": float(arrays["floor"])})

    def _denoiser(self) -> Denoiser | None:
        if self.preset.residual is ResidualSource.FILTER:
            return None
        denoiser = denoiser_from_spec(self.preset.denoiser, seed=0)
        denoiser.load_state_dict(read_tensors(self.output / "denoiser.pt", Stage.DENOISER.value))
        return denoiser.eval().requires_grad_(False)

    def _features(self) -> FeatureFunction:
        spectrum = spectrum_module(self.preset.spectrum, self._denoiser())
        return features_from_spectrum(spectrum, device=self.device)

    def _simulator_names(self) -> list[str]:
        return ["simulator", *(f"sibling{n}" for n in range(1, self.preset.siblings + 1))]

    def _simulators(self) -> dict[str, Path]:
        """Return the weights of the simulators by name.

        Raises:
            UsageError: They are not trained yet.
        """
        made = [self.output / name / WEIGHTS_NAME for name in self._simulator_names()]
        paths = self.options.simulators or made
        for path in paths:
            check_made(path, Stage.SIMULATOR.value)
        return {path.resolve().parent.name: path for path in paths}

    def _source(self) -> Source:
        preset, seed = self.preset, self.options.seed
        if preset.making is Making.BANK:
            folder = self.output / "bank"
            options = replace(preset.bank, seed=seed, hold_out=preset.hold_out)
            fill_bank(self.photos, self._simulators(), folder, options, watch=self.watch)
            add_features(folder, FEATURES, self._features(), watch=self.watch)
            return BankSource(read_bank(folder, FEATURES), degraded_share=preset.degraded_share)
        simulators = {
            name: read_simulator(path).simulator for name, path in self._simulators().items()
        }
        return OnlineSource(
            simulators, self.paths, self._features(), preset.online, seed=seed, device=self.device
        )
