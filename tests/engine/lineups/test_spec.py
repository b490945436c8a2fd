import pytest

from lineup.errors import LineupFileError
from lineup.lineups.spec import (
    LINEUP_TOML,
    CandidateSpec,
    LineupSpec,
    toml_from_spec,
    with_calibration,
)
from lineup.options import Aggregate, Distance, ResynthesisOptions

FULL = """
schema_version = 1
name = "pocket"
captioner = "pocket-captioner"
encoder = "pocket-clip"
fingerprint = "whitened-spectrum"
gallery = "gallery"
calibration = "calibration.json"
[[candidates]]
name = "pocket-a"
bundle = "pocket-a"
[[candidates]]
name = "bought"
[resynthesis]
gamma = 8
seed = 3
encoder_layer = 4
aggregate = "mean"
distance = "hybrid"
"""


def minimal(**changes):
    return {"schema_version": 1, "name": "mine", **changes}


def test_everything_that_a_file_says(tmp_path):
    path = tmp_path / "lineup.toml"
    path.write_text(FULL)

    spec = LINEUP_TOML.read(path)

    assert spec == LineupSpec(
        name="pocket",
        captioner="pocket-captioner",
        encoder="pocket-clip",
        fingerprint="whitened-spectrum",
        candidates=(CandidateSpec("pocket-a", "pocket-a"), CandidateSpec("bought")),
        gallery="gallery",
        calibration="calibration.json",
        resynthesis=ResynthesisOptions(
            gamma=8,
            seed=3,
            encoder_layer=4,
            aggregate=Aggregate.MEAN,
            distance=Distance.HYBRID,
        ),
    )
    assert [one.name for one in spec.generators] == ["pocket-a"]


def test_what_is_written_reads_the_same(tmp_path):
    path = tmp_path / "lineup.toml"
    path.write_text(FULL)
    spec = LINEUP_TOML.read(path)

    path.write_text(toml_from_spec(spec))

    assert LINEUP_TOML.read(path) == spec


def test_candidates_behind_an_api_stand_beside_others(tmp_path):
    path = tmp_path / "lineup.toml"
    path.write_text(
        'schema_version = 1\nname = "mine"\nencoder = "e"\n'
        '[[candidates]]\nname = "a"\nstored = true\n'
        '[[candidates]]\nname = "b"\nbundle = "b"\n'
        '[[candidates]]\nname = "c"\ncommand = "python \'my api.py\'"\ntimeout_s = 120\n'
        '[[candidates]]\nname = "d"\n'
    )
    spec = LINEUP_TOML.read(path)

    path.write_text(toml_from_spec(spec))

    assert LINEUP_TOML.read(path) == spec
    assert [one.name for one in spec.resynthesising] == ["a", "b", "c"]
    assert [one.name for one in spec.generators] == ["b"]
    assert path.read_text().count("stored") == path.read_text().count("timeout_s") == 1


@pytest.mark.parametrize(
    "text", ['C:\\models\\a "b"', "tab\there", "über/модель", "new\nline", "\x7f"]
)
def test_any_path_can_be_written(tmp_path, text):
    path = tmp_path / "lineup.toml"
    path.write_text(toml_from_spec(LineupSpec(name="x", gallery=text)), encoding="utf-8")

    assert LINEUP_TOML.read(path).gallery == text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "bad name"}, "name"),
        ({"captioneer": "x"}, "captioneer"),
        ({"encoder": 3}, "encoder"),
        ({"candidates": [{"bundle": "a"}]}, "candidates[0].name"),
        ({"resynthesis": {"gamma": 0}}, "resynthesis.gamma"),
        ({"resynthesis": {"distance": "far"}}, "resynthesis.distance"),
        ({"resynthesis": {"encoder_layer": "last"}}, "resynthesis.encoder_layer"),
        ({"resynthesis": {"encoder_layer": 0}}, "resynthesis.encoder_layer"),
        ({"resynthesis": {"mode": "resynthesis"}}, "resynthesis"),
        ({"resynthesis": {"prompt": "a cat"}}, "resynthesis"),
        ({"candidates": [{"name": "a"}, {"name": "a"}]}, "candidates[1].name"),
        ({"candidates": [{"name": "Unknown"}]}, "candidates[0].name"),
        ({"candidates": [{"name": "generated"}]}, "candidates[0].name"),
        ({"candidates": [{"name": "real"}]}, "candidates[0].name"),
        ({"candidates": [{"name": "a", "bundle": "a"}]}, "encoder"),
        ({"candidates": [{"name": "a", "stored": True}]}, "encoder"),
        ({"candidates": [{"name": "a", "bundle": "a", "stored": True}]}, "candidates[0]"),
        ({"candidates": [{"name": "a", "command": "x", "stored": True}]}, "candidates[0]"),
        ({"candidates": [{"name": "a", "command": "x 'y"}]}, "candidates[0].command"),
        ({"candidates": [{"name": "a", "command": " "}]}, "candidates[0].command"),
        (
            {"candidates": [{"name": "a", "command": "x", "timeout_s": 0}]},
            "candidates[0].timeout_s",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_file(changes, field):
    with pytest.raises(LineupFileError) as raised:
        LINEUP_TOML.from_raw(minimal(**changes), where="here/lineup.toml")

    assert str(raised.value).startswith(f"here/lineup.toml: {field}: ")


@pytest.mark.parametrize("missing", ["schema_version", "name"])
def test_a_missing_field_is_named(missing):
    raw = {key: value for key, value in minimal().items() if key != missing}

    with pytest.raises(LineupFileError, match=f"{missing}: missing"):
        LINEUP_TOML.from_raw(raw, where="lineup.toml")


def test_a_file_of_a_newer_lineup_asks_for_an_upgrade():
    with pytest.raises(LineupFileError) as raised:
        LINEUP_TOML.from_raw(minimal(schema_version=2, anything="else"), where="lineup.toml")

    assert "upgrade" in raised.value.hint


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path, content):
    path = tmp_path / "lineup.toml"
    path.write_bytes(content)

    with pytest.raises(LineupFileError, match="not TOML"):
        LINEUP_TOML.read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a\nname = 'x'  # b\n\n[t]\nk = 1\n", "# a\nname = 'x'  # b\nC\n\n[t]\nk = 1\n"),
        ("calibration = 'old.json'\nname = 'x'\n", "C\nname = 'x'\n"),
        ("name = 'x'\n[[candidates]]\na = 1\n", "name = 'x'\nC\n[[candidates]]\na = 1\n"),
        ("name = 'x'", "name = 'x'\nC\n"),
    ],
)
def test_the_calibration_is_set_and_every_other_line_stays(text, expected):
    line = 'calibration = "new.json"'

    assert with_calibration(text, "new.json") == expected.replace("C", line)


def test_a_text_that_lines_cannot_be_told_of_is_not_edited():
    with pytest.raises(LineupFileError, match="cannot be edited"):
        with_calibration('name = """\n[x]\ncalibration = 1\n"""\nencoder = "e"\n', "new.json")
