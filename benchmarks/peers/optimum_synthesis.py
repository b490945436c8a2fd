"""Peer: optimum's ONNX Runtime pipeline, default settings, of a folder that optimum exported."""

from __future__ import annotations

import _child


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    import numpy as np  # noqa: PLC0415 - its time is told
    from optimum.onnxruntime import ORTStableDiffusionPipeline  # noqa: PLC0415

    from lineup.types import RgbImage  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    provider = "CUDAExecutionProvider" if asked["device"].startswith("cuda") else None
    pipeline, load_s = _child.timed(
        lambda: ORTStableDiffusionPipeline.from_pretrained(
            asked["model"], provider=provider or "CPUExecutionProvider", local_files_only=True
        )
    )
    pipeline.set_progress_bar_config(disable=True)
    latents = np.load(asked["latents"])
    about = _child.versions("optimum", "optimum-onnx", "onnxruntime-gpu", "diffusers", "torch")
    _child.say("loaded", import_s=imported_s, load_s=load_s, versions=about)

    def draw() -> RgbImage:
        import torch  # noqa: PLC0415 - loaded long since by optimum

        made = pipeline(
            asked["prompt"],
            latents=torch.from_numpy(latents),
            num_inference_steps=1,
            guidance_scale=0.0,
            width=asked["size_px"],
            height=asked["size_px"],
            output_type="np",
        )
        return _child.image_from_unit(made.images[0])

    _child.measure_images(asked, draw)


if __name__ == "__main__":
    main()
