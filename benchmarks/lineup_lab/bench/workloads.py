"""What is measured: one repeatable piece of work per kind of bundle, and a whole verdict."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lineup.bundles.bundle import Bundle
from lineup.bundles.manifest import BundleKind
from lineup.bundles.store import BundleStore
from lineup.closing import ClosesOnExit
from lineup.errors import BundleNotFoundError
from lineup.evidence.fingerprint import FingerprintExtractor, open_extractor
from lineup.models.captioner import Captioner, open_captioner
from lineup.models.encoder import ImageEncoder, open_encoder
from lineup.models.generator import ImageGenerator, open_generator
from lineup.paths import home_dir
from lineup.types import RgbImage

PROMPT = "a large red ball left of two small blue cubes on a meadow in the evening"


class Workload(ClosesOnExit):
    """A loaded model with one piece of work.

    Attributes:
        name: What is measured.
        kind: "fingerprint", "captioner", "encoder", "generator" or "lineup".
        unit: What one piece of work makes, e.g. "image".
        digest: Identity of what is measured.
        device: Where it runs.
    """

    name: str
    kind: str
    unit: str
    digest: str
    device: str

    @abstractmethod
    def run(self, index: int) -> Mapping[str, float]:
        """Do one piece of work.

        Args:
            index: Of the run; what may be drawn from a seed is drawn from it.

        Returns:
            Milliseconds per stage.
        """

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Do many pieces of work that are all at hand; a model that takes batches overrides it.

        Args:
            first: Index of the first.
            count: How many.

        Returns:
            Milliseconds per stage, summed over the pieces.
        """
        total: dict[str, float] = {}
        for index in range(first, first + count):
            for name, ms in self.run(index).items():
                total[name] = total.get(name, 0.0) + ms
        return total


def synthetic_image(size_px: int) -> RgbImage:
    """Return an image to measure with: smooth and textured, so that JPEG-like paths are typical.

    Args:
        size_px: Both sides.
    """
    rng = np.random.default_rng(size_px)
    rows, columns = np.mgrid[0:size_px, 0:size_px] / size_px
    waves = np.stack([np.sin(7 * rows + 3 * columns + phase) for phase in (0, 2, 4)], axis=-1)
    noise = rng.normal(0, 8, (size_px, size_px, 3))
    return np.clip(127 + 90 * waves + noise, 0, 255).astype(np.uint8)


class FingerprintWorkload(Workload):
    """The fingerprint of one image."""

    kind, unit = BundleKind.FINGERPRINT.value, "image"

    def __init__(self, extractor: FingerprintExtractor, image: RgbImage) -> None:
        self._extractor, self._image = extractor, image
        self.name, self.digest = extractor.name, extractor.digest
        self.device = str(extractor.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Cut tiles and compute the fingerprint."""
        return self.run_batch(index, 1)

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Do so for several images, which the model shares out over the cores."""
        start = time.perf_counter()
        tiles = [self._extractor.tiles(self._image) for _ in range(count)]
        between = time.perf_counter()
        self._extractor.fingerprints_from_tiles(tiles)
        end = time.perf_counter()
        return {"tiles": (between - start) * 1e3, "fingerprint": (end - between) * 1e3}

    def close(self) -> None:
        """Release the model."""
        self._extractor.close()


class CaptionWorkload(Workload):
    """The greedy caption of one image."""

    kind, unit = BundleKind.CAPTIONER.value, "caption"

    def __init__(self, captioner: Captioner, image: RgbImage) -> None:
        self._captioner, self._image = captioner, image
        self.name, self.digest = captioner.name, captioner.digest
        self.device = str(captioner.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Caption the image."""
        return self.run_batch(index, 1)

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Caption several images together."""
        start = time.perf_counter()
        self._captioner.captions([self._image] * count)
        return {"caption": (time.perf_counter() - start) * 1e3}

    def close(self) -> None:
        """Release the model."""
        self._captioner.close()


class EncoderWorkload(Workload):
    """The features of one image at the default layer."""

    kind, unit = BundleKind.ENCODER.value, "image"

    def __init__(self, encoder: ImageEncoder, image: RgbImage) -> None:
        self._encoder, self._image = encoder, image
        self.name, self.digest = encoder.name, encoder.digest
        self.device = str(encoder.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Compute the features."""
        return self.run_batch(index, 1)

    def run_batch(self, first: int, count: int) -> Mapping[str, float]:
        """Compute those of several images together."""
        start = time.perf_counter()
        self._encoder.features([self._image] * count)
        return {"encode": (time.perf_counter() - start) * 1e3}

    def close(self) -> None:
        """Release the model."""
        self._encoder.close()


class GeneratorWorkload(Workload):
    """One image of a fixed prompt, with another seed every time."""

    kind, unit = BundleKind.GENERATOR.value, "image"

    def __init__(self, generator: ImageGenerator) -> None:
        self._generator = generator
        self.name, self.digest = generator.name, generator.digest
        self.device = str(generator.device)

    def run(self, index: int) -> Mapping[str, float]:
        """Encode the prompt, denoise, decode."""
        self._generator.clock.reset()
        self._generator.images(PROMPT, [index])
        return dict(self._generator.clock.ms)

    def close(self) -> None:
        """Release the model."""
        self._generator.close()


def open_bundle_workload(
    bundle: str | Path, *, size_px: int, device: str, threads: int
) -> Workload:
    """Open what a bundle's kind calls for.

    Raises:
        LineupError: The bundle or the device cannot be used.
    """
    opened = BundleStore(home_dir()).open(bundle)
    image = synthetic_image(size_px)
    kind = opened.manifest.kind
    path = opened.path
    if kind is BundleKind.FINGERPRINT:
        return FingerprintWorkload(open_extractor(path, device=device, threads=threads), image)
    if kind is BundleKind.CAPTIONER:
        return CaptionWorkload(open_captioner(path, device=device, threads=threads), image)
    if kind is BundleKind.ENCODER:
        return EncoderWorkload(open_encoder(path, device=device, threads=threads), image)
    return GeneratorWorkload(open_generator(path, device=device, threads=threads))


def bundle_or_none(target: str) -> Bundle | None:
    """Return the bundle of that name or path; None when there is none."""
    try:
        return BundleStore(home_dir()).open(target)
    except BundleNotFoundError:
        return None
