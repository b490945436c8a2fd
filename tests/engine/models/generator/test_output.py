"""What lies in the folder afterwards, by way of the command."""

import json

import cv2
import numpy as np
from click.testing import CliRunner

from lineup.cli.synthesize import image_name, synthesize
from lineup.errors import UsageError
from lineup.files import sha256_from_file
from lineup.models.generator import ImageGenerator
from lineup.runtime import Runtime


def run(bundle, folder, *arguments):
    command = [str(bundle.path), "--prompt", "red circle", "-o", str(folder), *arguments]
    return CliRunner().invoke(synthesize, [*command, "--device", "cpu", "--threads", "1"])


def test_files_hold_the_generators_images(toy_bundle, tmp_path):
    bundle = toy_bundle()
    result = run(bundle, tmp_path / "out", "--count", "2", "--seed", "5")

    assert result.exit_code == 0, result.output
    with Runtime("cpu", threads=1).open(ImageGenerator, bundle.path) as generator:
        images = generator.images("red circle", [5, 6])
    for seed, pixels in zip([5, 6], images, strict=True):
        stored = cv2.imread(str(tmp_path / "out" / image_name("toy", seed)))
        assert np.array_equal(stored[..., ::-1], pixels)


def test_the_record_is_true_and_repeats(toy_bundle, tmp_path):
    bundle = toy_bundle()
    records = []
    for name in ("one", "two"):
        assert run(bundle, tmp_path / name, "--count", "3", "--batch", "3").exit_code == 0
        records.append(json.loads((tmp_path / name / "synthesis.json").read_text()))

    first, second = records
    assert first["digest"] == bundle.digest
    assert first["images"] == second["images"]
    for image in first["images"]:
        assert sha256_from_file(tmp_path / "one" / image["file"]) == image["sha256"]
    assert first["calls"] == {"load": 3, "text_encoder": 1, "unet": 1, "vae_decoder": 3}
    assert set(first["ms"]) == set(first["calls"])


def test_a_size_that_does_not_fit_leaves_nothing(toy_bundle, tmp_path):
    result = run(toy_bundle(), tmp_path / "out", "--width", "33")

    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "out").exists()


def test_a_record_is_not_replaced_either(toy_bundle, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "synthesis.json").write_text("{}")

    result = run(toy_bundle(), folder)

    assert isinstance(result.exception, UsageError)
    assert "synthesis.json exists" in result.exception.message
