"""lineup.toml: which models, candidates, gallery and calibration answer together."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

import msgspec.toml
from msgspec import Meta

from lineup.bundles.manifest import NAME_PATTERN
from lineup.documents import DocumentFormat
from lineup.errors import LineupFileError
from lineup.gallery.support import REAL_NAME
from lineup.options import Mode, ResynthesisOptions
from lineup.results import RESERVED_NAMES

LINEUP_FILE = "lineup.toml"

RESYNTHESIS_FIELDS = ("gamma", "seed", "encoder_layer", "distance", "aggregate")
"""What lineup.toml may set of `ResynthesisOptions`; prompt and mode belong to one query."""

Name = Annotated[str, Meta(pattern=f"^{NAME_PATTERN.pattern}$")]
Reference = Annotated[str, Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class CandidateSpec:
    """A candidate generator.

    Attributes:
        name: Its name in verdicts and in the gallery.
        bundle: Its model; None when it is not run here.
        stored: Whether it joins by resyntheses made elsewhere (`lineup resyntheses`).
        command: Asks for them where there are none (`lineup.stored.asking`): program and
            arguments.
        timeout_s: Most seconds that the command may take.
    """

    name: Name
    bundle: Reference | None = None
    stored: bool = False
    command: Reference | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0

    @property
    def resynthesises(self) -> bool:
        """Whether there are resyntheses of it, made here or elsewhere."""
        return self.bundle is not None or self.stored or self.command is not None


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

    name: Name
    captioner: Reference | None = None
    encoder: Reference | None = None
    fingerprint: Reference | None = None
    candidates: tuple[CandidateSpec, ...] = ()
    gallery: Reference | None = None
    calibration: Reference | None = None
    resynthesis: ResynthesisOptions = field(default_factory=ResynthesisOptions)

    @property
    def generators(self) -> tuple[CandidateSpec, ...]:
        """The candidates that can resynthesise a query here."""
        return tuple(one for one in self.candidates if one.bundle is not None)

    @property
    def resynthesising(self) -> tuple[CandidateSpec, ...]:
        """The candidates with resyntheses, made here or elsewhere."""
        return tuple(one for one in self.candidates if one.resynthesises)


def toml_from_spec(spec: LineupSpec) -> str:
    """Return the text of lineup.toml; reading it gives the same spec."""
    raw = LINEUP_TOML.to_raw(spec)
    candidates, _ = raw.pop("candidates"), raw.pop("resynthesis")
    lines = _toml_lines(raw)
    unsaid = asdict(CandidateSpec("")).items()
    for candidate in candidates:
        said = {key: value for key, value in candidate.items() if (key, value) not in unsaid}
        lines += ["", "[[candidates]]", *_toml_lines(said)]
    lines += ["", "[resynthesis]", *_toml_lines(settings_from_spec(spec))]
    return "\n".join(lines) + "\n"


def with_calibration(text: str, reference: str) -> str:
    """Return the text of lineup.toml with its calibration set; every other line stays as it is.

    Args:
        text: A lineup.toml that can be read.
        reference: The calibration's path, relative to lineup.toml.

    Raises:
        LineupFileError: The text cannot be edited line by line, e.g. a key over several lines.
    """
    lines = text.splitlines()
    (new,) = _toml_lines({"calibration": reference})
    # Keys of the lineup itself stand above the first table.
    top = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    old = [i for i in range(top) if lines[i].partition("=")[0].strip() == "calibration"]
    if old:
        lines[old[0]] = new
    else:
        last = max((i for i in range(top) if "=" in lines[i]), default=-1)
        lines.insert(last + 1, new)
    edited = "\n".join(lines) + "\n"
    try:
        raw = msgspec.toml.decode(edited)
        is_right = raw == {**msgspec.toml.decode(text), "calibration": reference}
    except msgspec.DecodeError:
        is_right = False
    if not is_right:
        raise LineupFileError(
            f"{LINEUP_FILE}: its lines cannot be edited one by one.",
            hint=f"Add to it, above the first table: {new}",
        )
    return edited


def settings_from_spec(spec: LineupSpec) -> dict[str, str | int]:
    """Return the defaults of resynthesis as lineup.toml has them; what is not set is left out."""
    raw = LINEUP_TOML.to_raw(spec)["resynthesis"]
    return {key: raw[key] for key in RESYNTHESIS_FIELDS if key in raw}


def _contradictions(spec: LineupSpec) -> Iterator[str]:
    """Yield what the schema cannot express."""
    seen: set[str] = set()
    for index, candidate in enumerate(spec.candidates):
        field = f"candidates[{index}].name"
        if candidate.name in seen:
            yield f"{field}: {candidate.name!r} is there twice"
        if candidate.name.lower() in (*RESERVED_NAMES, REAL_NAME):
            yield f"{field}: {candidate.name!r} cannot name a candidate; choose another name"
        seen.add(candidate.name)
        if sum((candidate.bundle is not None, candidate.stored, candidate.command is not None)) > 1:
            yield f"candidates[{index}]: expected one of bundle, stored and command"
        if candidate.command is not None:
            yield from _unsplit(candidate.command, f"candidates[{index}].command")
    if spec.resynthesising and spec.encoder is None:
        yield (
            f"encoder: missing, but the resyntheses of {spec.resynthesising[0].name!r} are "
            "compared by an encoder"
        )
    if spec.resynthesis != replace(spec.resynthesis, prompt=None, mode=Mode.DEFAULT):
        yield f"resynthesis: expected {', '.join(RESYNTHESIS_FIELDS)} alone"


def _unsplit(command: str, field: str) -> Iterator[str]:
    try:
        is_empty = not shlex.split(command)
    except ValueError as error:
        yield f"{field}: {error}: {command!r}"
    else:
        if is_empty:
            yield f"{field}: names no program"


LINEUP_TOML = DocumentFormat(
    LineupSpec,
    LineupFileError,
    "`lineup lineups create` writes one that can be used.",
    syntax="toml",
    contradictions=_contradictions,
)


def _toml_lines(values: Mapping[str, str | int]) -> list[str]:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped too.
    texts = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    return [f"{key} = {text}".replace("\x7f", "\\u007f") for key, text in texts.items()]
