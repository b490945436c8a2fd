import json
import stat

import pytest
from toy_server import serving, until

from lineup.engine import Engine
from lineup.errors import UsageError
from lineup.gallery.enroll import EnrollReport, FailedImage
from lineup.gallery.support import SourceRole
from lineup.serve.keys import KEYS, KeyFile, make_key


@pytest.fixture
def keyed(toy, tmp_path):
    """A client, and a key that may ask, and one that may enrol."""
    path = tmp_path / "keys.json"
    keys = [make_key(path, name, may_enroll=name == "curator") for name in ("reader", "curator")]
    with serving(toy, keys=KeyFile(path)) as client:
        until(lambda: client.get("/readyz").status == 200)
        yield client, *(f"Bearer {key}" for key in keys)


def test_only_who_has_a_key_may_ask(keyed, red_image):
    client, reader, curator = keyed
    data = red_image.read_bytes()

    refused = client.post("/v1/attribute", data)

    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer", "Bearer x", reader[:-1], reader.replace("Bearer", "Basic"), "\xff"):
        assert client.post("/v1/attribute", data, authorization=wrong).status == 401
    for path in ("/v1/sources", "/metrics", "/v1/nothing"):
        assert client.get(path).status == 401
    for key in (reader, curator, reader.replace("Bearer", "bearer")):
        assert client.post("/v1/attribute", data, authorization=key).status == 200
    assert client.get("/healthz").status == client.get("/readyz").status == 200


def test_only_a_key_that_may_enrols(keyed, client, red_image):
    keyed_client, reader, _ = keyed
    part = ("f", "a.png", red_image.read_bytes())

    assert keyed_client.post_form("/v1/sources/x", part, authorization=reader).status == 403
    assert client.post_form("/v1/sources/x", part).status == 403


def test_enrolment_takes_the_files_in_parts_and_adds_them_up(keyed, red_image, monkeypatch):
    client, _, curator = keyed
    calls = []

    def enroll(self, name, files, *, options):
        calls.append((name, [one.path.name for one in files], options.role, options.provenance))
        assert all(one.data == red_image.read_bytes() for one in files)
        failed = (FailedImage(files[0].path, "broken"),) if len(calls) == 2 else ()
        return EnrollReport(len(files), len(files) - len(failed), 0, failed, 7)

    monkeypatch.setattr(Engine, "enroll", enroll)
    parts = [("f", f"dir/{number}.png", red_image.read_bytes()) for number in range(6)]
    fields = [("role", None, b"real"), ("provenance", None, b"press kit")]

    answer = client.post_form("/v1/sources/sd%20x", *fields, *parts, authorization=curator)

    assert answer.record == {
        "name": "sd x",
        "added": 5,
        "present": 0,
        "failed": [{"path": "4.png", "message": "broken"}],
        "total": 7,
    }
    role = (SourceRole.REAL, "press kit")
    assert calls == [
        ("sd x", ["0.png", "1.png", "2.png", "3.png"], *role),
        ("sd x", ["4.png", "5.png"], *role),
    ]
    wrong = client.post_form("/v1/sources/x", ("role", None, b"?"), *parts, authorization=curator)
    assert wrong.status == 400


def test_the_file_holds_no_key_and_is_the_owners(tmp_path):
    path = tmp_path / "keys.json"

    key = make_key(path, "a", may_enroll=False)
    other = make_key(path, "b", may_enroll=True)

    assert key not in path.read_text()
    assert len({key, other}) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = KEYS.read(path)
    assert keys.key_of(other.encode()).may_enroll
    assert keys.key_of(key.encode()).name == "a"
    assert keys.key_of(b"") is None
    assert len({one.salt for one in keys.keys}) == 2


def test_a_name_is_given_once_and_a_broken_file_is_told(tmp_path):
    path = tmp_path / "keys.json"
    make_key(path, "a", may_enroll=False)

    with pytest.raises(UsageError, match="has a key 'a' already"):
        make_key(path, "a", may_enroll=True)
    raw = json.loads(path.read_text())
    raw["keys"][0]["sha256"] = "0"
    path.write_text(json.dumps(raw))
    with pytest.raises(UsageError, match=r"keys\[0\]\.sha256"):
        KEYS.read(path)


def test_who_may_ask_follows_the_file(tmp_path):
    path = tmp_path / "keys.json"
    first = make_key(path, "a", may_enroll=False).encode()
    keys = KeyFile(path)

    second = make_key(path, "b", may_enroll=False).encode()
    assert keys.key_of(second).name == "b"

    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    assert keys.key_of(first) is None  # a file that cannot be read lets nobody in

    record = json.loads(whole)
    path.write_text(json.dumps({**record, "keys": record["keys"][1:]}))
    assert keys.key_of(first) is None
    assert keys.key_of(second).name == "b"
