"""A tiny BLIP of random weights: the model of transformers, and the bundle made of it."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lineup.bundles.info import CaptionerInfo, Preprocess
from lineup.bundles.manifest import (
    BundleKind,
    Manifest,
    Origin,
    Parity,
    Precision,
    Source,
    TensorSpec,
)
from lineup.bundles.writer import BundleWriter, today

PAD, BEGIN, END = 0, 1, 2
WORDS = ["[PAD]", "[BEGIN]", "[END]", "[UNK]"]
WORDS += ["a", "red", "green", "blue", "cube", "ball", "on", "under", "near", "of"]
LAYERS, HEADS, HEAD_DIMENSION = 2, 2, 8
HIDDEN = HEADS * HEAD_DIMENSION
MAX_TOKENS = 10
SIZE_PX = 16


def tiny_blip() -> Any:
    from transformers import BlipConfig, BlipForConditionalGeneration

    torch.manual_seed(4)
    shared = {
        "hidden_size": HIDDEN,
        "intermediate_size": 32,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "initializer_range": 0.4,
    }
    text = {
        "vocab_size": len(WORDS),
        "encoder_hidden_size": HIDDEN,
        "max_position_embeddings": 32,
        "bos_token_id": BEGIN,
        "sep_token_id": END,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }
    vision = {"image_size": SIZE_PX, "patch_size": 8}
    config = BlipConfig(text_config={**shared, **text}, vision_config={**shared, **vision})
    model = BlipForConditionalGeneration(config)
    # Output weights of their own: tied ones repeat every token for ever.
    weights = torch.randn(len(WORDS), HIDDEN) * 0.4
    weights[END] *= 1.5
    model.text_decoder.cls.predictions.decoder.weight = nn.Parameter(weights)
    return model.eval()


def heads_from(states: torch.Tensor) -> torch.Tensor:
    """(sequences, tokens, hidden) to (sequences, heads, tokens, head dimension)."""
    return states.unflatten(-1, (HEADS, HEAD_DIMENSION)).transpose(1, 2)


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: Any) -> Any:
    scores = queries @ keys.transpose(-1, -2) * HEAD_DIMENSION**-0.5 + mask
    return (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)


class VisionEncoder(nn.Module):
    def __init__(self, blip: Any) -> None:
        super().__init__()
        self.vision = blip.vision_model
        self.layers = blip.text_decoder.bert.encoder.layer

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.vision(pixel_values, return_dict=True)[0]
        attentions = [layer.crossattention.self for layer in self.layers]
        return (
            torch.stack([heads_from(one.key(states)) for one in attentions], dim=1),
            torch.stack([heads_from(one.value(states)) for one in attentions], dim=1),
        )


class TextDecoder(nn.Module):
    """One token a step; written against the layers of transformers, not against its cache."""

    def __init__(self, blip: Any) -> None:
        super().__init__()
        self.bert = blip.text_decoder.bert
        self.head = blip.text_decoder.cls

    def forward(
        self,
        tokens: torch.Tensor,
        position: torch.Tensor,
        past_keys: torch.Tensor,
        past_values: torch.Tensor,
        cross_keys: torch.Tensor,
        cross_values: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        embeddings = self.bert.embeddings
        states = embeddings.word_embeddings(tokens)[:, None]
        states = embeddings.LayerNorm(states + embeddings.position_embeddings(position))
        places = torch.arange(MAX_TOKENS)
        here = (places == position)[:, None]
        mask = torch.where(places > position, -1e9, 0.0)
        keys, values = [], []
        for index, layer in enumerate(self.bert.encoder.layer):
            own = layer.attention.self
            keys.append(torch.where(here, heads_from(own.key(states)), past_keys[:, index]))
            values.append(torch.where(here, heads_from(own.value(states)), past_values[:, index]))
            mixed = attention(heads_from(own.query(states)), keys[-1], values[-1], mask)
            states = layer.attention.output(mixed, states)
            queries = heads_from(layer.crossattention.self.query(states))
            seen = attention(queries, cross_keys[:, index], cross_values[:, index], 0.0)
            states = layer.crossattention.output(seen, states)
            states = layer.output(layer.intermediate(states), states)
        return self.head(states)[:, 0], torch.stack(keys, dim=1), torch.stack(values, dim=1)


def graph_from(module: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str]) -> Any:
    """Export with the old exporter: a tenth of the time of the new one."""
    free = "images" if "pixel_values" in inputs else "sequences"
    names = [*inputs, *outputs]
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            stream,
            dynamo=False,
            opset_version=18,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: {0: free} for name in names if name != "position"},
        )
    return stream.getvalue()


def graphs_from(blip: Any) -> dict[str, Any]:
    past = torch.zeros(2, LAYERS, HEADS, MAX_TOKENS, HEAD_DIMENSION)
    cross = torch.zeros(2, LAYERS, HEADS, (SIZE_PX // 8) ** 2 + 1, HEAD_DIMENSION)
    decoder_inputs = {
        "tokens": torch.zeros(2, dtype=torch.int64),
        "position": torch.zeros(1, dtype=torch.int64),
        "past_keys": past,
        "past_values": past.clone(),
        "cross_keys": cross,
        "cross_values": cross.clone(),
    }
    pixels = {"pixel_values": torch.zeros(2, 3, SIZE_PX, SIZE_PX)}
    return {
        "vision_encoder": graph_from(VisionEncoder(blip), pixels, ["cross_keys", "cross_values"]),
        "text_decoder": graph_from(TextDecoder(blip), decoder_inputs, ["logits", "keys", "values"]),
    }


def tokenizer_json() -> bytes:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(WORDS[:3])
    # As many are saved: what the runtime must not let fill up or cut a prompt.
    tokenizer.enable_padding(length=8, pad_id=PAD, pad_token="[PAD]")
    tokenizer.enable_truncation(2)
    return tokenizer.to_str().encode()


def describe(prompt: str = "") -> Manifest:
    return Manifest(
        graphs={},
        created=today(),
        kind=BundleKind.CAPTIONER,
        name="tiny-blip",
        licence="Apache-2.0",
        source=Source(Origin.RANDOM, "random:4", "1"),
        tools={},
        precision=Precision.FP32,
        preprocess=Preprocess(
            width_px=SIZE_PX,
            height_px=SIZE_PX,
            resize_mode="stretch",
            interpolation="bicubic",
            antialias=True,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            value_range=(0, 1),
            colour_order="RGB",
            layout="NCHW",
        ),
        captioner=CaptionerInfo(
            BEGIN, END, PAD, MAX_TOKENS, LAYERS, HEADS, HEAD_DIMENSION, prompt=prompt
        ),
        tokenizer="tokenizer.json",
    )


@dataclass(frozen=True)
class TinyBlip:
    """The model of transformers, its words, and the graphs made of it."""

    model: Any
    graphs: dict[str, Any]

    def write(self, folder: Path, *, prompt: str = "", tokenizer: bytes | None = None) -> Path:
        with BundleWriter(folder, describe(prompt)) as writer:
            for role, graph in self.graphs.items():
                # The runner reads names and shapes from the graph itself.
                writer.add_graph(
                    role,
                    graph,
                    inputs=[TensorSpec("any", "float32", ("any",))],
                    outputs=[TensorSpec("any", "float32", ("any",))],
                    opset=18,
                    parity=Parity("torch", "max_relative_error", 0.0, 1e-3, 1),
                )
            writer.add_file("tokenizer.json", tokenizer or tokenizer_json())
            return writer.finish().path


@pytest.fixture(scope="module")
def tiny() -> TinyBlip:
    model = tiny_blip()
    return TinyBlip(model, graphs_from(model))
