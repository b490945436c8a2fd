"""An image of a prompt by one program: the engine, diffusers in PyTorch, optimum, or others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import _child
import numpy as np

from lineup.machine import usable_cores
from lineup.types import RgbImage

Draw = Callable[[], RgbImage]


def engine(asked: dict[str, Any]) -> tuple[Draw, Callable[[], dict[str, Any]]]:
    """Ours: a candidate's image, and with an encoder its features, as for a verdict."""
    from lineup.models.generator import ImageGenerator, SynthesisOptions  # noqa: PLC0415 - its time
    from lineup.runtime import Runtime  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    runtime = Runtime(asked["device"], threads=asked["threads"])
    device, settings = runtime.place
    settings = replace(settings, cuda_graphs=asked.get("cuda_graphs", True))
    generator, open_s = _child.timed(
        lambda: ImageGenerator(runtime.bundle(asked["model"]), device, settings)
    )
    encoder = None
    if asked.get("encoder"):
        from lineup.models.encoder import ImageEncoder  # noqa: PLC0415 - Pillow, for nothing else

        encoder = runtime.open(ImageEncoder, asked["encoder"])
    options = SynthesisOptions(width_px=asked["size_px"], height_px=asked["size_px"])
    _child.about("onnxruntime-gpu", "openvino")
    _child.say("loaded", import_s=imported_s, open_s=open_s)

    def draw() -> RgbImage:
        image = generator.images(asked["prompt"], [asked["seed"]], options)[0]
        if encoder is not None:
            encoder.features([image], encoder.default_layer)
        return image

    def stages() -> dict[str, Any]:
        stages_s = {name: ms / 1e3 for name, ms in generator.trace.ms.items()}
        return {"stages_s": stages_s, "images": 1 + asked["repeat"]}

    return draw, stages


def diffusers(asked: dict[str, Any]) -> tuple[Draw, Callable[[], dict[str, Any]]]:
    """StableDiffusionPipeline in PyTorch, eager or compiled."""
    import diffusers  # noqa: PLC0415 - its time is told
    import torch  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    dtype = getattr(torch, asked["dtype"])
    on_gpu = asked["device"].startswith("cuda")
    pipeline, load_s = _child.timed(
        lambda: diffusers.StableDiffusionPipeline.from_pretrained(
            asked["model"], torch_dtype=dtype, local_files_only=True
        ).to("cuda" if on_gpu else "cpu")
    )
    if asked.get("channels_last"):
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    if how := asked.get("compile"):
        pipeline.unet = torch.compile(pipeline.unet, **how)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, **how)
    latents = torch.from_numpy(np.load(asked["latents"])).to(pipeline.device, dtype)
    _child.about("torch", "diffusers", "transformers", "accelerate")
    _child.say("loaded", import_s=imported_s, load_s=load_s)

    def device() -> dict[str, Any]:
        return {"peak_device_mib": torch.cuda.max_memory_reserved() / 2**20} if on_gpu else {}

    return drawn_by(pipeline, latents, asked), device


def optimum(asked: dict[str, Any]) -> tuple[Draw, Callable[[], dict[str, Any]]]:
    """ONNX Runtime's pipeline with default settings, of a folder that optimum exported."""
    import torch  # noqa: PLC0415 - its time is told
    from optimum.onnxruntime import ORTStableDiffusionPipeline  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    provider = "CUDA" if asked["device"].startswith("cuda") else "CPU"
    pipeline, load_s = _child.timed(
        lambda: ORTStableDiffusionPipeline.from_pretrained(
            asked["model"], provider=f"{provider}ExecutionProvider", local_files_only=True
        )
    )
    latents = torch.from_numpy(np.load(asked["latents"]))
    _child.about("optimum", "optimum-onnx", "onnxruntime-gpu", "diffusers", "torch")
    _child.say("loaded", import_s=imported_s, load_s=load_s)
    return drawn_by(pipeline, latents, asked), dict


def openvino(asked: dict[str, Any]) -> tuple[Draw, Callable[[], dict[str, Any]]]:
    """OpenVINO's pipeline with default settings, of a folder that optimum-intel exported."""
    import torch  # noqa: PLC0415 - its time is told
    from optimum.intel import OVStableDiffusionPipeline  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    threads = {"INFERENCE_NUM_THREADS": asked["threads"]} if asked["threads"] else {}
    pipeline, load_s = _child.timed(
        lambda: OVStableDiffusionPipeline.from_pretrained(
            asked["model"], ov_config=threads, local_files_only=True
        )
    )
    latents = torch.from_numpy(np.load(asked["latents"]))
    _child.about("openvino", "optimum", "optimum-intel", "diffusers", "torch")
    _child.say("loaded", import_s=imported_s, load_s=load_s)
    return drawn_by(pipeline, latents, asked), dict


def stable_diffusion_cpp(asked: dict[str, Any]) -> tuple[Draw, Callable[[], dict[str, Any]]]:
    """stable-diffusion.cpp, of a folder of diffusers; it draws its own noise."""
    from stable_diffusion_cpp import StableDiffusion  # noqa: PLC0415 - its time is told

    imported_s = _child.seconds_since_start()
    model, load_s = _child.timed(
        lambda: StableDiffusion(
            model_path=asked["model"],
            wtype=asked["weights"],
            n_threads=asked["threads"] or usable_cores(),
            # Which of the two Stable Diffusion 2 is, would be found out by running the denoiser.
            prediction="eps",
            vae_decode_only=True,
            verbose=False,
        )
    )
    _child.about("stable-diffusion-cpp-python")
    _child.say("loaded", import_s=imported_s, load_s=load_s)

    def draw() -> RgbImage:
        made = model.generate_image(
            prompt=asked["prompt"],
            width=asked["size_px"],
            height=asked["size_px"],
            sample_steps=1,
            cfg_scale=1.0,
            sample_method="euler",
            seed=asked["seed"],
        )
        return np.asarray(made[0].convert("RGB"))

    return draw, dict


def drawn_by(pipeline: Any, latents: Any, asked: dict[str, Any]) -> Draw:
    """Return what draws the prompt with a pipeline of diffusers' shape, in one step."""
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> RgbImage:
        made = pipeline(
            asked["prompt"],
            latents=latents,
            num_inference_steps=1,
            guidance_scale=0.0,
            width=asked["size_px"],
            height=asked["size_px"],
            output_type="np",
        )
        pixels = np.asarray(made.images[0], np.float32)
        image: RgbImage = np.round(255 * pixels).astype(np.uint8)
        return image

    return draw


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    programs = {
        "lineup": engine,
        "diffusers": diffusers,
        "optimum": optimum,
        "openvino": openvino,
        "stable-diffusion.cpp": stable_diffusion_cpp,
    }
    draw, after = programs[asked["program"]](asked)
    _child.measure_images(asked, draw)
    _child.say("after", **after())


if __name__ == "__main__":
    main()
