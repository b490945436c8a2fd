"""Documents on disk: a dataclass defines a file of JSON or TOML, and errors name the field.

Types, ranges (`Annotated[int, Meta(ge=1)]`) and defaults stand in the dataclass alone; nothing else
describes the file. A field that the dataclass does not have is refused, as is a number that is not
finite. The keys `schema_version`, of every file, and `sha256`, of sealed ones, are of no dataclass.
"""

from __future__ import annotations

import copy
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import inspect

from lineup.errors import LineupError
from lineup.files import sha256_from_bytes, write_atomic
from lineup.text import shown

MAX_BYTES = 16 * 2**20
"""Far above any real document; a larger file is not read into memory."""

SHOWN_CHARACTERS = 80
"""A wrong value is quoted up to this length."""

NO_SHA256 = "0" * 64
"""Stands in the place of a file's own hash where that is computed."""

_converting = threading.Lock()
"""msgspec learns a dataclass when it first converts to it; two threads at once end the process."""

Document = TypeVar("Document")
Parts = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class DocumentFormat(Generic[Document]):
    """A kind of document.

    Attributes:
        kind: The dataclass that the file's fields are those of.
        error: Raised for a file that cannot be read or written, or breaks a rule.
        hint: What to do about a broken file.
        syntax: Of the file. TOML is only read.
        schema_version: What is written, and the only one that is read.
        newer_error: Raised for a file of a later version; None takes `error`.
        altered_error: Raised for a file that is not what its own SHA-256 says. Formats that have it
            are sealed: their files hold that hash. One without a hash is read all the same.
        contradictions: Yields what types cannot express, each text after the name of the field.
    """

    kind: type[Document]
    error: type[LineupError]
    hint: str
    syntax: Literal["json", "toml"] = "json"
    schema_version: int = 1
    newer_error: type[LineupError] | None = None
    altered_error: type[LineupError] | None = None
    contradictions: Callable[[Document], Iterable[str]] = lambda _: ()

    def read(self, path: Path) -> Document:
        """Read a file.

        Raises:
            LineupError: `error`: the file cannot be read, is not of this syntax, or a field is
                missing, unknown or wrong; names the file and the field. `newer_error`: it was
                written by a newer lineup. `altered_error`: it is not what its hash says.
        """
        return self.from_bytes(self.read_bytes(path), where=str(path))

    def read_raw(self, path: Path) -> Any:
        """Return what a file holds, parsed and not looked at.

        Raises:
            LineupError: `error`: the file cannot be read or is not of this syntax.
        """
        return self._parsed(self.read_bytes(path), str(path))

    def read_bytes(self, path: Path) -> bytes:
        """Return the bytes of a file of the size that documents have.

        Raises:
            LineupError: `error`: the file cannot be read or is too large.
        """
        try:
            size_bytes = path.stat().st_size
            data = path.read_bytes() if size_bytes <= MAX_BYTES else b""
        except OSError as error:
            raise self.error(
                f"{path}: cannot be read: {error.strerror or error}", hint=self.hint
            ) from error
        if size_bytes > MAX_BYTES:
            raise self.error(
                f"{path}: {size_bytes} bytes, expected at most {MAX_BYTES}", hint=self.hint
            )
        return data

    def from_bytes(self, data: bytes | str, *, where: str) -> Document:
        """Return the document that a file's content holds; `where` names the file in errors."""
        raw = self._parsed(data, where)
        document = self.from_raw(raw, where=where)
        self._check_seal(raw, data.encode() if isinstance(data, str) else data, where)
        return document

    def from_raw(self, raw: object, *, where: str) -> Document:
        """Return the document that parsed JSON or TOML holds; `where` names it in errors."""
        if not isinstance(raw, dict):
            raise self.error(f"{where}: expected an object, got {_shown(raw)}", hint=self.hint)
        self._check_version(raw, where)
        own = {"schema_version"} if self.altered_error is None else {"schema_version", "sha256"}
        content = {key: value for key, value in raw.items() if key not in own}
        try:
            with _converting:
                document = msgspec.convert(content, self.kind)
        except msgspec.ValidationError as error:
            text = _explained(str(error), content, self.kind)
            raise self.error(f"{where}: {text}", hint=self.hint) from error
        for problem in (*_faults(content, document, ()), *self.contradictions(document)):
            raise self.error(f"{where}: {problem}", hint=self.hint)
        return document

    def to_raw(self, document: Document) -> dict[str, Any]:
        """Return the document as JSON values; what is None by default is left out."""
        return {"schema_version": self.schema_version, **_raw(document)}

    def to_bytes(self, document: Document, *, indent: int | None = 2) -> bytes:
        """Return the content of the document's file, always the same bytes for the same document.

        Raises:
            LineupError: `error`: it holds what cannot be written, or would be refused when read.
        """
        where = f"the {self.kind.__name__} to write"
        try:
            text = json.dumps(self.to_raw(document), indent=indent, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise self.error(
                f"{where} holds a value that JSON cannot: {error}",
                hint="Only finite numbers, text, booleans, lists and objects can be recorded.",
            ) from error
        self.from_bytes(text, where=where)
        return f"{text}\n".encode("ascii")

    def file_bytes(self, document: Document) -> bytes:
        """Return what `write` writes: `to_bytes`, with its own hash where the format is sealed.

        Raises:
            LineupError: As `to_bytes`.
        """
        data = self.to_bytes(document)
        if self.altered_error is None:
            return data
        blank = data.removesuffix(b"\n}\n") + f',\n  "sha256": "{NO_SHA256}"\n}}\n'.encode()
        before, _, after = blank.rpartition(NO_SHA256.encode())
        return before + sha256_from_bytes(blank).encode() + after

    def write(self, path: Path, document: Document) -> None:
        """Write a file, whole or not at all.

        Raises:
            LineupError: `error`: the file cannot be written, or as `to_bytes`.
        """
        self.write_bytes(path, self.file_bytes(document))

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Write the content of a file that holds a document; see `write`."""
        try:
            write_atomic(path, data)
        except OSError as error:
            raise self.error(
                f"{path}: cannot be written: {error.strerror or error}",
                hint="Give a file in a folder that can be written to.",
            ) from error

    def _parsed(self, data: bytes | str, where: str) -> Any:
        decode = msgspec.json.decode if self.syntax == "json" else msgspec.toml.decode
        try:
            return decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self.error(
                f"{where}: not {self.syntax.upper()}: {error}", hint=self.hint
            ) from error

    def _check_seal(self, raw: Mapping[str, Any], data: bytes, where: str) -> None:
        if self.altered_error is None or "sha256" not in raw:
            return
        stated = str(raw["sha256"])
        is_hash = len(stated) == len(NO_SHA256)
        blank = data.replace(stated.encode(), NO_SHA256.encode()) if is_hash else data
        if (found := sha256_from_bytes(blank)) != stated:
            raise self.altered_error(
                f"{where}: altered: expected sha256 {_shortened(stated)}, found {found}",
                hint=self.hint,
            )

    def _check_version(self, raw: Mapping[str, Any], where: str) -> None:
        """Refuse other versions first: a newer file may break our rules, and may well do so."""
        version, ours = raw.get("schema_version"), self.schema_version
        if "schema_version" not in raw:
            raise self.error(f"{where}: schema_version: missing, but required", hint=self.hint)
        if isinstance(version, bool) or not isinstance(version, int) or version < ours:
            raise self.error(
                f"{where}: schema_version: expected {ours}, got {_shown(version)}", hint=self.hint
            )
        if version > ours:
            raise (self.newer_error or self.error)(
                f"{where}: schema_version is {version}, but this lineup reads up to {ours}.",
                hint="It was written by a newer lineup: upgrade with pip install --upgrade lineup.",
            )


def field_name(parts: Iterable[str | int]) -> str:
    """Return the readable path of a field, e.g. "graphs.fingerprint.outputs[0].dtype"."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{_shortened(part)}"
    return text.removeprefix(".")


def _raw(value: Any) -> Any:
    """Return a value of a document as JSON values."""
    if is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in fields(value))
        return {f.name: _raw(v) for f, v in pairs if v is not None or f.default is not None}
    if isinstance(value, Mapping):
        return {key: _raw(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_raw(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _faults(raw: Any, value: Any, parts: Parts) -> Iterator[str]:
    """Yield what the conversion of `raw` into `value` let pass: unknown fields, odd numbers."""
    if isinstance(raw, float) and not math.isfinite(raw):
        yield f"{field_name(parts)}: expected a finite number, got {raw}"
    elif isinstance(raw, dict):
        known = [field.name for field in fields(value)] if is_dataclass(value) else list(raw)
        for key, item in raw.items():
            if key not in known:
                name = field_name((*parts, key))
                yield f"{name}: unknown field; known are {', '.join(sorted(known))}"
            else:
                inner = getattr(value, key) if is_dataclass(value) else value[key]
                yield from _faults(item, inner, (*parts, key))
    elif isinstance(raw, list):
        for index, (item, inner) in enumerate(zip(raw, value, strict=True)):
            yield from _faults(item, inner, (*parts, index))


_MESSAGE = re.compile(r"(?P<text>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_PATH_PART = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_MISSING_FIELD = re.compile(r"Object missing required field `(\w+)`")


def _explained(message: str, raw: dict[str, Any], kind: type) -> str:
    """Return msgspec's message after the name of the field, with what was given."""
    match = _MESSAGE.fullmatch(message)
    assert match is not None
    text, is_key, path = match["text"], match["key"] is not None, match["path"] or ""
    parts = _parts_from_path(path, raw, kind, is_key=is_key)
    info = _type_at(kind, parts[:-1] if is_key else parts)
    given: Any = parts[-1] if is_key else _value_at(raw, parts)
    missing = _MISSING_FIELD.fullmatch(text)
    if missing is not None and isinstance(info, inspect.DataclassType):
        unknown = sorted(set(given) - {field.name for field in info.fields})
        misspelt = f"; unknown field {_shortened(unknown[0])}" if unknown else ""
        return f"{field_name((*parts, missing[1]))}: missing, but required{misspelt}"
    if isinstance(info, inspect.EnumType):
        choices = ", ".join(str(member.value) for member in info.cls)
        text = f"expected one of {choices}, got {_shown(given)}"
    elif isinstance(info, inspect.LiteralType):
        text = f"expected {' or '.join(map(str, info.values))}, got {_shown(given)}"
    elif text.startswith("Expected"):
        expected = text.partition(", got ")[0].replace("`", "")
        text = f"expected{expected.removeprefix('Expected')}, got {_shown(given)}"
    name = field_name(parts)
    return f"{name}: {text}" if name else text


def _value_at(raw: Any, parts: Parts) -> Any:
    for part in parts:
        raw = raw[part]
    return raw


def _parts_from_path(path: str, raw: dict[str, Any], kind: type, *, is_key: bool) -> Parts:
    """Return the fields and indexes of msgspec's path, which never names the key of a mapping.

    The key is the first with which, alone in its mapping, the document fails in the same place.
    """
    node: Any = copy.deepcopy(raw)
    probe = node
    parts: list[str | int] = []
    for name, index in _PATH_PART.findall(path + ("[...]" if is_key else "")):
        part: str | int = int(index) if index.isdecimal() else name
        if index == "...":
            entries = dict(node)
            for part, value in entries.items():  # the one that it stops at counts
                node.clear()
                node[part] = value
                if _fails_at(path, probe, kind):
                    break
        parts.append(part)
        node = node[part]
    return tuple(parts)


def _fails_at(path: str, raw: dict[str, Any], kind: type) -> bool:
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        match = _MESSAGE.fullmatch(str(error))
        return match is not None and (match["path"] or "") == path
    return False


def _type_at(kind: type, parts: Parts) -> inspect.Type:
    """Return the type of a field, without None beside it."""
    info = _plain_type(inspect.type_info(kind))
    for part in parts:
        if isinstance(info, inspect.DataclassType):
            info = next(field.type for field in info.fields if field.name == part)
        elif isinstance(info, inspect.DictType):
            info = info.value_type
        elif isinstance(info, (inspect.ListType, inspect.VarTupleType)):
            info = info.item_type
        info = _plain_type(info)
    return info


def _plain_type(info: inspect.Type) -> inspect.Type:
    """Return a type without its description, and without None beside it."""
    if isinstance(info, inspect.Metadata):
        return _plain_type(info.type)
    if isinstance(info, inspect.UnionType):
        return _plain_type(next(one for one in info.types if not isinstance(one, inspect.NoneType)))
    return info


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    return shown(text, SHOWN_CHARACTERS)
