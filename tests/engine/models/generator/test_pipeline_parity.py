"""A whole generator beside diffusers' pipelines: the same weights, prompt ids and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.info import GenerationInfo, Preprocess, TextEncoderInfo
from lineup.bundles.manifest import BundleKind, Manifest, Origin, Parity, Precision, Source
from lineup.bundles.writer import BundleWriter, today
from lineup.models import generator as module
from lineup.models.generator import ImageGenerator, SynthesisOptions
from lineup.models.noise import noise_from_seed

torch = pytest.importorskip("torch", reason="exports the graphs, of the extra export")
diffusers = pytest.importorskip("diffusers", reason="the reference, of the extra export")
transformers = pytest.importorskip("transformers", reason="has the text encoder")
graphs = pytest.importorskip("lineup_export.graph", reason="exports the graphs")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TOLERANCE = 1e-3  # largest difference of the float image, 0..1
SIDE, CELLS, LENGTH = 32, 16, 8
PROMPT, NEGATIVE = "red circle", "blue"
SEEDS = [11, 12]

CONSTANTS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
TRAILING = {**CONSTANTS, "timestep_spacing": "trailing"}
DDIM = {
    **CONSTANTS,
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}
LCM = {**CONSTANTS, "original_inference_steps": 50}


class Wrapped(torch.nn.Module):
    """A module with the signature of a graph."""

    def __init__(self, inner: Any, forward: Any) -> None:
        super().__init__()
        self.inner = inner
        self._forward = forward

    def forward(self, *inputs: Any) -> Any:
        return self._forward(self.inner, *inputs)


def models() -> tuple[Any, Any, Any]:
    """Return a tiny UNet, autoencoder and text encoder with random weights."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=CELLS,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=8,
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    return unet.eval(), vae.eval(), text.eval()


def exported(unet: Any, vae: Any, text: Any) -> dict[str, Any]:
    """Return graph per role."""

    def predict(unet: Any, latents: Any, timestep: Any, states: Any) -> Any:
        return unet(latents, timestep, states).sample

    spec = graphs.InputSpec
    free = {0: "images"}
    latents = spec("latents", torch.randn(2, 4, CELLS, CELLS), free)
    image = spec("image", torch.randn(2, 3, SIDE, SIDE), free)
    timestep = spec("timestep", torch.tensor([999.0, 999.0]), free)
    states = spec("text_states", torch.randn(2, LENGTH, 32), free)
    tokens = spec("tokens", torch.ones(2, LENGTH, dtype=torch.int64), {0: "prompts"})
    plans = {
        "unet": (unet, predict, [latents, timestep, states], "prediction"),
        "vae_decoder": (vae, lambda vae, x: vae.decode(x).sample, [latents], "image"),
        "vae_encoder": (vae, lambda vae, x: vae.encode(x).latent_dist.mean, [image], "latents"),
        "text_encoder": (
            text,
            lambda text, ids: text(ids).last_hidden_state,
            [tokens],
            "text_states",
        ),
    }
    return {
        role: graphs.graph_from_module(
            Wrapped(inner, forward), inputs, [output], opset=18, mixed_precision=True
        )
        for role, (inner, forward, inputs, output) in plans.items()
    }


@pytest.fixture(scope="module")
def reference() -> tuple[Any, Any, Any]:
    return models()


@pytest.fixture(scope="module")
def roles(reference: tuple[Any, Any, Any]) -> dict[str, Any]:
    return exported(*reference)


@pytest.fixture
def open_exported(roles: dict[str, Any], toy: Any, tmp_path: Any) -> Any:
    """Open the exported models as a generator with a scheduler."""
    info = GenerationInfo(
        native_width_px=SIDE,
        native_height_px=SIDE,
        steps=1,
        guidance=0.0,
        latent_channels=4,
        latent_factor=2,
        latent_scaling=0.18215,
        latent_shift=0.0,
        vae_family="tiny",
        text_encoders=(TextEncoderInfo("text_encoder", "tokenizer.json", LENGTH, 0),),
    )

    def opened(scheduler: dict[str, Any]) -> ImageGenerator:
        description = Manifest(
            graphs={},
            created=today(),
            kind=BundleKind.GENERATOR,
            name="tiny",
            licence="Apache-2.0",
            source=Source(Origin.RANDOM, "random:0", "1"),
            tools={"torch": torch.__version__},
            precision=Precision.FP32,
            preprocess=Preprocess(),
            generation=info,
            scheduler=scheduler,
        )
        with BundleWriter(tmp_path / "tiny", description) as writer:
            writer.add_file("tokenizer.json", toy.tokenizer_bytes())
            for role, graph in roles.items():
                writer.add_graph(
                    role,
                    graph.onnx,
                    inputs=graph.inputs,
                    outputs=graph.outputs,
                    opset=graph.opset,
                    parity=Parity("not compared alone", "max_relative_error", 0.0, 0.0, 1),
                    weights=graph.weights,
                )
            bundle = writer.finish()
        return ImageGenerator(bundle, Device(DeviceKind.CPU), RuntimeOptions(threads=1))

    return opened


@pytest.fixture
def largest_difference(
    reference: tuple[Any, Any, Any], open_exported: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Make the images with both and return the largest difference, on a scale of 0..1."""

    def seeded_noise(stream: int) -> Any:
        draws = [noise_from_seed(seed, (4, CELLS, CELLS), stream=stream) for seed in SEEDS]
        return torch.tensor(np.stack(draws))

    def states(text: Any, ids: list[int]) -> Any:
        with torch.no_grad():
            padded = torch.tensor([ids + [0] * (LENGTH - len(ids))])
            return text(padded).last_hidden_state.repeat(len(SEEDS), 1, 1)

    def compare(
        kind: str,
        reference_name: str,
        constants: dict[str, Any],
        *,
        steps: int,
        guidance: float,
        init: Any = None,
        strength: float | None = None,
    ) -> float:
        unet, vae, text = reference
        has_init = init is not None
        pipeline_class = (
            diffusers.StableDiffusionImg2ImgPipeline
            if has_init
            else diffusers.StableDiffusionPipeline
        )
        pipeline = pipeline_class(
            vae=vae,
            text_encoder=text,
            tokenizer=None,
            unet=unet,
            scheduler=getattr(diffusers, reference_name)(**constants),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        streams = iter(range(0 if has_init else 1, 100))
        for owner in (pipeline, pipeline.scheduler):
            name = type(owner).__module__
            if hasattr(__import__(name, fromlist=["x"]), "randn_tensor"):
                draw = lambda *_, **__: seeded_noise(next(streams))  # noqa: E731
                monkeypatch.setattr(f"{name}.randn_tensor", draw)
        given = {"latents": seeded_noise(0)}
        if has_init:
            pixels = torch.tensor(init).permute(2, 0, 1)[None].float() / 255
            given = {"image": pixels.repeat(len(SEEDS), 1, 1, 1), "strength": strength}
            # The runtime takes the mean of the posterior, the pipeline a sample of it.
            distribution = "diffusers.models.autoencoders.vae.DiagonalGaussianDistribution"
            monkeypatch.setattr(f"{distribution}.sample", lambda self, *_, **__: self.mean)
        expected = pipeline(
            prompt_embeds=states(text, [1, 4, 6, 2]),
            negative_prompt_embeds=states(text, [1, 5, 2]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="np",
            **given,
        ).images

        floats: list[Any] = []
        monkeypatch.setattr(
            module, "images_from_decoded", lambda decoded: floats.extend(decoded) or []
        )
        options = SynthesisOptions(
            steps=steps,
            guidance=guidance,
            negative_prompt=NEGATIVE,
            init_image=init,
            strength=strength,
            batch=len(SEEDS),
        )
        with open_exported({**constants, "type": kind}) as generator:
            generator.images(PROMPT, SEEDS, options)
        images = np.clip(np.stack(floats).transpose(0, 2, 3, 1) / 2 + 0.5, 0, 1)
        assert images.std() > 0.01
        return float(np.abs(images - expected).max())

    return compare


@pytest.mark.parametrize(
    ("kind", "reference_name", "constants", "steps", "guidance"),
    [
        ("one-step", "EulerDiscreteScheduler", TRAILING, 1, 0.0),
        ("one-step", "EulerDiscreteScheduler", TRAILING, 4, 0.0),
        ("euler", "EulerDiscreteScheduler", TRAILING, 5, 6.0),
        ("ddim", "DDIMScheduler", DDIM, 5, 6.0),
        ("lcm", "LCMScheduler", LCM, 4, 1.0),
        ("lcm", "LCMScheduler", LCM, 2, 1.8),
    ],
)
def test_text_to_image(largest_difference, kind, reference_name, constants, steps, guidance):
    difference = largest_difference(kind, reference_name, constants, steps=steps, guidance=guidance)

    assert difference < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "reference_name", "constants", "guidance"),
    [
        ("one-step", "EulerDiscreteScheduler", TRAILING, 0.0),
        ("ddim", "DDIMScheduler", DDIM, 5.0),
    ],
)
def test_image_to_image(largest_difference, kind, reference_name, constants, guidance):
    init = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)

    difference = largest_difference(
        kind, reference_name, constants, steps=4, guidance=guidance, init=init, strength=0.6
    )

    assert difference < TOLERANCE
