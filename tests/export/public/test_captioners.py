"""Exported captioners beside `generate` of transformers, token for token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import runner_from_onnx
from lineup.models.caption_search import CachedDecoder, SearchOptions, search
from lineup_export.assembly import ExportedBundle
from lineup_export.public.source import RandomSource
from lineup_models.recipes.read import open_recipe

pytestmark = pytest.mark.slow

MAX_TOKENS = 20


def reference_tokens(name: str, pixels: torch.Tensor, beams: int) -> list[list[int]]:
    """Return what transformers generates, the first token left out."""
    model: Any = RandomSource(open_recipe(name), is_tiny=True).module("model", torch.float32)
    options = {"num_beams": beams, "max_length": MAX_TOKENS, "do_sample": False}
    with torch.no_grad():
        if name == "blip-base":
            found = model.generate(pixel_values=pixels, **options)
        else:
            found = model.generate(pixels, **options)
    return [row[1:] for row in found.tolist()]


@pytest.mark.parametrize("name", ["blip-base", "vit-gpt2"])
@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_those_of_generate(
    name: str, beams: int, export_tiny: Callable[..., ExportedBundle]
) -> None:
    bundle = export_tiny(name).bundle
    info = bundle.manifest.captioner
    assert info is not None
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = reference_tokens(name, pixels, beams)
    device = Device(DeviceKind.CPU)

    with (
        runner_from_onnx(bundle.graph_path("vision_encoder"), device) as vision,
        runner_from_onnx(bundle.graph_path("text_decoder"), device) as text,
    ):
        cross = vision.run({"pixel_values": pixels.numpy()})
        decoder = CachedDecoder(text, info, cross["cross_keys"], cross["cross_values"])
        options = SearchOptions(
            end_id=info.eos_token_id,
            pad_id=info.pad_token_id,
            max_new_tokens=MAX_TOKENS - 1,
            beams=beams,
        )
        found = search(decoder, [info.bos_token_id], 2, options)

    ends = {info.eos_token_id, info.pad_token_id}
    for hypothesis, row in zip(found, expected, strict=True):
        assert [token for token in hypothesis.tokens if token not in ends] == [
            token for token in row if token not in ends
        ]
    assert all(np.isfinite(hypothesis.log_probability) for hypothesis in found)
