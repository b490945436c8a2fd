"""A generator whose graphs are small enough to follow by hand, and its bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.bundle import Bundle
from lineup.bundles.info import GenerationInfo, Preprocess, TextEncoderInfo
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
from lineup.models.generator import ImageGenerator

FACTOR, CHANNELS, WIDTH, LENGTH = 4, 2, 3, 6
WORDS = ["<pad>", "<s>", "</s>", "<unk>", "red", "blue", "circle", "square"]

ONE_STEP = {
    "type": "one-step",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
LCM = {**ONE_STEP, "type": "lcm", "original_inference_steps": 50}


def tokenizer_bytes(words: Sequence[str] = WORDS) -> bytes:
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])]
    )
    return tokenizer.to_str().encode()


class GraphBuilder:
    """Collects nodes and constants of one ONNX graph."""

    def __init__(self) -> None:
        self._helper = pytest.importorskip("onnx", reason="builds the toy graphs").helper
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        node = self._helper.make_node(operator, list(inputs), [output], **attributes)
        self._nodes.append(node)
        return output

    def add_to(
        self,
        writer: BundleWriter,
        role: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        graph = self._helper.make_graph(
            self._nodes,
            "toy",
            [self._value(spec) for spec in inputs],
            [self._value(spec) for spec in outputs],
            self._constants,
        )
        opset = [self._helper.make_opsetid("", 18)]
        model = self._helper.make_model(graph, opset_imports=opset, ir_version=8)
        writer.add_graph(
            role,
            model.SerializeToString(),
            inputs=inputs,
            outputs=outputs,
            opset=18,
            parity=Parity("by hand", "max_relative_error", 0.0, 1e-6, 1),
        )

    def _value(self, spec: TensorSpec) -> Any:
        kinds = {"float32": 1, "int64": 7}
        return self._helper.make_tensor_value_info(spec.name, kinds[spec.dtype], list(spec.shape))


def spec(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def add_text_encoder(writer: BundleWriter, role: str, *, pooled: bool) -> None:
    """Each token's state is a row of a random table; pooled is their mean."""
    table = np.random.default_rng(3).normal(size=(len(WORDS), WIDTH)).astype(np.float32)
    build = GraphBuilder()
    build.node("Gather", [build.constant("table", table), "tokens"], "text_states", axis=0)
    outputs = [spec("text_states", "prompts", LENGTH, WIDTH)]
    if pooled:
        build.node("ReduceMean", ["text_states", build.constant("one", [1])], "pooled", keepdims=0)
        outputs.append(spec("pooled", "prompts", WIDTH))
    build.add_to(writer, role, [spec("tokens", "prompts", LENGTH, dtype="int64")], outputs)


def add_unet(writer: BundleWriter, extra: Sequence[TensorSpec], side: int | str) -> None:
    """0.5 latents + mean text state + timestep / 10,000 + mean of each further input."""
    build = GraphBuilder()
    axes = build.constant("axes", [1])
    column = build.constant("column", [-1, 1, 1, 1])
    latents = build.node("Mul", ["latents", build.constant("half", np.float32(0.5))], "scaled")
    words = build.constant("both", [1, 2])
    terms = [build.node("ReduceMean", ["text_states", words], "text", keepdims=0)]
    small = build.constant("small", np.float32(1e-4))
    terms.append(build.node("Mul", ["timestep", small], "time"))
    for one in extra:
        mean = build.node("ReduceMean", [one.name, axes], f"{one.name}_mean", keepdims=0)
        terms.append(build.node("Mul", [mean, small], f"{one.name}_small"))
    total = build.node("Sum", terms, "total")
    shaped = build.node("Reshape", [total, column], "shaped")
    build.node("Add", [latents, shaped], "prediction")
    rows, columns = (side, side) if isinstance(side, int) else ("rows", "columns")
    image = ("images", CHANNELS, rows, columns)
    inputs = [
        spec("latents", *image),
        spec("timestep", "images"),
        spec("text_states", "images", "length", "width"),
        *extra,
    ]
    build.add_to(writer, "unet", inputs, [spec("prediction", *image)])


def add_autoencoder(writer: BundleWriter) -> None:
    """A decoder that sees its neighbours (3x3, then 4x4 per cell), an encoder that does not."""
    random = np.random.default_rng(4)
    build = GraphBuilder()
    near = build.constant("near", random.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype("f4"))
    up = build.constant("up", random.normal(0, 0.3, (CHANNELS, 3, FACTOR, FACTOR)).astype("f4"))
    build.node("Conv", ["latents", near], "smooth", pads=[1, 1, 1, 1])
    build.node("ConvTranspose", ["smooth", up], "image", strides=[FACTOR, FACTOR])
    latents = spec("latents", "images", CHANNELS, "rows", "columns")
    image = spec("image", "images", 3, "height", "width")
    build.add_to(writer, "vae_decoder", [latents], [image])

    build = GraphBuilder()
    down = build.constant("down", random.normal(0, 0.3, (CHANNELS, 3, FACTOR, FACTOR)).astype("f4"))
    build.node("Conv", ["image", down], "latents", strides=[FACTOR, FACTOR])
    build.add_to(writer, "vae_encoder", [image], [latents])


Toy = Callable[..., Bundle]


@pytest.fixture
def toy_bundle(tmp_path: Path) -> Toy:
    """Write a generator bundle of toy graphs; keywords change what it has."""

    def write(
        name: str = "toy",
        *,
        scheduler: dict[str, Any] = ONE_STEP,
        text_encoders: int = 1,
        pooled: bool = False,
        unet_inputs: Sequence[TensorSpec] = (),
        side: int | str = "any",
        tokenizer: bytes | None = None,
        **generation: Any,
    ) -> Bundle:
        roles = ["text_encoder", "text_encoder_2"][:text_encoders]
        info = GenerationInfo(
            native_width_px=32,
            native_height_px=32,
            steps=1,
            guidance=0.0,
            latent_channels=CHANNELS,
            latent_factor=FACTOR,
            latent_scaling=0.5,
            latent_shift=0.1,
            vae_family="toy-vae",
            text_encoders=tuple(
                TextEncoderInfo(role, "tokenizer.json", LENGTH, 0) for role in roles
            ),
        )
        description = Manifest(
            graphs={},
            created=today(),
            kind=BundleKind.GENERATOR,
            name=name,
            licence="Apache-2.0",
            source=Source(Origin.RANDOM, "random:0", "1"),
            tools={"numpy": np.__version__},
            precision=Precision.FP32,
            preprocess=Preprocess(),
            generation=replace(info, **generation),
            scheduler=scheduler,
        )
        with BundleWriter(tmp_path / name, description) as writer:
            writer.add_file("tokenizer.json", tokenizer or tokenizer_bytes())
            for role in roles:
                add_text_encoder(writer, role, pooled=pooled)
            add_unet(writer, unet_inputs, side)
            add_autoencoder(writer)
            return writer.finish()

    return write


@pytest.fixture
def open_toy(toy_bundle: Toy) -> Callable[..., ImageGenerator]:
    """Open a toy generator on the CPU."""

    def opened(*, keep_graphs: bool = True, **changes: Any) -> ImageGenerator:
        return ImageGenerator(
            toy_bundle(**changes),
            Device(DeviceKind.CPU),
            RuntimeOptions(threads=1),
            keep_graphs=keep_graphs,
        )

    return opened


@pytest.fixture
def toy() -> Any:
    """Constants and helpers of this file, as attributes."""

    class Helpers:
        factor, channels, width, length, words = FACTOR, CHANNELS, WIDTH, LENGTH, WORDS
        one_step, lcm = ONE_STEP, LCM
        spec = staticmethod(spec)
        tokenizer_bytes = staticmethod(tokenizer_bytes)

    return Helpers
