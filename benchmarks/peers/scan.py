"""A scan of images by one program: `lineup scan`, or the papers' script in PyTorch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import _child
import numpy as np


class Script:
    """The shape of the papers' scripts, image by image, everything in PyTorch.

    BLIP captions the image, every candidate draws the caption once, CLIP looks at the image and at
    what was drawn, and the candidate with the most similar picture is named. All models are loaded
    at the start, as those scripts do.
    """

    def __init__(self, asked: dict[str, Any], dtype: Any) -> None:
        import diffusers  # noqa: PLC0415 - its time is told
        import transformers  # noqa: PLC0415

        self._asked = asked
        self._dtype = dtype
        kept = {"torch_dtype": dtype, "local_files_only": True}
        self._device = asked["device"]
        self._describer = (
            transformers.BlipForConditionalGeneration.from_pretrained(asked["captioner"], **kept)
            .to(self._device)
            .eval()
        )
        self._describer_input = transformers.BlipProcessor.from_pretrained(asked["captioner"])
        self._clip = (
            transformers.CLIPVisionModelWithProjection.from_pretrained(asked["encoder"], **kept)
            .to(self._device)
            .eval()
        )
        self._clip_input = transformers.CLIPImageProcessor.from_pretrained(asked["encoder"])
        self._candidates = {
            name: diffusers.StableDiffusionPipeline.from_pretrained(folder, **kept).to(self._device)
            for name, folder in asked["candidates"].items()
        }
        for pipeline in self._candidates.values():
            pipeline.set_progress_bar_config(disable=True)

    def caption(self, image: Any) -> str:
        """Describe an image, greedily."""
        inputs = self._describer_input(images=image, return_tensors="pt").to(
            self._device, self._dtype
        )
        # One position more than tokens are counted: the begin token is among them.
        tokens = self._describer.generate(**inputs, max_length=self._asked["max_tokens"] + 1)
        text: str = self._describer_input.decode(tokens[0], skip_special_tokens=True)
        return text

    def features(self, image: Any) -> np.ndarray[Any, Any]:
        """Return the projected, normalised feature of an image."""
        inputs = self._clip_input(images=image, return_tensors="pt").to(self._device, self._dtype)
        embedded = self._clip(**inputs).image_embeds[0].float().cpu().numpy()
        feature: np.ndarray[Any, Any] = embedded / np.linalg.norm(embedded)
        return feature

    def draw(self, candidate: str, prompt: str, latents: Any) -> Any:
        """Return a candidate's picture (Pillow)."""
        return self._candidates[candidate](
            prompt,
            latents=latents,
            num_inference_steps=1,
            guidance_scale=0.0,
            width=self._asked["size_px"],
            height=self._asked["size_px"],
        ).images[0]

    def attribute(self, path: str, latents: Any) -> dict[str, Any]:
        """Return the verdict on one image."""
        from PIL import Image  # noqa: PLC0415

        image = Image.open(path).convert("RGB")
        prompt = self.caption(image)
        query = self.features(image)
        scores = {
            name: float(query @ self.features(self.draw(name, prompt, latents)))
            for name in self._candidates
        }
        return {
            "path": path,
            "caption": prompt,
            "scores": scores,
            "label": max(scores, key=lambda name: scores[name]),
        }


def scan_by_script(asked: dict[str, Any]) -> float:
    """Attribute every image by the script; return the seconds."""
    import torch  # noqa: PLC0415 - its time is told

    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    dtype = getattr(torch, asked["dtype"])
    script, load_s = _child.timed(lambda: Script(asked, dtype))
    _child.about("torch", "diffusers", "transformers", "accelerate")
    _child.say("loaded", load_s=load_s)
    latents = torch.from_numpy(np.load(asked["latents"])).to(asked["device"], dtype)
    with torch.inference_mode():
        rows, scan_s = _child.timed(
            lambda: [script.attribute(path, latents) for path in asked["images"]]
        )
    Path(asked["rows"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return scan_s


def scan_by_lineup(asked: dict[str, Any]) -> float:
    """Run the command `lineup scan` of a folder by a lineup; return the seconds."""
    from lineup.cli.main import cli  # noqa: PLC0415 - its time is told

    imported_s = _child.seconds_since_start()
    _child.about("onnxruntime-gpu", "openvino")
    _child.say("loaded", import_s=imported_s)
    scan = ["scan", *asked["images"], "--lineup", asked["lineup"], "--output", asked["rows"]]
    scan += ["--overwrite", "--threads", str(asked["threads"]), "--device", asked["device"]]
    exit_code, scan_s = _child.timed(
        lambda: cli.main([*scan, *asked["options"]], prog_name="lineup", standalone_mode=False)
    )
    if exit_code:  # time that made no verdicts is none to compare
        sys.exit(f"lineup scan ended with exit code {exit_code}")
    return scan_s


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    scan = {"lineup": scan_by_lineup, "script": scan_by_script}[asked["program"]]
    _child.measured(scan_s=scan(asked))


if __name__ == "__main__":
    main()
