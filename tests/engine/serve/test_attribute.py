import json
from pathlib import Path

import pytest
from toy_engine import colour_support

from lineup import engine as engine_module
from lineup.engine import open_engine
from lineup.gallery.gallery import Gallery
from lineup.gallery.opening import user_store

BROKEN = b"\xff\xd8\xff\xe0 no more of this JPEG"


def timeless(record):
    """Return a row without what differs between two runs."""
    for evidence in (record["evidence"] or {}).values():
        evidence["cost_ms"] = None
    return {**record, "ms": None}


def test_bytes_get_the_row_that_python_gets(client, red_image):
    data = red_image.read_bytes()

    answer = client.post("/v1/attribute", data)

    with open_engine() as engine:
        row = engine.attribute(data)
    assert answer.status == 200
    assert timeless(answer.record) == timeless(row.to_dict())
    assert answer.headers["content-type"] == "application/json"


def test_files_get_the_rows_that_a_scan_writes_in_order(client, red_image, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(BROKEN)
    files = [red_image, broken, red_image]

    answer = client.post_form(
        "/v1/attribute", *(("file", str(path), path.read_bytes()) for path in files)
    )

    with open_engine() as engine:
        rows = list(engine.scan([red_image, broken]))
    expected = [timeless(row.to_dict()) for row in (*rows, rows[0])]
    assert answer.status == 200
    assert [timeless(row) for row in answer.record["rows"]] == expected


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (b"GIF89a", 422, "UnreadableImageError"),
        (BROKEN, 422, "UnreadableImageError"),
        (b"%PDF-1.7", 415, "UnsupportedImageError"),
        (b"some text", 415, "UnsupportedImageError"),
    ],
)
def test_what_is_no_picture_is_said_in_its_row(client, data, status, kind):
    answer = client.post("/v1/attribute", data)

    assert (answer.status, answer.record["error"]["type"]) == (status, kind)
    assert answer.record["verdict"] is None
    assert client.post_form("/v1/attribute", ("f", "a.png", data)).status == status


def test_a_name_is_what_the_client_calls_it_and_never_a_path_here(client, red_image):
    name = "../../etc/\u00e4\u202e.png"

    answer = client.post_form("/v1/attribute", ("f", name, red_image.read_bytes()))

    assert answer.record["rows"][0]["path"] == name


def test_verify_is_what_python_says(client, red_image):
    data = red_image.read_bytes()

    by_query = client.post("/v1/verify?source=reds", data)
    by_form = client.post_form("/v1/verify", ("source", None, b"reds"), ("f", "a.png", data))

    with open_engine() as engine:
        expected = json.loads(json.dumps(engine.verify(data, "reds").to_dict()))
    assert by_query.record == {"path": None, **expected}
    assert by_form.record == {"path": "a.png", **expected}
    assert expected["accepted"]


def test_verify_says_what_is_wrong(client, red_image):
    data = red_image.read_bytes()

    assert client.post("/v1/verify", data).status == 400
    unknown = client.post("/v1/verify?source=greens", data)
    assert unknown.status == 404
    assert "'greens'" in unknown.record["error"]["message"]
    assert client.post("/v1/verify?source=reds", b"text").status == 415
    two = (("f", "a", data), ("f", "b", data))
    assert client.post_form("/v1/verify?source=reds", *two).status == 400


def test_what_another_process_enrols_is_known_to_the_next_question(
    client, red_image, colour_gallery, monkeypatch
):
    data = red_image.read_bytes()
    before = client.post("/v1/attribute", data).record

    greens = colour_support("greens", (0, 1, 0))
    more = colour_gallery.merged_with(Gallery("colour", {"greens": greens}))
    monkeypatch.setattr(engine_module, "known_gallery", lambda *_, **__: more)
    unchanged = client.post("/v1/attribute", data).record
    user_store().merge(Gallery("colour", {"greens": greens}))
    after = client.post("/v1/attribute", data).record

    assert "greens" not in before["posterior"]
    assert timeless(unchanged) == timeless(before)
    assert "greens" in after["posterior"]
    assert "greens" in {one["name"] for one in client.get("/v1/sources").record["sources"]}


def test_the_sources_are_listed(client):
    sources = client.get("/v1/sources").record["sources"]

    assert {(one["name"], one["role"], one["images"]) for one in sources} == {
        ("reds", "candidate", 12),
        ("blues", "candidate", 12),
        ("real", "real", 12),
    }


def test_many_at_once_are_answered_in_groups(client, red_image):
    data = red_image.read_bytes()
    parts = [("f", str(number), data) for number in range(20)]

    rows = client.post_form("/v1/attribute", *parts).record["rows"]

    assert [row["path"] for row in rows] == [str(number) for number in range(20)]
    metrics = client.get("/metrics").body.decode()
    assert 'lineup_images_total{outcome="named"} 20.0' in metrics
    assert "lineup_group_images_count 20.0" not in metrics
    assert "lineup_waiting_images 0.0" in metrics


def test_nothing_is_written(client, red_image, lineup_home, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    before = set(Path(tmp_path).rglob("*")) | set(lineup_home.rglob("*"))
    noise = red_image.read_bytes() + bytes(3 * 2**20)

    assert client.post_form("/v1/attribute", ("f", "a.png", noise)).status == 200

    assert set(Path(tmp_path).rglob("*")) | set(lineup_home.rglob("*")) == before
