import numpy as np
import pytest

from lineup.models.autoencoder import encoder_input_from_image, images_from_decoded, resized


def pixels(height=20, width=30):
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)


def test_rounding_is_that_of_diffusers():
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip(
        "diffusers.image_processor", reason="the reference, of the extra export"
    )
    decoded = np.random.default_rng(0).uniform(-1.3, 1.3, (2, 3, 40, 50)).astype(np.float32)
    # Halves between two levels, where rounding could go either way.
    decoded[0, 0, 0] = (np.arange(50, dtype=np.float32) + 0.5) / 127.5 - 1

    theirs = processors.VaeImageProcessor().postprocess(torch.tensor(decoded))
    ours = images_from_decoded(decoded)

    assert decoded.min() >= 0, "no other array is made of it"
    for image, expected in zip(ours, theirs, strict=True):
        assert image.dtype == np.uint8
        assert (image == np.asarray(expected)).all()


def test_encoder_inputs_are_those_of_diffusers():
    processors = pytest.importorskip(
        "diffusers.image_processor", reason="the reference, of the extra export"
    )
    from PIL import Image

    image = pixels()

    expected = processors.VaeImageProcessor().preprocess(
        Image.fromarray(image), height=16, width=24
    )

    ours = encoder_input_from_image(resized(image, 24, 16))
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-6)


def test_an_image_of_the_size_is_not_touched():
    image = pixels()

    assert resized(image, 30, 20) is image
