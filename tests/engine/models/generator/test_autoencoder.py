import numpy as np
import pytest

from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.models.autoencoder import Autoencoder
from lineup.models.components import Components


@pytest.fixture
def open_autoencoder(toy_bundle):
    def opened(**changes):
        bundle = toy_bundle(**changes)
        components = Components(bundle, Device(DeviceKind.CPU), RuntimeOptions(threads=1))
        return Autoencoder(components, bundle.manifest.generation), components.trace

    return opened


def noise(*shape):
    return np.random.default_rng(1).normal(0, 0.2, shape).astype(np.float32)


def test_tiles_decode_like_the_whole(open_autoencoder):
    latents = noise(1, 2, 100, 70)
    tiled, tiled_clock = open_autoencoder(name="tiled")
    whole, whole_clock = open_autoencoder(name="whole", native_width_px=400)

    image, expected = tiled.decode(latents), whole.decode(latents)

    assert tiled_clock.calls["vae_decoder"] == 3 * 2
    assert whole_clock.calls["vae_decoder"] == 1
    # The decoder sees one cell beyond its own; where that is cut off, a tile has little weight.
    difference = np.abs(image - expected)
    assert difference.max() < 0.1 * np.abs(expected).max()
    assert (difference < 1e-6).mean() > 0.9


def test_tiles_encode_like_the_whole(open_autoencoder):
    image = noise(1, 3, 280, 400)
    tiled, clock = open_autoencoder(name="tiled")
    whole, _ = open_autoencoder(name="whole", native_width_px=400)

    # This encoder sees no neighbours.
    np.testing.assert_allclose(tiled.encode(image), whole.encode(image), atol=1e-6)
    assert clock.calls["vae_encoder"] == 3 * 2


def test_images_of_the_native_size_are_never_cut(open_autoencoder):
    autoencoder, clock = open_autoencoder(native_width_px=600, native_height_px=300)

    assert autoencoder.tile_cells == 152
    autoencoder.decode(noise(2, 2, 75, 150))
    assert clock.calls["vae_decoder"] == 2


def test_scale_and_shift(open_autoencoder):
    plain, _ = open_autoencoder(name="plain", latent_scaling=1.0, latent_shift=0.0)
    scaled, _ = open_autoencoder(name="scaled", latent_scaling=0.25, latent_shift=0.5)
    latents, image = noise(1, 2, 8, 8), noise(1, 3, 32, 32)

    np.testing.assert_allclose(
        scaled.decode(latents), plain.decode(latents / 0.25 + 0.5), atol=1e-6
    )
    np.testing.assert_allclose(scaled.encode(image), (plain.encode(image) - 0.5) * 0.25, atol=1e-6)
