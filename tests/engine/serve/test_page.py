"""The page at `/`, without a browser: what it holds, and what its script is answered."""

import re

from toy_server import serving, until

from lineup.serve.keys import KEYS, make_key


def test_the_page_has_no_script_or_style_of_its_own(client):
    page = client.get("/").body.decode()

    assert re.findall(r"<script(?![^>]* src=\"static/)", page) == []
    assert not re.search(r"<style|\son\w+=|\sstyle=", page)
    for name in ("lineup.css", "rows.js", "page.js"):
        assert f'"static/{name}"' in page
        assert client.get(f"/static/{name}").status == 200
    assert client.get("/static/../app.py").status == 404
    assert "were named rightly" in page


def test_only_a_server_with_keys_asks_for_one_and_enrols(client, toy, tmp_path):
    make_key(tmp_path / "keys.json", "a", may_enroll=True)

    assert 'id="key"' not in client.get("/").body.decode()
    with serving(toy, keys=KEYS.read(tmp_path / "keys.json")) as keyed:
        until(lambda: keyed.get("/readyz").status == 200)
        page = keyed.get("/").body.decode()
    assert 'id="key"' in page
    assert 'id="enrolment"' in page


def test_the_page_is_answered_with_entries_failures_among_them(client, red_image):
    parts = ("f", "a.png", red_image.read_bytes()), ("f", "b.png", b"\x89PNG\r\n\x1a\n")
    answer = client.post_form("/v1/attribute?view=entry", *parts)
    first, second = answer.record["rows"]

    assert first["sentence"].startswith("Most likely made by reds (")
    assert first["posterior"][0][0] == "reds"
    assert (second["label"], second["path"]) == ("failed", "b.png")
    assert client.post_form("/v1/attribute?view=entry", parts[1]).status == 200
