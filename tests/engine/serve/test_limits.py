"""What the server refuses, and that nobody holds up the others."""

import json
import logging
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from toy_server import BOUNDARY, REASON, form, serving, until

from lineup.errors import LineupError, UsageError

exceptions = pytest.importorskip("starlette.exceptions", reason=REASON)
responses = pytest.importorskip("starlette.responses", reason=REASON)
uploads = pytest.importorskip("lineup.serve.uploads", reason=REASON)

SLOW_S = 0.5


def raw(port, *pieces, pause_s=0.0):
    """Send pieces over a socket of one's own; return what came back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.fixture
def held(monkeypatch):
    """Answers wait for this event; who waits is counted."""
    from lineup.engine import Engine

    go, original = threading.Event(), Engine.answer

    def answer(self, queries, options):
        if threading.current_thread().name == "lineup-answer" and self.is_held:
            go.wait(20)
        original(self, queries, options)

    monkeypatch.setattr(Engine, "is_held", False, raising=False)
    monkeypatch.setattr(Engine, "answer", answer)
    yield go
    go.set()


def hold(monkeypatch):
    from lineup.engine import Engine

    monkeypatch.setattr(Engine, "is_held", True)


def test_a_body_over_the_limit_is_refused_before_and_while_it_is_read(toy):
    with serving(toy, max_body_bytes=1000) as client:
        until(lambda: client.get("/readyz").status == 200)
        said = client.post("/v1/attribute", bytes(1001))
        head = b"POST /v1/attribute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        before = raw(client.port, head + b"Content-Length: 99999999\r\n\r\n")
        chunk = b"200\r\n" + bytes(512) + b"\r\n"
        while_read = raw(client.port, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk)

    assert said.status == 413
    assert "1,001 bytes; the limit is 1,000" in said.record["error"]["message"]
    assert before.startswith(b"HTTP/1.1 413")
    assert while_read.startswith(b"HTTP/1.1 413")


def test_bodies_together_are_bounded_too_and_give_back_what_they_took():
    room = uploads.Room(body_bytes=10, all_bytes=25)
    with room.share() as one, room.share() as other:
        one.take(10)
        other.take(10)
        with room.share() as third, pytest.raises(exceptions.HTTPException) as refused:
            third.take(6)
        with room.share() as third:
            third.take(5)

    assert refused.value.status_code == 429
    assert room.held_bytes == 0


def test_verifications_that_wait_are_bounded(client, red_image, monkeypatch):
    monkeypatch.setattr("lineup.serve.worker.MOST_CALLS", 0)

    answer = client.post("/v1/verify?source=reds", red_image.read_bytes())

    assert answer.status == 429
    assert "retry-after" in answer.headers


def test_an_image_with_too_many_pixels_is_not_decoded(toy, red_image):
    with serving(toy, max_pixels=1000) as client:
        until(lambda: client.get("/readyz").status == 200)
        data = red_image.read_bytes()
        rows = client.post("/v1/attribute", data)
        verified = client.post("/v1/verify?source=reds", data)

    assert rows.status == verified.status == 413
    assert rows.record["error"]["type"] == verified.record["error"]["type"] == "ImageTooLargeError"
    assert rows.record["width"] is None


def test_a_full_queue_is_429_with_when_to_come_again(toy, red_image, held, monkeypatch):
    data = red_image.read_bytes()
    with serving(toy, queue_images=2) as client:
        until(lambda: client.get("/readyz").status == 200)
        hold(monkeypatch)
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/v1/attribute", data)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        until(lambda: b"lineup_waiting_images 2.0" in client.get("/metrics").body)
        refused = client.post("/v1/attribute", data)
        held.set()
        for thread in threads:
            thread.join(20)
        after = client.post("/v1/attribute", data)

    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.record["error"]["type"] == "BusyError"
    assert [one.status for one in (*answers, after)] == [200, 200, 200]


def test_more_files_than_may_wait_can_never_pass(toy, red_image):
    with serving(toy, queue_images=2) as client:
        until(lambda: client.get("/readyz").status == 200)
        parts = [("f", "a", red_image.read_bytes())] * 3
        assert client.post_form("/v1/attribute", *parts).status == 413


def test_an_answer_that_is_late_is_504_and_its_image_is_let_go(toy, red_image, held, monkeypatch):
    data = red_image.read_bytes()
    with serving(toy, deadline_seconds=SLOW_S) as client:
        until(lambda: client.get("/readyz").status == 200)
        hold(monkeypatch)
        late = client.post("/v1/attribute", data)
        held.set()
        until(lambda: b"lineup_waiting_images 0.0" in client.get("/metrics").body)
        until(lambda: client.post("/v1/attribute", data).status == 200)

    assert late.status == 504
    assert "within 0.5 seconds" in late.record["error"]["message"]


def test_what_nobody_waits_for_any_more_is_let_go(toy, red_image, held, monkeypatch):
    data = red_image.read_bytes()
    head = f"POST /v1/attribute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    with serving(toy) as client:
        until(lambda: client.get("/readyz").status == 200)
        hold(monkeypatch)
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            connection.sendall(head.encode() + data)
            until(lambda: b"lineup_waiting_images 1.0" in client.get("/metrics").body)
        gone = b'lineup_requests_total{route="/v1/attribute",status="499"} 1.0'
        until(lambda: gone in client.get("/metrics").body)
        held.set()


SLOW_HEAD = b"POST /v1/attribute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


def test_a_body_that_is_late_is_408(toy):
    with serving(toy, deadline_seconds=SLOW_S) as client:
        until(lambda: client.get("/readyz").status == 200)
        assert raw(client.port, SLOW_HEAD, b"x").startswith(b"HTTP/1.1 408")


def test_nobody_waits_for_those_who_are_slow(client, red_image):
    with ExitStack() as stack:
        for piece in [SLOW_HEAD + b"x", SLOW_HEAD[:20]] * 20:
            slow = socket.create_connection(("127.0.0.1", client.port))
            stack.enter_context(slow).sendall(piece)
        assert client.post("/v1/attribute", red_image.read_bytes()).status == 200


def test_headers_that_do_not_come_end_the_connection(toy, monkeypatch):
    from lineup.serve import server

    monkeypatch.setattr(server, "HEADER_SECONDS", SLOW_S)
    with serving(toy) as client:
        start = time.monotonic()
        assert raw(client.port, b"POST /v1/attribute HTTP/1.1\r\n", b"Host: a\r\n") == b""
        assert time.monotonic() - start < 10


def test_an_answer_that_nobody_takes_ends_the_connection(toy, monkeypatch):

    from lineup.serve import server

    monkeypatch.setattr(server, "HEADER_SECONDS", SLOW_S)
    monkeypatch.setattr(
        "lineup.serve.app.json_answer", lambda _: responses.Response(bytes(50_000_000))
    )
    with (
        serving(toy) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: client.server.server_state.total_requests)
        until(lambda: not client.server.server_state.connections, seconds=5)


def test_until_models_are_loaded_it_says_so(toy, red_image):
    go = threading.Event()

    def open_late():
        go.wait(20)
        return toy()

    with serving(open_late) as client:
        healthy, ready = client.get("/healthz"), client.get("/readyz")
        asked = client.post("/v1/attribute", red_image.read_bytes())
        go.set()
        until(lambda: client.get("/readyz").status == 200)

    assert healthy.status == 200
    assert ready.status == asked.status == 503
    assert ready.record["error"]["message"] == "Models are loading."
    assert "retry-after" in asked.headers


def test_models_that_cannot_be_loaded_end_the_server_with_the_reason():
    def fail():
        raise UsageError("no such device")

    with serving(fail) as client:
        client.thread.join(20)

    assert [str(one) for one in client.failures] == ["no such device"]


def test_a_port_that_is_taken_is_told(toy):
    from lineup.serve.app import app_from_engine
    from lineup.serve.server import Server

    with serving(toy) as client:
        second = Server("127.0.0.1", client.port, 1.0)
        with pytest.raises(LineupError, match=f"port {client.port}"):
            second.serve_app(app_from_engine(toy))


def test_what_was_taken_is_answered_before_the_server_ends(toy, red_image, held, monkeypatch):
    answers = []
    with serving(toy) as client:
        until(lambda: client.get("/readyz").status == 200)
        hold(monkeypatch)
        post = threading.Thread(
            target=lambda: answers.append(client.post("/v1/attribute", red_image.read_bytes()))
        )
        post.start()
        until(lambda: b"lineup_waiting_images 1.0" in client.get("/metrics").body)
        client.server.stop()
        until(lambda: not client.server.servers[0].is_serving())
        with pytest.raises(ConnectionRefusedError):
            client.get("/healthz")
        held.set()
        post.join(20)

    assert [one.status for one in answers] == [200]


def test_a_model_that_fails_is_an_error_without_a_traceback(client, red_image, monkeypatch):
    from lineup.engine import Engine

    def fail(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Engine, "run_id", fail)
    one = client.post("/v1/attribute", red_image.read_bytes())
    monkeypatch.undo()

    assert one.status == 500
    assert b"Traceback" not in one.body
    assert b"out of luck" not in one.body
    assert one.headers["x-request-id"] in one.record["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        f"--{BOUNDARY}".encode(),
        form(("f", "a.png", b"GIF89a"))[:-8],
        form(("field", None, b"no file")),
        form(("field", None, bytes(5000))),
        form(*[("field", None, b"1")] * 20, ("f", "a", b"x")),
        form(*[("f", "a", b"x")] * 33),
        f"--{BOUNDARY}\r\n\r\nno headers\r\n--{BOUNDARY}--\r\n".encode(),
        f"--{BOUNDARY}\r\nContent-Disposition: nonsense\r\n\r\n".encode(),
        f"--{BOUNDARY}\r\nA: {'x' * 10000}\r\n\r\n".encode(),
    ],
)
def test_a_malformed_form_is_the_clients_mistake(client, body):
    kind = f"multipart/form-data; boundary={BOUNDARY}"

    answer = client.post("/v1/attribute", body, content_type=kind)

    assert answer.status in (400, 413)
    assert answer.record["error"]["type"] == "RequestError"


@pytest.mark.parametrize("kind", ["", "; boundary=", f"; boundary={'x' * 300}", "; boundary*=a"])
def test_a_boundary_has_to_be_one(client, kind):
    answer = client.post("/v1/attribute", b"x", content_type=f"multipart/form-data{kind}")

    assert answer.status == 400


def test_pages_of_others_may_not_ask(client, red_image):
    data = red_image.read_bytes()

    assert client.post("/v1/attribute", data, origin="https://evil.example").status == 403
    assert client.post("/v1/attribute", data, origin="null").status == 403
    assert client.get("/v1/sources", host="rebound.example").status == 421
    own = f"localhost:{client.port}"
    assert client.post("/v1/attribute", data, origin=f"http://{own}", host=own).status == 200
    assert "access-control-allow-origin" not in client.get("/v1/sources").headers


def test_the_log_has_a_line_a_request_and_nothing_of_images(toy, red_image, capfd, monkeypatch):
    from lineup.serve.server import log_to_stderr

    for name in ("lineup", "uvicorn"):
        for attribute in ("handlers", "propagate", "level"):
            logger = logging.getLogger(name)
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    log_to_stderr()
    with serving(toy) as client:
        until(lambda: client.get("/readyz").status == 200)
        answer = client.post_form("/v1/attribute", ("f", "private.png", red_image.read_bytes()))
        client.get("/secret-path?query=private")
    text = capfd.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = (one for one in lines if one.get("id") == answer.headers["x-request-id"])

    assert line["route"] == "/v1/attribute"
    assert (line["status"], line["files"]) == (200, 1)
    assert line["bytes"] > 0
    assert "private" not in text
    assert "secret" not in text
