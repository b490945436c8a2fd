"""Training the captioner: the most detailed caption of each picture, word by word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from tokenizers import Tokenizer
from torch import Tensor

from lineup_models.pocket.captioner import Captioner, TextDecoder, VisionEncoder
from lineup_models.pocket.data import UINT8, images_from_pixels, resized, varied
from lineup_models.pocket.registry import load_captioner, words
from lineup_models.pocket.run import Run, StageTask
from lineup_models.pocket.text import BOS, EOS, PAD, tokens_from_texts
from lineup_models.pocket.world import grammar
from lineup_models.training import mixed_precision


def train_captioner(run: Run) -> dict[str, Any]:
    """Train the captioner; return losses and accuracy on held-out pictures."""
    captioner = run.new("captioner", lambda: Captioner(run.preset.captioner_spec, words()))
    figures = run.trained(CaptionerTask(run, captioner), run.preset.captioner.loop)
    world, tokenizer = run.world("held-out"), run.tokenizer()
    stored = load_captioner(run.output).to(run.device)
    captions = []
    for start in range(0, len(world.captions), 32):
        some = world.pictures[start : start + 32]
        captions += greedy_captions(stored, some, tokenizer, run.device)
    right = shares_right(captions, [several[0] for several in world.captions])
    shares = {name: round(share, 4) for name, share in right.items()}
    return {**figures, "held_out": len(captions), "right": shares}


class CaptionerTask(StageTask[Captioner]):
    """Trains a captioner by the cross-entropy of the next word."""

    def __init__(self, run: Run, captioner: Captioner) -> None:
        super().__init__(run, "captioner", captioner)
        self.options, self.world = run.preset.captioner, run.world()
        captions = [several[0] for several in self.world.captions]
        self.tokens = tokens_from_texts(run.tokenizer(), captions)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropy, in nats per word."""
        random = self.random(step)
        rows = random.integers(len(self.tokens), size=self.options.pictures)
        pixels = np.stack([varied(self.world.pictures[row], random) for row in rows])
        images = images_from_pixels(resized(pixels, self.model.spec.size_px), self.device)
        tokens = self.tokens[torch.from_numpy(rows)]
        tokens = tokens[:, : int((tokens != PAD).sum(dim=1).max())].to(self.device)
        with mixed_precision(self.device, bfloat16=self.options.bfloat16):
            logits = self.model(images, tokens[:, :-1])
        logits, wanted = logits.float(), tokens[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD)
        known = wanted != PAD
        right = ((logits.argmax(dim=2) == wanted) & known).sum() / known.sum()
        return loss, {"words_right": right.item()}


@torch.no_grad()
def greedy_captions(
    captioner: Captioner, pictures: UINT8, tokenizer: Tokenizer, device: torch.device
) -> list[str]:
    """Return the captions that choosing the likeliest word each time gives.

    The captioner is in evaluation mode on `device`; pictures are uint8 (N, 256, 256, 3).
    """
    spec, count = captioner.spec, len(pictures)
    images = images_from_pixels(resized(pictures, spec.size_px), device)
    cross = VisionEncoder(captioner)(images)
    shape = (count, spec.layers, spec.heads, spec.max_tokens, spec.head_dimension)
    keys, values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    tokens = torch.full((count,), BOS, device=device)
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    chosen = []
    decoder = TextDecoder(captioner)
    for place in range(spec.max_tokens - 1):
        position = torch.tensor([place], device=device)
        logits, keys, values = decoder(tokens, position, keys, values, *cross)
        tokens = logits.argmax(dim=1).masked_fill(ended, PAD)
        ended |= tokens == EOS
        chosen.append(tokens)
        if bool(ended.all()):
            break
    return list(tokenizer.decode_batch(torch.stack(chosen, dim=1).tolist()))


ASPECTS: Mapping[str, Sequence[str]] = {
    "kinds": [*(kind.value for kind in grammar.Kind), *(kind.plural for kind in grammar.Kind)],
    "colours": [word.value for word in grammar.Colour],
    "materials": [word.value for word in grammar.Material],
    "sizes": [word.value for word in grammar.Size],
    "counts": ["a", "an", *grammar.COUNTS.values()],
    "relation": [word.value for word in grammar.Relation],
    "background": [word.phrase for word in grammar.Background],
    "light": [word.value for word in grammar.Light],
    "camera": [word.value for word in grammar.Camera if word.value],
}
"""Words and phrases of each aspect."""

SINGULARS = {kind.plural: kind.value for kind in grammar.Kind}


def named_in(caption: str, aspect: str) -> list[str]:
    """Return the words of an aspect that a caption names, in order; "s" of a plural left out."""
    text = " ".join(caption.replace(",", " ").split())
    if aspect == "counts":
        # The article of a place is no count: only words before the place are looked at.
        places = [text.find(place) for place in ASPECTS["background"] if place in text]
        text = text[: min(places, default=len(text))]
    words = re.findall(rf"\b(?:{'|'.join(ASPECTS[aspect])})\b", text)
    return [SINGULARS.get(word, word) for word in words]


def shares_right(captions: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Return, per aspect, the share of captions that name just what the true caption names.

    "all" is the share of captions that are right in every word.
    """
    pairs = list(zip(captions, truths, strict=True))
    right = {
        aspect: [named_in(caption, aspect) == named_in(truth, aspect) for caption, truth in pairs]
        for aspect in ASPECTS
    }
    right["all"] = [caption == truth.replace(",", "") for caption, truth in pairs]
    return {aspect: sum(each) / len(pairs) for aspect, each in right.items()}
