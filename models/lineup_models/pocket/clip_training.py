"""Training the pocket CLIP: pictures find their captions, and the middle keeps the spectrum."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from lineup.types import Float32Array
from lineup_models.pocket.clip import SPECTRAL_BANDS, Clip
from lineup_models.pocket.data import UINT8, World, drawn_caption, images_from_pixels, shifted
from lineup_models.pocket.registry import load_clip, words
from lineup_models.pocket.run import Run, StageTask
from lineup_models.pocket.text import tokens_from_texts
from lineup_models.training import mixed_precision

FACTORS = (2, 3, 4, 6, 8)
PERIODS = (2, 4, 8, 16)
ENLARGEMENTS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def styled(picture: UINT8, seed: int) -> UINT8:
    """Return a picture, uint8 (H, W, 3), with the look number `seed`.

    A look does not depend on the picture. It is a random chain of what generators and cameras do
    to all their pictures alike: resolution and its filter, blur or sharpening, contrast and tint,
    a faint lattice, grain.
    """
    random = np.random.default_rng(seed)
    found = picture.astype(np.float32)
    if random.random() < 0.6:
        found = _fewer_details(found, random)
    if random.random() < 0.5:
        blurred = cv2.GaussianBlur(found, (0, 0), 0.5 + 2.0 * random.random())
        soft = np.asarray(blurred, np.float32)
        found = soft if random.random() < 0.5 else found + random.random() * (found - soft)
    if random.random() < 0.6:
        found = _lattice(found, random)
    gain, offset = 1.0 + random.normal(0.0, 0.04, 3), random.normal(0.0, 2.5, 3)
    found = (found - 128.0) * gain.astype(np.float32) + 128.0 + offset.astype(np.float32)
    if random.random() < 0.5:
        found += random.random() * 3.0 * random.standard_normal(found.shape, np.float32)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _fewer_details(pixels: Float32Array, random: np.random.Generator) -> Float32Array:
    """Reduce and enlarge again; mixed with what was there."""
    height, width = pixels.shape[:2]
    factor = FACTORS[int(random.integers(len(FACTORS)))]
    way = ENLARGEMENTS[int(random.integers(len(ENLARGEMENTS)))]
    small = cv2.resize(pixels, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (width, height), interpolation=way)
    share = random.uniform(0.5, 1.0)
    return np.asarray(share * again + (1.0 - share) * pixels, np.float32)


def _lattice(pixels: Float32Array, random: np.random.Generator) -> Float32Array:
    """Multiply by a faint pattern that repeats, as upsampling leaves it."""
    height, width = pixels.shape[:2]
    period = PERIODS[int(random.integers(len(PERIODS)))]
    drawn = random.standard_normal((period, period, 1), np.float32)
    pattern = 1.0 + np.float32(random.uniform(0.01, 0.05)) * drawn
    repeats = (-(-height // period), -(-width // period), 1)
    return np.asarray(pixels * np.tile(pattern, repeats)[:height, :width], np.float32)


STANDARD_PICTURES = 128
POWER_FLOOR = 1e-7
"""Keeps the logarithm finite; far below the power of sensor noise."""


def train_clip(run: Run) -> dict[str, Any]:
    """Train the CLIP; return losses and accuracy on held-out pictures."""
    clip = run.new("clip", lambda: Clip(run.preset.clip_spec, words()))
    figures = run.trained(ClipTask(run, clip), run.preset.clip.loop)
    world = run.world("held-out")
    found = round(_retrieval_accuracy(run, world), 4)
    return {**figures, "held_out": len(world.captions), "own_caption_first": found}


def band_energies(images: Tensor) -> Tensor:
    """Return the logarithm of the luminance's power in rings of the spectrum.

    float32 (N, 3, H, W), H equal to W, to (N, SPECTRAL_BANDS), from the lowest frequencies to
    those of the corners.
    """
    side = images.shape[-1]
    spectrum = torch.fft.rfft2(images.mean(dim=1), norm="ortho").abs().square()
    down = torch.fft.fftfreq(side)[:, None]
    across = torch.fft.rfftfreq(side)[None]
    radius = torch.sqrt(down**2 + across**2) / 0.7072
    ring = (radius * SPECTRAL_BANDS).long().clamp(max=SPECTRAL_BANDS - 1).flatten()
    member = F.one_hot(ring, SPECTRAL_BANDS).to(images)
    power = spectrum.flatten(1) @ (member / member.sum(dim=0))
    return torch.log(power + POWER_FLOOR)


class ClipTask(StageTask[Clip]):
    """Trains a CLIP.

    The towers learn by the symmetric cross-entropy of Radford et al. (2021). Captions say little
    about the low-level look of a picture, and a tower that only serves them forgets it. So every
    two pictures of a batch are given the same random look (`styles`), and by the cosine of the
    middle block's CLS tokens each has to find its partner, whose content is another. A linear head
    on that token, used in training alone, also has to tell the energy in rings of the picture's
    spectrum. No generator takes part.
    """

    def __init__(self, run: Run, clip: Clip) -> None:
        super().__init__(run, "clip", clip)
        self.options, self.world, self.tokenizer = run.preset.clip, run.world(), run.tokenizer()
        random = self.random(self.options.loop.steps)
        standard = min(STANDARD_PICTURES, len(self.world.captions))
        energies = band_energies(self._images(random, standard)[0])
        self.mean, self.deviation = energies.mean(dim=0), energies.std(dim=0)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the contrastive loss and the weighted error of the spectrum."""
        options, clip = self.options, self.model
        random = self.random(step)
        images, captions = self._images(random, options.pictures)
        tokens = tokens_from_texts(self.tokenizer, captions).to(self.device)
        kept = self._kept(step, random)
        with mixed_precision(self.device, bfloat16=options.bfloat16):
            cls, found = clip.image_tower(images, kept)
            middle = cls[:, clip.spec.middle - 1]
            told = clip.spectral(middle)
            texts = clip.text_tower(tokens)
        similarities = clip.similarities(found, texts)
        own = torch.arange(len(images), device=self.device)
        both = F.cross_entropy(similarities, own), F.cross_entropy(similarities.T, own)
        contrastive = (both[0] + both[1]) / 2
        wanted = (band_energies(images) - self.mean) / self.deviation
        spectral = F.smooth_l1_loss(told.float(), wanted)
        right = (similarities.argmax(dim=1) == own).float().mean()
        style, partners = partner_loss(middle.float(), options.style_temperature)
        total = contrastive + options.spectral_weight * spectral + options.style_weight * style
        parts = {"contrastive": contrastive, "spectral": spectral, "style": style}
        parts |= {"retrieved": right, "partners_found": partners}
        return total, {name: part.item() for name, part in parts.items()}

    def _images(self, random: np.random.Generator, count: int) -> tuple[Tensor, list[str]]:
        rows = random.choice(len(self.world.captions), count, replace=False)
        # A shift only: what else may vary makes the look, which two pictures share.
        looks = np.repeat(random.integers(2**62, size=(count + 1) // 2), 2)[:count]
        pixels = np.stack(
            [
                styled(shifted(self.world.pictures[row], random), int(look))
                for row, look in zip(rows, looks, strict=True)
            ]
        )
        captions = [drawn_caption(self.world.captions[row], random) for row in rows]
        return images_from_pixels(pixels, self.device), captions

    def _kept(self, step: int, random: np.random.Generator) -> Tensor | None:
        options, patches = self.options, self.model.spec.patches
        if step >= (1.0 - options.whole_share) * options.loop.steps:
            return None
        chosen = random.permutation(patches)[: max(1, round(options.kept_share * patches))]
        return torch.from_numpy(np.sort(chosen)).to(self.device)


def partner_loss(tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of finding one's partner among all others, and how often one does.

    Of `tokens`, float32 (N, D), N even, rows 2 k and 2 k + 1 are partners.
    """
    normal = F.normalize(tokens, dim=1)
    itself = torch.eye(len(tokens), dtype=torch.bool, device=tokens.device)
    cosines = (normal @ normal.T / temperature).masked_fill(itself, float("-inf"))
    partner = torch.arange(len(tokens), device=tokens.device) ^ 1
    found = (cosines.argmax(dim=1) == partner).float().mean()
    return F.cross_entropy(cosines, partner), found


@torch.no_grad()
def _retrieval_accuracy(run: Run, world: World) -> float:
    """Return the share of pictures whose own full caption is the nearest of all."""
    clip = load_clip(run.output).to(run.device)
    tokens = tokens_from_texts(run.tokenizer(), [several[0] for several in world.captions])
    texts = clip.text_tower(tokens.to(run.device))
    found = [
        clip.image_tower(images_from_pixels(world.pictures[start : start + 16], run.device))[1]
        for start in range(0, len(world.captions), 16)
    ]
    nearest = clip.similarities(torch.cat(found), texts).argmax(dim=1).cpu()
    return float((nearest == torch.arange(len(nearest))).float().mean())
