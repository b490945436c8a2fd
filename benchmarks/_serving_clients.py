"""What the clients of `serving.py` send, and how they judge what comes back."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from _record import without_times

BOUNDARY = "frontier"
ANSWER_S = 90.0
SLOW_S = 4.0
CHANGED_S = 0.3
STOPPED_S = 12.0
"""A client that stops in its headers is let go after ten seconds: a shorter load has none."""

BACK_PRESSURE = (429, 503, 504)
VERIFY = "/v1/verify?source=sd15"
HEAD = "Host: 127.0.0.1\r\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file and the row that a scan writes of it, without times."""

    name: str
    data: bytes
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request.

    Attributes:
        kind: What was sent.
        status: Of the answer; 0 where the connection ended without one.
        ms: From the first byte sent to the answer.
        images: Rows with a verdict.
        fault: What should not be; empty where all is well.
    """

    kind: str
    status: int
    ms: float
    images: int = 0
    fault: str = ""


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without its name and what differs between two runs."""
    return {**without_times(row), "path": None}


def form_of(files: Sequence[tuple[str, bytes]], fields: Mapping[str, str] | None = None) -> bytes:
    """Return a body of `multipart/form-data`."""
    parts = [(f'name="{name}"', text.encode()) for name, text in (fields or {}).items()]
    parts += [(f'name="file"; filename="{name}"', data) for name, data in files]
    lines = (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


class Client:
    """Sends one request after the other, of kinds by a seed.

    Args:
        port: Of the server.
        pictures: What is sent.
        seed: Decides the kinds.
    """

    def __init__(self, port: int, pictures: Sequence[Picture], seed: int) -> None:
        self._port = port
        self._pictures = pictures
        self._draw = random.Random(seed)  # noqa: S311
        self._kinds: dict[str, tuple[int, Callable[[], Outcome]]] = {
            "good": (55, self.good),
            "several": (10, self.several),
            "verify": (5, self.verify),
            "broken": (14, self.broken),
            "large": (2, self.large),
            "huge body": (3, self.huge_body),
            "huge picture": (3, self.huge_picture),
            "slow body": (5, self.slow_body),
            "stopped": (3, self.stopped),
        }

    def outcomes(self, seconds: float) -> Iterator[Outcome]:
        """Send until the time is over."""
        end = time.monotonic() + seconds
        kinds = [kind for kind in self._kinds if kind != "stopped" or seconds > STOPPED_S]
        weights = [self._kinds[kind][0] for kind in kinds]
        while time.monotonic() < end:
            (kind,) = self._draw.choices(kinds, weights)
            outcome = self._kinds[kind][1]()
            yield outcome
            if outcome.status == 429:
                time.sleep(1.0)  # as Retry-After asks

    def good(self) -> Outcome:
        """One picture as it is; its row must be the scan's."""
        picture = self._draw.choice(self._pictures)
        return self._post("good", picture.data, expected=[picture])

    def several(self) -> Outcome:
        """Three pictures in a form."""
        pictures = self._draw.sample(self._pictures, 3)
        body = form_of([(one.name, one.data) for one in pictures])
        return self._post("several", body, MULTIPART, expected=pictures)

    def verify(self) -> Outcome:
        """One picture against one source."""
        return self._post("verify", self._draw.choice(self._pictures).data, path=VERIFY)

    def broken(self) -> Outcome:
        """A picture that was cut short, a text, or one with a hole."""
        data = self._draw.choice(self._pictures).data
        at = self._draw.randrange(20, len(data) // 2)
        made = self._draw.choice((data[:at], b"no picture", data[:8] + bytes(200) + data[400:]))
        return self._post("broken", made, allowed=(413, 415, 422))

    def large(self) -> Outcome:
        """Twelve million pixels, as a phone takes them."""
        return self._post("large", _large_picture())

    def huge_body(self) -> Outcome:
        """More bytes than are allowed."""
        headers = {"Content-Length": str(10**9)}
        return self._post("huge body", b"\xff\xd8", headers, allowed=(413,))

    def huge_picture(self) -> Outcome:
        """A header that states more pixels than are allowed: a decompression bomb."""
        return self._post("huge picture", _bomb(), allowed=(413, 422))

    def slow_body(self) -> Outcome:
        """A picture that comes in eight pieces over four seconds."""
        picture = self._draw.choice(self._pictures)
        head = f"POST /v1/attribute HTTP/1.1\r\n{HEAD}Content-Length: {len(picture.data)}\r\n\r\n"
        step = -(-len(picture.data) // 8)
        pieces = [picture.data[at : at + step] for at in range(0, len(picture.data), step)]
        start = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S) as own:
                own.sendall(head.encode())
                for piece in pieces:
                    own.sendall(piece)
                    time.sleep(SLOW_S / 8)
                response = http.client.HTTPResponse(own, method="POST")
                response.begin()
                return judged(
                    "slow body", response.status, response.read(), start, expected=[picture]
                )
        except (OSError, http.client.HTTPException) as error:
            return Outcome("slow body", 0, _ms_since(start), fault=repr(error))

    def stopped(self) -> Outcome:
        """Half of a header, and silence: the server must end the connection, and serve others."""
        start = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=30) as own:
                own.sendall(b"POST /v1/attribute HTTP/1.1\r\nHost:")
                own.recv(1000)
        except ConnectionError:
            pass
        except OSError as error:
            return Outcome("stopped", 0, _ms_since(start), fault=repr(error))
        return Outcome("stopped", 0, _ms_since(start))

    def _post(
        self,
        kind: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        path: str = "/v1/attribute",
        expected: Sequence[Picture] = (),
        allowed: Sequence[int] = (200,),
    ) -> Outcome:
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request("POST", path, body, dict(headers or {}))
            response = connection.getresponse()
            return judged(
                kind, response.status, response.read(), start, expected=expected, allowed=allowed
            )
        except (OSError, http.client.HTTPException) as error:
            return Outcome(kind, 0, _ms_since(start), fault=repr(error))
        finally:
            connection.close()


def judged(
    kind: str,
    status: int,
    body: bytes,
    start: float,
    *,
    expected: Sequence[Picture] = (),
    allowed: Sequence[int] = (200,),
) -> Outcome:
    """Return the outcome of an answer: an allowed status, or stated back-pressure; true rows."""
    ms = _ms_since(start)
    fault = ""
    images = 0
    try:
        record = json.loads(body)
        if status in BACK_PRESSURE:
            fault = "" if record["error"]["message"] else "back-pressure without words"
        elif status not in allowed:
            fault = f"status {status}: {body[:200]!r}"
        elif status == 200:
            rows = record.get("rows", [record])
            images = sum(row.get("verdict") is not None for row in rows)
            if expected and [timeless(row) for row in rows] != [one.row for one in expected]:
                fault = "a row that is not the scan's"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"status {status}, {error!r}: {body[:200]!r}"
    if b"Traceback" in body:
        fault = "a traceback in an answer"
    return Outcome(kind, status, ms, images, fault)


def _ms_since(start: float) -> float:
    return (time.monotonic() - start) * 1e3


@cache
def _large_picture() -> bytes:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (300, 400, 3), np.uint8)
    image = cv2.resize(small, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image)[1].tobytes()


@cache
def _bomb() -> bytes:
    data = cv2.imencode(".bmp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    side = (60_000).to_bytes(4, "little")
    return data[:18] + side + side + data[26:]


_TOKENS = (
    b"\r\n", b"\r\n\r\n", b"\0", b"\xff" * 50, b"--" + BOUNDARY.encode(), b"--", b"\n", b" ",
    b"Content-Length: 99999999999\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Upgrade: websocket\r\n",
    b"Connection: upgrade\r\n", b"Host: evil.example\r\n", b"Cookie: " + b"a" * 5000 + b"\r\n",
    b'filename="', b"filename*=utf-8''%ff", b"Content-Disposition: ", b"boundary=", b"%00%2e%2e/",
    b"Content-Encoding: gzip\r\n", b"HTTP/9.9", b"{{7*7}}", b"\xe2\x80\xae", b"a" * 40000,
)  # fmt: skip


def request_from_number(picture: bytes, seed: int, number: int) -> bytes:
    """Return a request that was valid before it was changed, by seed and number alone."""
    draw = random.Random(f"{seed}/{number}")  # noqa: S311
    one = ("a.png", picture)
    method, path, body, kind = draw.choice(
        (
            ("POST", "/v1/attribute", picture, "image/png"),
            ("POST", "/v1/attribute", form_of([one]), MULTIPART["Content-Type"]),
            ("POST", "/v1/attribute", form_of([one, one]), MULTIPART["Content-Type"]),
            ("POST", "/v1/verify", form_of([one], {"source": "sd15"}), MULTIPART["Content-Type"]),
            ("POST", VERIFY, picture, "image/png"),
            ("POST", "/v1/sources/x", form_of([one]), MULTIPART["Content-Type"]),
            ("GET", "/v1/sources", b"", ""),
            ("GET", "/metrics", b"", ""),
        )
    )
    fits = draw.random() < 0.5  # the length is made right again, so that the change is parsed
    if fits:
        body = _changed(body, draw)
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    kind = f"Content-Type: {kind}\r\n" if kind else ""
    head = f"{method} {path} HTTP/1.1\r\n{HEAD}{kind}{length}\r\n".encode()
    return head + body if fits and draw.random() < 0.7 else _changed(head, draw) + body


def _changed(data: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        to = min(len(data), at + draw.choice((1, 2, 8, 100)))
        token = draw.choice(_TOKENS)
        flipped = bytes(byte ^ (1 << draw.randrange(8)) for byte in data[at:to])
        middle = draw.choice((flipped, b"", data[at:to] * 3, token, token + data[at:to]))
        data = data[:at] + middle + data[to:]
    return data if draw.random() < 0.8 else data[: draw.randrange(len(data) + 1)]


def fault_of_request(port: int, request: bytes) -> tuple[int, str]:
    """Send a request; return the status of the first answer (0 for none), and what is wrong."""
    parts = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as own:
            own.settimeout(CHANGED_S)
            own.sendall(request)
            while part := own.recv(65536):
                parts.append(part)
    except (TimeoutError, ConnectionError):
        pass
    except OSError as error:
        return 0, repr(error)
    answer = b"".join(parts)
    if not answer:
        return 0, ""
    if not answer.startswith(b"HTTP/1.1 "):
        return 0, f"no HTTP: {answer[:100]!r}"
    status = int(answer[9:12])
    if b"Traceback" in answer or status == 500:
        return status, answer[-300:].decode("latin-1")
    return status, ""


def pictures_from_rows(rows: Path) -> list[Picture]:
    """Return the pictures of a scan with their rows."""
    records = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    return [
        Picture(Path(one["path"]).name, Path(one["path"]).read_bytes(), timeless(one))
        for one in records
    ]
