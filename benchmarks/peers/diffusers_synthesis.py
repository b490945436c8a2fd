"""Peer: diffusers' StableDiffusionPipeline in PyTorch, eager or compiled."""

from __future__ import annotations

import _child


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    import diffusers  # noqa: PLC0415 - its time is told
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from lineup.types import RgbImage  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    dtype = getattr(torch, asked["dtype"])

    def load() -> diffusers.StableDiffusionPipeline:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
            asked["model"], torch_dtype=dtype, local_files_only=True
        )
        return pipeline.to("cuda" if asked["device"].startswith("cuda") else "cpu")

    pipeline, load_s = _child.timed(load)
    pipeline.set_progress_bar_config(disable=True)
    if asked.get("channels_last"):
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    if asked.get("compile"):
        pipeline.unet = torch.compile(pipeline.unet, mode="max-autotune")
    latents = torch.from_numpy(np.load(asked["latents"])).to(pipeline.device, dtype)
    about = _child.versions("torch", "diffusers", "transformers", "accelerate")
    _child.say("loaded", import_s=imported_s, load_s=load_s, versions=about)

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
        return _child.image_from_unit(made.images[0])

    _child.measure_images(asked, draw)
    if asked["device"].startswith("cuda"):
        peak_mib = torch.cuda.max_memory_reserved() / 2**20
        _child.say("device", peak_device_mib=peak_mib)


if __name__ == "__main__":
    main()
