from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lineup.errors import BundleFormatError, BundleNotFoundError, UsageError
from lineup_models.fingerprint.checkpoint import (
    RECORD_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import SpectrumSpec

SPEC = SpectrumSpec(tile_size_px=16, pool_height=4, pool_width=3)


def checkpoint(axes: int = 2) -> Checkpoint:
    fit = FoundAxes(
        mean=np.arange(420.0),
        axes=np.eye(420, dtype=np.float32)[:axes],
        variances=np.arange(axes, 0, -1.0),
        floor=0.25,
    )
    return Checkpoint(SPEC, fit, {"photographs": 9})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(), tmp_path / "c")

    found = read_checkpoint(tmp_path / "c")

    assert found.spec == SPEC
    assert found.record == {"photographs": 9}
    np.testing.assert_array_equal(found.whitening.mean, np.arange(420.0))
    np.testing.assert_array_equal(found.whitening.axes, np.eye(420)[:2])
    np.testing.assert_array_equal(found.whitening.variances, [2.0, 1.0])
    assert found.whitening.floor == 0.25


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()

    with pytest.raises(UsageError, match="exists already"):
        write_checkpoint(checkpoint(), tmp_path / "c")

    assert not list((tmp_path / "c").iterdir())


def test_a_folder_without_a_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", [RECORD_NAME, WEIGHTS_NAME])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    write_checkpoint(checkpoint(), tmp_path / "c")
    path = tmp_path / "c" / name
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(BundleFormatError, match="no readable checkpoint"):
        read_checkpoint(tmp_path / "c")


def test_arrays_that_do_not_fit_the_settings_are_refused(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(), tmp_path / "c")
    path = tmp_path / "c" / RECORD_NAME
    record = json.loads(path.read_text())
    record["spec"]["pool_width"] = 4
    path.write_text(json.dumps(record))

    with pytest.raises(BundleFormatError, match="its settings ask for"):
        read_checkpoint(tmp_path / "c")


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(), tmp_path / "c")
    path = tmp_path / "c" / RECORD_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))

    with pytest.raises(BundleFormatError, match="another version"):
        read_checkpoint(tmp_path / "c")
