"""Captions of the engine against `generate` of transformers, token for token.

    python benchmarks/caption_tokens.py --bundle DIR --torch DIR [--image FILE]... [--record]

The bundle is BLIP in fp32; the other folder is what `save_pretrained` wrote of the same weights,
with the image processor. Images are seeded noise and those given; each side prepares them itself.
Random weights repeat themselves, so that log probabilities are compared too. Ends in one JSON line;
exits with 1 when a caption differs in any token.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _record import finish, parser_of
from lineup.bundles.bundle import Bundle, open_bundle
from lineup.models.captioner import Captioner, CaptionOptions
from lineup.models.preprocess import pixel_values_from_images, preprocess_from_bundle
from lineup.reading import read_image
from lineup.runtime import Runtime
from lineup.types import RgbImage

NOISE_SIZES_PX = ((384, 384), (240, 320), (512, 333))
"""Heights and widths of the images of noise."""

MODES = {"greedy": 1, "beam 3": 3}

Captions = list[tuple[tuple[int, ...], float]]
"""Tokens without begin, end and padding, and their log probability, per image."""


def images_from_arguments(paths: Sequence[Path], seed: int) -> list[RgbImage]:
    """Return images of noise, then those of the files."""
    random = np.random.default_rng(seed)
    noise = [random.integers(0, 256, (*size, 3), np.uint8) for size in NOISE_SIZES_PX]
    return [*noise, *(read_image(path).pixels for path in paths)]


def captions_of_engine(
    bundle: Path, images: Sequence[RgbImage], max_tokens: int, threads: int
) -> dict[str, Captions]:
    """Return what the engine finds in each mode."""
    found = {}
    with Runtime("cpu", threads=threads).open(Captioner, bundle) as captioner:
        for mode, beams in MODES.items():
            options = CaptionOptions(beams=beams, max_tokens=max_tokens, prompt="")
            captions = captioner.captions(images, options)
            found[mode] = [(one.token_ids, one.log_probability) for one in captions]
    return found


def captions_of_transformers(
    folder: Path, images: Sequence[RgbImage], max_tokens: int, ends: set[int]
) -> tuple[dict[str, Captions], np.ndarray[Any, Any]]:
    """Return what `generate` finds in each mode, and the pixels that the model saw."""
    from transformers import (  # noqa: PLC0415 - takes seconds
        BlipForConditionalGeneration,
        BlipImageProcessor,
    )

    model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = BlipImageProcessor.from_pretrained(folder)
    pixels = processor(list(images), return_tensors="pt")["pixel_values"]
    asked = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True}
    found = {}
    for mode, beams in MODES.items():
        with torch.no_grad():
            # The begin token counts here.
            out = model.generate(
                pixel_values=pixels, num_beams=beams, max_length=max_tokens + 1, **asked
            )
        # What a beam search keeps are log probabilities already.
        steps = model.text_decoder.compute_transition_scores(
            out.sequences,
            out.scores,
            beam_indices=out.beam_indices if beams > 1 else None,
            normalize_logits=beams == 1,
        )
        rows = [tuple(one for one in row[1:] if one not in ends) for row in out.sequences.tolist()]
        sums = [float(row[torch.isfinite(row)].sum()) for row in steps]
        found[mode] = list(zip(rows, sums, strict=True))
    return found, pixels.numpy()


def comparison(ours: Captions, theirs: Captions) -> dict[str, Any]:
    """Return how many captions are equal, and how far their log probabilities are apart."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "captions": len(pairs),
        "equal": sum(one[0] == other[0] for one, other in pairs),
        "tokens": sum(len(tokens) for tokens, _ in theirs),
        "distinct_tokens": len({token for tokens, _ in theirs for token in tokens}),
        "log_probabilities": [round(other[1], 4) for other in theirs],
        "max_log_probability_difference": max(abs(one[1] - other[1]) for one, other in pairs),
    }


def measure(arguments: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """Caption with both and compare."""
    info = bundle.manifest.captioner
    assert info is not None
    max_tokens = arguments.max_tokens or info.max_tokens
    images = images_from_arguments(arguments.image, arguments.seed)
    ours = captions_of_engine(arguments.bundle, images, max_tokens, arguments.threads)
    ends = {info.eos_token_id, info.pad_token_id}
    theirs, pixels = captions_of_transformers(arguments.torch, images, max_tokens, ends)
    prepared = pixel_values_from_images(images, preprocess_from_bundle(bundle))
    return {
        "model": bundle.manifest.name,
        "weights": bundle.manifest.source.id,
        "precision": bundle.manifest.precision.value,
        "max_tokens": max_tokens,
        "max_pixel_difference": float(np.abs(prepared - pixels).max()),
        "modes": {mode: comparison(ours[mode], theirs[mode]) for mode in MODES},
    }


def main() -> None:
    """Compare, print the table and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--torch", type=Path, required=True, help="folder of the torch weights")
    parser.add_argument("--image", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--max-tokens", type=int, help="default: what the bundle's cache holds")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = measure(arguments, open_bundle(arguments.bundle))
    for mode, one in results["modes"].items():
        print(
            f"{mode:8}{one['equal']:4} of {one['captions']} captions equal, {one['tokens']} tokens "
            f"({one['distinct_tokens']} distinct), log probabilities at most "
            f"{one['max_log_probability_difference']:.1e} apart"
        )
    settings = {
        "noise": len(NOISE_SIZES_PX),
        "photographs": len(arguments.image),
        "seed": arguments.seed,
        "threads": arguments.threads,
    }
    finish("caption_tokens", settings, results, record=arguments.record)
    if any(one["equal"] != one["captions"] for one in results["modes"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
