"""Stages of the pocket training that distil generators from a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lineup_models.pocket.data import PROMPTS_FIRST, SEEDS_PER_RUN
from lineup_models.pocket.generator import Generator, take_over
from lineup_models.pocket.pairs import Painter, fill_pairs, read_pairs
from lineup_models.pocket.registry import load_generator, load_vae, weights_path, words
from lineup_models.pocket.sheets import pictures_of_generator, write_sheet
from lineup_models.pocket.stages import SHOWN, Stages
from lineup_models.pocket.student_training import NoiseMap, StudentTask
from lineup_models.pocket.teacher_training import TeacherTask, latents_of_pictures
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.pocket.translation import TranslatedUNet
from lineup_models.pocket.weights import write_model
from lineup_models.research.oneforall.state import check_made, read_tensors, write_tensors


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
