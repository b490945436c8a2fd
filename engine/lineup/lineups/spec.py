"""lineup.toml: which models, candidates, gallery and calibration answer together.

`lineup.schema.json` next to this module is the published definition; the dataclasses mirror it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from lineup.bundles.schema import schema_problem
from lineup.errors import LineupFileError
from lineup.evidence.distances import Aggregate, Distance
from lineup.evidence.resynthesis_options import ResynthesisOptions
from lineup.results import REAL, UNKNOWN

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1
LINEUP_FILE = "lineup.toml"
SCHEMA_PATH = Path(__file__).with_name("lineup.schema.json")

RESYNTHESIS_FIELDS = ("gamma", "seed", "encoder_layer", "distance", "aggregate", "neighbours")
"""What lineup.toml may set of `ResynthesisOptions`; prompt and mode belong to one query."""


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """A candidate generator.

    Attributes:
        name: Its name in verdicts and in the gallery.
        bundle: Its model; None when it joins by its gallery, or by resyntheses made elsewhere.
    """

    name: str
    bundle: str | None = None


@dataclass(frozen=True, slots=True)
class LineupSpec:
    """What lineup.toml says.

    A model is named by its bundle in the store, or, with a slash in it, by a path relative to
    lineup.toml. So are gallery and calibration, which are always paths.

    Attributes:
        name: Name of the lineup.
        captioner: Describes the query; None when prompts are always given.
        encoder: Gives image features; None without resynthesis.
        fingerprint: None takes the shipped one.
        candidates: In the order of the file; names are unique.
        gallery: Folder of sources that join the shipped gallery and the user's own; may be None.
        calibration: File; None leaves what is not calibrated by the gallery uncalibrated.
        resynthesis: Defaults of this lineup.
    """

    name: str
    captioner: str | None = None
    encoder: str | None = None
    fingerprint: str | None = None
    candidates: tuple[CandidateSpec, ...] = ()
    gallery: str | None = None
    calibration: str | None = None
    resynthesis: ResynthesisOptions = field(default_factory=ResynthesisOptions)

    @property
    def generators(self) -> tuple[CandidateSpec, ...]:
        """The candidates that can redraw a query."""
        return tuple(one for one in self.candidates if one.bundle is not None)


@cache
def lineup_schema() -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of lineup.toml."""
    schema: Mapping[str, Any] = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return schema


def spec_from_file(path: Path) -> LineupSpec:
    """Read lineup.toml.

    Raises:
        LineupFileError: The file cannot be read, is not TOML, or a field is missing, unknown or
            wrong; names the file and the field.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LineupFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise LineupFileError(f"{path}: not TOML: {error}") from error
    return spec_from_dict(raw, where=str(path))


def spec_from_dict(raw: Mapping[str, Any], *, where: str = LINEUP_FILE) -> LineupSpec:
    """Return the lineup that parsed TOML holds.

    Args:
        raw: The parsed TOML.
        where: File to name in errors.

    Raises:
        LineupFileError: A field is missing, unknown or wrong; names it.
    """
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise LineupFileError(
            f"{where}: schema_version is {version}, but this lineup reads up to {SCHEMA_VERSION}.",
            hint="Upgrade: pip install --upgrade lineup",
        )
    problem = schema_problem(raw, lineup_schema())
    if problem is not None:
        raise LineupFileError(f"{where}: {problem}")
    spec = _spec_from_checked(raw)
    for contradiction in _contradictions(spec):
        raise LineupFileError(f"{where}: {contradiction}")
    return spec


def toml_from_spec(spec: LineupSpec) -> str:
    """Return the text of lineup.toml; reading it gives the same spec."""
    lines = [f"schema_version = {SCHEMA_VERSION}"]
    for key in ("name", "captioner", "encoder", "fingerprint", "gallery", "calibration"):
        value = getattr(spec, key)
        lines += [] if value is None else [f"{key} = {_toml_value(value)}"]
    for candidate in spec.candidates:
        lines += ["", "[[candidates]]"]
        fields = asdict(candidate).items()
        lines += [f"{key} = {_toml_value(value)}" for key, value in fields if value is not None]
    lines += ["", "[resynthesis]"]
    settings = settings_from_spec(spec).items()
    lines += [f"{key} = {_toml_value(value)}" for key, value in settings]
    return "\n".join(lines) + "\n"


def settings_from_spec(spec: LineupSpec) -> dict[str, str | int]:
    """Return the defaults of resynthesis as lineup.toml has them; what is not set is left out."""
    values = {key: getattr(spec.resynthesis, key) for key in RESYNTHESIS_FIELDS}
    return {
        key: value.value if isinstance(value, Enum) else value
        for key, value in values.items()
        if value is not None
    }


def _spec_from_checked(raw: Mapping[str, Any]) -> LineupSpec:
    settings = dict(raw.get("resynthesis", {}))
    for key, kind in (("distance", Distance), ("aggregate", Aggregate)):
        if key in settings:
            settings[key] = kind(settings[key])
    return LineupSpec(
        name=raw["name"],
        captioner=raw.get("captioner"),
        encoder=raw.get("encoder"),
        fingerprint=raw.get("fingerprint"),
        candidates=tuple(CandidateSpec(**one) for one in raw.get("candidates", [])),
        gallery=raw.get("gallery"),
        calibration=raw.get("calibration"),
        resynthesis=ResynthesisOptions(**settings),
    )


def _contradictions(spec: LineupSpec) -> Iterator[str]:
    """Yield what the schema cannot express."""
    seen: set[str] = set()
    for index, candidate in enumerate(spec.candidates):
        field = f"candidates[{index}].name"
        if candidate.name in seen:
            yield f"{field}: {candidate.name!r} is there twice"
        if candidate.name.lower() in (UNKNOWN, REAL):
            yield f"{field}: {candidate.name!r} is a verdict of its own; choose another name"
        seen.add(candidate.name)
    if spec.generators and spec.encoder is None:
        yield (
            f"encoder: missing, but the candidate {spec.generators[0].name!r} has a bundle, and "
            "its resyntheses are compared by an encoder"
        )


def _toml_value(value: object) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
