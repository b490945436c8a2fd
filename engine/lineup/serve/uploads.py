"""From a request's body to files in memory, within limits; nothing is written to disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

MOST_FILES = 32
"""Of one request."""

MOST_FIELDS = 16
MOST_FIELD_BYTES = 4096
MULTIPART = b"multipart/form-data"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent.

    Attributes:
        name: What the client calls it; None for a body that is the file.
        data: Its bytes.
    """

    name: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """What a request holds.

    Attributes:
        files: In the order of the body.
        fields: Its other parts as text, by name; the last of a name counts.
        is_multipart: Whether there may be several files.
    """

    files: tuple[Upload, ...]
    fields: dict[str, str]
    is_multipart: bool


class Room:
    """Bytes of bodies that may be in memory together.

    Args:
        body_bytes: Of one request, at most.
        all_bytes: Of all requests, at most.
    """

    def __init__(self, body_bytes: int, all_bytes: int) -> None:
        self.body_bytes = body_bytes
        self.all_bytes = all_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yield what one request takes; it is given back with the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.size


class Share:
    """What one request takes of the room."""

    def __init__(self, room: Room) -> None:
        self.size = 0
        self._room = room

    def check(self, size: int) -> None:
        """Refuse a body of this size before it is read."""
        if size > self._room.body_bytes:
            raise HTTPException(
                413,
                f"The body has {size:,} bytes; the limit is {self._room.body_bytes:,}. "
                "Send fewer or smaller images.",
            )

    def take(self, size: int) -> None:
        """Take this many bytes more.

        Raises:
            HTTPException: 413, the body is over its limit; 429, all bodies are over theirs.
        """
        self.check(self.size + size)
        if self._room.held_bytes + size > self._room.all_bytes:
            raise HTTPException(429, "Other requests fill the memory for uploads. Try again later.")
        self.size += size
        self._room.held_bytes += size


async def form_from_request(request: Request, share: Share, most_files: int) -> Form:
    """Read a body: one file as it is, or `multipart/form-data` with files and fields.

    Raises:
        HTTPException: 400, malformed or without a file; 413 and 429 of `Share`.
        ClientDisconnect: The client is gone.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        share.check(int(length))
    kind, options = parse_options_header(request.headers.get("content-type"))
    sink = _Parts(options.get(b"boundary"), most_files) if kind == MULTIPART else _Whole()
    async for chunk in request.stream():
        share.take(len(chunk))
        try:
            sink.write(chunk)
        except FormParserError as error:
            raise HTTPException(400, f"The multipart body is malformed: {error}.") from error
    return sink.form()


class _Whole:
    """A body that is the file."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, chunk: bytes) -> None:
        self._data += chunk

    def form(self) -> Form:
        if not self._data:
            raise HTTPException(
                400, "The body is empty; expected the bytes of an image, or multipart/form-data."
            )
        return Form((Upload(None, bytes(self._data)),), {}, is_multipart=False)


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    file_name: str | None = None
    data: bytearray = field(default_factory=bytearray)


class _Parts:
    """A body of several parts: those with a file name are files."""

    def __init__(self, boundary: bytes | None, most_files: int) -> None:
        if not boundary:
            raise HTTPException(400, "The multipart body has no boundary in its Content-Type.")
        self._most_files = most_files
        self._field_count = 0
        self._files: list[Upload] = []
        self._fields: dict[str, str] = {}
        self._part = _Part()
        self._header = [b"", b""]
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._head(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._head(1, data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise HTTPException(400, f"The multipart body is malformed: {error}.") from error

    def write(self, chunk: bytes) -> None:
        self._parser.write(chunk)

    def form(self) -> Form:
        if not self._is_complete:
            raise HTTPException(400, "The multipart body ends before its last boundary.")
        if not self._files:
            raise HTTPException(
                400, "The multipart body has no file; expected parts with a file name."
            )
        return Form(tuple(self._files), self._fields, is_multipart=True)

    def _begin(self) -> None:
        self._part = _Part()

    def _head(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _end_header(self) -> None:
        name, value = self._header
        self._part.headers[name.lower()] = value
        self._header = [b"", b""]

    def _end_headers(self) -> None:
        _, options = parse_options_header(
            self._part.headers.get(b"content-disposition", b"").decode("latin-1")
        )
        self._part.name = _text(options.get(b"name", b""))
        if b"filename" in options:
            self._part.file_name = _text(options[b"filename"])
        is_file = self._part.file_name is not None
        self._field_count += not is_file
        if is_file and len(self._files) >= self._most_files:
            raise HTTPException(413, f"More than {self._most_files} files in one request.")
        if self._field_count > MOST_FIELDS:
            raise HTTPException(413, f"More than {MOST_FIELDS} fields in one request.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._part.data += data[start:end]
        if self._part.file_name is None and len(self._part.data) > MOST_FIELD_BYTES:
            raise HTTPException(413, f"A field has more than {MOST_FIELD_BYTES:,} bytes.")

    def _end(self) -> None:
        part = self._part
        if part.file_name is None:
            self._fields[part.name] = _text(bytes(part.data))
        else:
            self._files.append(Upload(part.file_name, bytes(part.data)))

    def _complete(self) -> None:
        self._is_complete = True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
