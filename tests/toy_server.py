"""A server on a port of its own, over the toy engine."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

import pytest

BOUNDARY = "frontier"
EXTRA = ("prometheus_client", "python_multipart", "starlette", "uvicorn")
REASON = "of the extra serve"


class Answer:
    """What came back: its status, headers and body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def record(self):
        return json.loads(self.body)


class Client:
    """Asks one server."""

    def __init__(self, port):
        self.port = port

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method, path, body=None, **headers):
        connection = self.connection()
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, body=b"", **headers):
        return self.ask("POST", path, body, **headers)

    def post_form(self, path, *parts, **headers):
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.post(path, form(*parts), content_type=kind, **headers)


def form(*parts):
    """Return a body of parts: (name, file name or None, bytes)."""
    lines = []
    for name, file_name, data in parts:
        file = "" if file_name is None else f'; filename="{file_name}"'
        lines += [f"--{BOUNDARY}\r\n".encode()]
        lines += [f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()]
        lines += [data, b"\r\n"]
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def until(condition, seconds=30):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


@contextmanager
def serving(open_engine, *, keys=None, **limits):
    """Serve on a free port until the block ends; yields a client."""
    for module in EXTRA:
        pytest.importorskip(module, reason=REASON)
    from lineup.serve.app import ServeOptions, app_from_engine
    from lineup.serve.server import Server

    options = ServeOptions(is_local=True, **limits)
    server = Server("127.0.0.1", 0, options.deadline_seconds)
    app = app_from_engine(open_engine, options=options, keys=keys, on_end=server.stop)
    failures = []

    def serve():
        try:
            server.serve_app(app)
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until(lambda: server.started)
        sockets = server.servers[0].sockets  # none where it has ended already
        client = Client(sockets[0].getsockname()[1] if sockets else None)
        client.server, client.failures, client.thread = server, failures, thread
        yield client
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
