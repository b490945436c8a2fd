from __future__ import annotations

import json

import pytest

from lineup.errors import BundleFormatError, UsageError
from lineup_models.fingerprint.spec import (
    ChannelMean,
    ResidualFilter,
    SpectrumSpec,
    spectrum_from_dict,
    spectrum_to_dict,
)


def test_a_spec_survives_json() -> None:
    spec = SpectrumSpec(
        residual=ResidualFilter.BILATERAL, channel_mean=ChannelMean.SPECTRA, axes=64, floor=2.5
    )

    assert spectrum_from_dict(json.loads(json.dumps(spectrum_to_dict(spec)))) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tile_size_px", 31),
        ("window_px", 4),
        ("sigma_grey", 0.0),
        ("pool_height", 257),
        ("pool_width", 130),
        ("axes", -1),
        ("floor", 0.0),
    ],
)
def test_an_impossible_setting_is_named(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value}"):
        SpectrumSpec(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 1}, "strength"),
        ({"residual": "sharpen"}, "sharpen"),
        ({"floor": "high"}, "cannot be used"),
    ],
)
def test_settings_of_another_version_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BundleFormatError, match=message):
        spectrum_from_dict({**spectrum_to_dict(SpectrumSpec()), **change})


def test_a_missing_setting_is_named() -> None:
    raw = spectrum_to_dict(SpectrumSpec())
    del raw["floor"]

    with pytest.raises(BundleFormatError, match="floor"):
        spectrum_from_dict(raw)
