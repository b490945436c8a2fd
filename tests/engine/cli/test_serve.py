import http.client
import json
import signal
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from lineup.cli.serve import serve
from lineup.errors import UsageError

pytest.importorskip("uvicorn", reason="needs the extra [serve]")


def test_a_key_is_made_and_printed_once(tmp_path):
    path = tmp_path / "keys.json"

    made = CliRunner().invoke(serve, ["--keys", str(path), "--make-key", "a", "--may-enroll"])

    assert made.exit_code == 0
    assert made.stdout.strip() not in path.read_text()
    assert [one["may_enroll"] for one in json.loads(path.read_text())["keys"]] == [True]
    assert CliRunner().invoke(serve, ["--make-key", "a"]).exit_code == 2
    assert CliRunner().invoke(serve, ["--may-enroll"]).exit_code == 2


def test_a_file_of_keys_that_is_none_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        CliRunner().invoke(
            serve, ["--keys", str(tmp_path / "none"), "--port", "0"], catch_exceptions=False
        )


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_it_serves_until_sigterm_and_ends_well(tmp_path, lineup_home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lineup", "serve", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert _status("/readyz", port, until=200) == 200
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]

    assert process.returncode == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)


def _status(path, port, until):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except OSError:
            status = None
        finally:
            connection.close()
        if status == until:
            return status
        time.sleep(0.05)
    return status
