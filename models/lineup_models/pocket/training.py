"""The whole training of the pocket lineup, stage by stage; each goes on where it was interrupted.

The stages of one run may go on in several processes at once, as far as they do not need each
other: every stage writes files of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lineup.errors import UsageError
from lineup.files import write_atomic
from lineup_models.pictures import write_sheet
from lineup_models.pocket.data import PROMPTS_FIRST, SEEDS_PER_RUN
from lineup_models.pocket.generator import Generator, take_over
from lineup_models.pocket.pairs import Painter, fill_pairs, read_pairs
from lineup_models.pocket.registry import load_generator, load_vae, weights_path, words, write_model
from lineup_models.pocket.stages import SHOWN, RunOptions, Stages
from lineup_models.pocket.student_training import (
    NoiseMap,
    StudentTask,
    pictures_of_generator,
)
from lineup_models.pocket.teacher_training import TeacherTask, latents_of_pictures
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.unet import TranslatedUNet
from lineup_models.training import Watch, check_made, plainly, read_tensors, write_tensors


class Distillation(Stages):
    """The teacher, its pictures, and the generators that learn from them."""

    def train_teacher(self) -> Mapping[str, Any]:
        """Train the teacher; return losses."""
        preset, spec = self.preset, self.preset.teacher_spec
        teacher = self.new("teacher", lambda: Generator(spec, words()))
        world = self.world()
        task = TeacherTask(
            teacher,
            self._latents("teacher", spec.vae, world.pictures),
            world.captions,
            self.tokenizer(),
            preset.teacher,
            seed=self.seed("teacher"),
            device=self.device,
        )
        figures = self.trained(task, preset.teacher.loop)
        path = weights_path(self.output, "teacher")
        write_model(path, "generator", spec, task.average, words=words(), record=figures)
        return figures

    def _latents(self, name: str, vae: str, pictures: Any) -> Tensor:
        """Return latents that are computed once."""
        path = self.output / "latents" / f"{name}.pt"
        if not path.exists():
            self._check_vae(vae)
            bfloat16 = self.preset.vae.bfloat16
            latents = latents_of_pictures(
                load_vae(self.output, vae), pictures, self.device, bfloat16=bfloat16
            )
            write_tensors(path, {"latents": latents})
        latents = read_tensors(path, name)["latents"]
        assert isinstance(latents, Tensor)
        return latents

    def _check_vae(self, name: str) -> None:
        check_made(weights_path(self.output, f"vae-{name}"), f"vae-{name}")

    def _teacher(self) -> Generator:
        check_made(weights_path(self.output, "teacher"), "teacher")
        return load_generator(self.output, "teacher")

    def draw_pairs(self) -> Mapping[str, Any]:
        """Let the teacher draw what the students learn from."""
        preset, tokenizer = self.preset, self.tokenizer()
        vae = load_vae(self.output, preset.teacher_spec.vae)
        painter = Painter(self._teacher(), vae, tokenizer, preset.pairs, self.device)
        fill_pairs(
            self.output / "pairs",
            painter,
            tokenizer,
            seed=self.seed("pairs"),
            prompts_first=self.options.seed * SEEDS_PER_RUN + PROMPTS_FIRST,
            watch=self.watch,
        )
        pictures = read_pairs(self.output / "pairs").pictures
        rows = [pictures[:SHOWN], pictures[-SHOWN:]]
        write_sheet(self.output / "sheets" / "teacher.png", rows)
        return {"pairs": preset.pairs.pairs}

    def train_student(self, name: str) -> Mapping[str, Any]:
        """Distil a generator; return losses."""
        preset, spec = self.preset, self.preset.generators[name]
        pairs = read_pairs(self.output / "pairs")
        self._check_vae(spec.vae)
        vae, teacher = load_vae(self.output, spec.vae), self._teacher()
        teacher_vae_name = preset.teacher_spec.vae
        teacher_vae = load_vae(self.output, teacher_vae_name)
        noise_map = NoiseMap(teacher_vae, vae, self.seed(f"noise-{name}"))
        generator = self._new_student(name, teacher)
        if isinstance(generator.unet, TranslatedUNet):
            generator.unet.take_noise_as_teacher(noise_map.matrix)
        latents = self._latents(f"pairs-{spec.vae}", spec.vae, pairs.pictures)
        seed = self.seed(name)
        task = StudentTask(
            name,
            generator,
            vae,
            noise_map,
            pairs,
            latents,
            self._latents(f"pairs-{teacher_vae_name}", teacher_vae_name, pairs.pictures),
            preset.student,
            seed=seed,
            device=self.device,
        )
        figures = self.trained(task, preset.student.loop)
        path = weights_path(self.output, name)
        write_model(
            path,
            "generator",
            generator.spec,
            task.average,
            words=words(),
            record=figures,
        )
        self._show(name, spec.vae)
        return figures

    def _new_student(self, name: str, teacher: Generator) -> Generator:
        """Return a generator that knows of the teacher what it can take over."""
        spec, text = self.preset.generators[name], self.preset.teacher_spec.text
        full = replace(spec, text=spec.text or text)
        generator: Generator = self.new(name, lambda: Generator(full, words()))
        if full.text == text:
            generator.text_encoder.load_state_dict(teacher.text_encoder.state_dict())
        if spec.text is None:
            generator.text_encoder.requires_grad_(False)
        if spec.from_teacher:
            take_over(generator.trunk, teacher.trunk)
        return generator

    def _show(self, name: str, vae_name: str) -> None:
        """Write pictures of a generator, below what the rendered ones with the captions are."""
        world, vae = self.world("held-out"), load_vae(self.output, vae_name)
        generator = load_generator(self.output, name)
        prompts = [several[0] for several in world.captions[:SHOWN]]
        tokens = tokens_from_texts(self.tokenizer(), prompts)
        side = world.pictures.shape[1] // vae.spec.factor
        shape = (len(tokens), vae.spec.latent_channels, side, side)
        rows = [world.pictures[:SHOWN]]
        for number in range(2):
            torch_seed = torch.Generator().manual_seed(number)
            noise = torch.randn(shape, generator=torch_seed)
            rows.append(pictures_of_generator(generator, vae, noise, tokens))
        write_sheet(self.output / "sheets" / f"{name}.png", rows)


STAGES = ("world", "tokenizer", "vaes", "clip", "captioner", "teacher", "pairs", "students")
"""In their order. "vaes" and "students" consist of one step per model, which go by its name."""

Step = tuple[str, Callable[[], Mapping[str, Any]]]


def train_pocket(
    options: RunOptions,
    output: Path,
    *,
    only: Sequence[str] = (),
    watch: Watch = plainly,
) -> dict[str, dict[str, Any]]:
    """Train the models of the pocket lineup; go on with an interrupted run.

    Args:
        options: The preset and its seed.
        output: Folder of the run.
        only: Stages, or steps of "vaes" ("vae-fern") and "students" ("pocket-ash"); none for all.
        watch: Wraps the steps of each stage.

    Returns:
        The record of each step gone through: seconds, final losses, figures.

    Raises:
        UsageError: The folder holds another run, or a stage lacks what an earlier one makes.
    """
    steps = steps_of_run(Distillation(options, output, watch))
    unknown = [name for name in only if name not in STAGES and name not in steps]
    if unknown:
        raise UsageError(
            f"There is no stage {unknown[0]!r}.",
            hint=f"Choose from {', '.join(dict.fromkeys((*STAGES, *steps)))}.",
        )
    records = {}
    for name, (stage, go_through) in steps.items():
        if not only or name in only or stage in only:
            started = time.perf_counter()
            figures = go_through()
            records[name] = _noted(output, name, time.perf_counter() - started, figures)
    return records


def steps_of_run(run: Distillation) -> dict[str, Step]:
    """Return every step by name, with its stage, in order."""
    vaes = {f"vae-{name}": ("vaes", partial(run.train_vae, name)) for name in run.preset.vaes}
    students = {
        name: ("students", partial(run.train_student, name)) for name in run.preset.generators
    }
    return {
        "world": ("world", run.render),
        "tokenizer": ("tokenizer", run.write_tokenizer),
        **vaes,
        "clip": ("clip", run.train_clip),
        "captioner": ("captioner", run.train_captioner),
        "teacher": ("teacher", run.train_teacher),
        "pairs": ("pairs", run.draw_pairs),
        **students,
    }


def _noted(output: Path, name: str, seconds: float, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record of a step; its time adds up over interruptions."""
    path = output / f"{name}.record.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    record = {
        **figures,
        "seconds": round(before.get("seconds", 0.0) + seconds, 1),
        "command": " ".join(["lineup", *sys.argv[1:]]),
    }
    write_atomic(path, json.dumps(record, indent=1).encode())
    return record
