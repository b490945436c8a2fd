"""Toy models of a lineup: what they compute can be followed by hand, and every call is counted."""

from dataclasses import dataclass

import numpy as np
import pytest

from lineup.closing import ClosesOnExit
from lineup.trace import Trace

SIZE_PX = 32


@dataclass(frozen=True)
class ToyCaption:
    text: str


class ToyCaptioner(ClosesOnExit):
    digest = "toy-captioner"

    def __init__(self):
        self.calls = 0
        self.closed = False

    def captions(self, images):
        self.calls += 1
        return [ToyCaption("a plain colour") for _ in images]

    def close(self):
        self.closed = True


class ToyEncoder(ClosesOnExit):
    """The mean colour; the final layer is blind to the first channel."""

    digest = "toy-encoder"
    default_layer = 2

    def __init__(self):
        self.calls = []
        self.closed = False

    def features(self, images, layer=None):
        self.calls.append((len(images), layer))
        means = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images]) + 1e-3
        if layer == "final":
            means[:, 0] = 0
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def check_layer(self, layer):
        pass

    def close(self):
        self.closed = True


class ToyGenerator(ClosesOnExit):
    """Draws its colour with a little noise from the seed."""

    def __init__(self, name, colour, text_digest="shared-text", vae_family=None):
        self.name = name
        self.digest = f"digest-of-{name}"
        self.text_digest = text_digest
        self.vae_family = vae_family or name
        self.trace = Trace()
        self.seeds = []
        self.closed = False
        self._colour = np.array(colour, float)

    def text_states(self, prompts):
        with self.trace.call("text_encoder"):
            return tuple(prompts)

    def latents(self, prompt, seeds):
        assert isinstance(prompt, tuple)
        self.seeds += seeds
        with self.trace.call("unet"):
            return np.array(seeds, np.float32)[:, None]

    def images_from_latents(self, latents):
        with self.trace.call("vae_decoder"):
            return [self._image(int(seed)) for (seed,) in latents]

    def close(self):
        self.closed = True

    def _image(self, seed):
        noise = np.random.default_rng(seed).normal(0, 12, (SIZE_PX, SIZE_PX, 3))
        tint = np.random.default_rng(seed).normal(0, 12, 3)
        return np.clip(self._colour + tint + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def toy_generators():
    """Candidates by name; the bundles' names are others."""
    return {
        "reds": ToyGenerator("bundle-of-reds", (230, 40, 40)),
        "blues": ToyGenerator("bundle-of-blues", (40, 40, 230)),
    }


@pytest.fixture
def toy_captioner():
    return ToyCaptioner()


@pytest.fixture
def toy_encoder():
    return ToyEncoder()


@pytest.fixture
def make_toy_generator():
    return ToyGenerator


@pytest.fixture
def red_pixels():
    pixels = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    pixels[..., 0] = 220
    return pixels
