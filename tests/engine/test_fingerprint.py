"""The extractor, on the bundle that ships."""

import cv2
import numpy as np
import pytest

from lineup import fingerprint as module
from lineup.backends.device import Device, DeviceKind
from lineup.backends.onnxrt import RuntimeOptions
from lineup.bundles.bundle import open_bundle
from lineup.bundles.manifest import BundleKind
from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup.fingerprint import DEFAULT_BUNDLE, FingerprintExtractor
from lineup.paths import shipped_dir
from lineup.runtime import Runtime


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def images():
    return [noise(1, 256, 256), noise(2, 300, 600), noise(3, 64, 100), noise(4, 520, 520)]


@pytest.fixture(scope="module")
def extractor():
    with Runtime("cpu", threads=2).open(FingerprintExtractor, DEFAULT_BUNDLE) as opened:
        yield opened


def test_one_unit_vector_per_image_whatever_its_size(extractor, images):
    fingerprints = extractor.fingerprints(images)

    assert fingerprints.shape == (4, extractor.dimension)
    assert fingerprints.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(fingerprints, axis=1), 1, atol=1e-5)


def test_no_image(extractor):
    assert extractor.fingerprints([]).shape == (0, extractor.dimension)


def test_a_fingerprint_does_not_depend_on_its_company(extractor, images):
    together = extractor.fingerprints(images)
    alone = np.concatenate([extractor.fingerprints([image]) for image in images])

    assert (together == alone).all()


def test_images_may_share_a_run(images):
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")
    with FingerprintExtractor(bundle, Device(DeviceKind.CPU), RuntimeOptions()) as extractor:
        alone = extractor.fingerprints(images)
        extractor._tiles_per_run = 64

        assert np.abs(extractor.fingerprints(images) - alone).max() < 1e-5


def test_runs_hold_whole_images_and_few_tiles():
    tiles = [np.empty((count, 1, 1, 3), np.uint8) for count in (1, 2, 5, 1, 9, 1)]

    groups = module._groups_of_images(tiles, 4)

    assert [[len(image) for image in group] for group in groups] == [[1, 2], [5], [1], [9], [1]]


def test_the_weights_average_the_tiles_of_each_image():
    weights = module._tile_weights([1, 2])

    assert weights.tolist() == [[1, 0, 0], [0, 0.5, 0.5]]


def test_tiles_contribute_the_mean_of_their_spectra(extractor):
    tile = noise(5, 256, 256)

    once = extractor.fingerprints_from_tiles([tile[None]])
    twice = extractor.fingerprints_from_tiles([np.stack([tile, tile])])

    np.testing.assert_allclose(once, twice, atol=1e-5)


def test_small_images_are_remarked_on(extractor):
    picture = cv2.blur(noise(6, 256, 300), (5, 5))
    assert extractor.notes(picture) == ()
    assert "100x64 is smaller" in extractor.notes(picture[:64, :100])[0]


def test_an_unknown_bundle_is_refused():
    with pytest.raises(BundleNotFoundError, match="nothing-of-the-kind"):
        Runtime().open(FingerprintExtractor, "nothing-of-the-kind")


def test_another_kind_of_model_is_refused():
    bundle = open_bundle(shipped_dir() / "bundles" / "whitened-spectrum")
    manifest = module.replace(bundle.manifest, kind=BundleKind.ENCODER)

    with pytest.raises(BundleFormatError, match="expected fingerprint"):
        FingerprintExtractor(
            module.replace(bundle, manifest=manifest), Device(DeviceKind.CPU), RuntimeOptions()
        )


def test_the_shipped_bundle_tells_photographs_from_generated_images(extractor, images):
    signals = extractor.signals_from_tiles([extractor.tiles(image) for image in images])

    assert extractor.tells_real
    assert (signals.fingerprints == extractor.fingerprints(images)).all()
    assert signals.strengths.shape == signals.real_llrs.shape == (4,)
    assert (signals.strengths > 0).all()
    assert signals.real_llrs.dtype == np.float32
    assert np.isfinite(signals.real_llrs).all()
    assert extractor.signals_from_tiles([]).real_llrs.shape == (0,)


def test_a_bundle_without_that_output_says_so(extractor, images, monkeypatch):
    monkeypatch.setattr(extractor, "tells_real", False)
    tiles = [extractor.tiles(image) for image in images]

    assert extractor.signals_from_tiles(tiles).real_llrs is None
    with pytest.raises(UsageError, match="does not tell photographs"):
        extractor.real_llrs_from_tiles(tiles)


def test_strengths_are_ones_where_the_bundle_does_not_tell(extractor, images, monkeypatch):
    run = extractor._runner.run
    monkeypatch.setattr(
        extractor._runner, "run", lambda feeds: {"fingerprint": run(feeds)["fingerprint"]}
    )
    monkeypatch.setattr(extractor, "tells_real", False)
    tiles = [extractor.tiles(image) for image in images]

    assert extractor.signals_from_tiles(tiles).strengths.tolist() == [1, 1, 1, 1]
