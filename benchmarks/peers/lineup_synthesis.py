"""Ours: a candidate's image of a prompt, and with an encoder its features, as for a verdict."""

from __future__ import annotations

import _child


def main() -> None:
    """Answer one request."""
    asked = _child.request()
    from lineup.models.encoder import ImageEncoder  # noqa: PLC0415 - its time is told
    from lineup.models.generator import ImageGenerator, SynthesisOptions  # noqa: PLC0415
    from lineup.runtime import Runtime  # noqa: PLC0415
    from lineup.types import RgbImage  # noqa: PLC0415

    imported_s = _child.seconds_since_start()
    runtime = Runtime(asked["device"], threads=asked["threads"])
    generator, open_s = _child.timed(lambda: runtime.open(ImageGenerator, asked["model"]))
    encoder = runtime.open(ImageEncoder, asked["encoder"]) if asked.get("encoder") else None
    options = SynthesisOptions(width_px=asked["size_px"], height_px=asked["size_px"])
    _child.say(
        "loaded", import_s=imported_s, open_s=open_s, versions=_child.versions("onnxruntime-gpu")
    )

    def draw() -> RgbImage:
        image = generator.images(asked["prompt"], [asked["seed"]], options)[0]
        if encoder is not None:
            encoder.features([image], encoder.default_layer)
        return image

    _child.measure_images(asked, draw)
    stages_s = {name: ms / 1e3 for name, ms in generator.trace.ms.items()}
    _child.say("stages", stages_s=stages_s, images=1 + asked["repeat"])


if __name__ == "__main__":
    main()
