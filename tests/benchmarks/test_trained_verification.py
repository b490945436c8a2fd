"""Verification with a trained network, on a tiny one."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from lineup_models.fingerprint.spec import SpectrumSpec
from lineup_models.research.oneforall.extractor import (
    ExtractorKind,
    ExtractorSpec,
    extractor_from_spec,
)
from lineup_models.research.oneforall.extractor_training import Fingerprinter
from lineup_models.research.oneforall.weights import TrainedFingerprint, write_fingerprint

RECORD = {
    "preset": {"name": "toy"},
    "photographs": 3,
    "seconds": {"extractor": 1.0},
    "losses_last_50_steps": {},
    "tools": {},
}


@pytest.fixture
def weights(tmp_path):
    spectrum = SpectrumSpec(tile_size_px=32, pool_height=8, pool_width=6)
    sizes = ExtractorSpec(ExtractorKind.RESNET50, width=4, blocks=(1, 1), embedding=8)
    model = Fingerprinter(extractor_from_spec(sizes, spectrum, None, seed=0), seed=0)
    path = tmp_path / "fingerprint.safetensors"
    write_fingerprint(TrainedFingerprint(model.eval(), None, RECORD), path)
    return path


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for name, blur in (("sharp", 0.01), ("soft", 2.0), ("photographs", 1.0)):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(6):
            noise = random.integers(0, 256, (40, 70, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), cv2.GaussianBlur(noise, (0, 0), blur))
    return tmp_path / "set"


def test_table_and_figures_by_the_protocol(images, weights, capsys):
    from trained_verification import main

    main([str(images), str(weights), "--attack", "jpeg:50"])
    *table, line = capsys.readouterr().out.splitlines()
    results = json.loads(line)["results"]

    assert any("jpeg:50" in row for row in table)
    assert list(results) == ["clean", "jpeg:50"]
    assert list(results["clean"]["sources"]) == ["sharp", "soft"]
    assert results["clean"]["auc_mean"] > 90  # blur is easily seen in a spectrum
    assert json.loads(line)["settings"]["preset"] == {"name": "toy"}


def test_a_missing_file_is_a_message(images, tmp_path):
    from trained_verification import main

    with pytest.raises(SystemExit, match=r"Error: .*absent is not a file"):
        main([str(images), str(tmp_path / "absent")])
