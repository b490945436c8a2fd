import pytest

from lineup.errors import LineupFileError, LineupNotFoundError, UsageError
from lineup.lineups import store
from lineup.lineups.spec import CandidateSpec, LineupSpec, toml_from_spec
from lineup.lineups.store import (
    GALLERY_LINEUP,
    create_lineup,
    list_lineups,
    open_lineup,
)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package that ships what is put into this folder."""
    folder = tmp_path / "package"
    monkeypatch.setattr(store, "shipped_dir", lambda: folder)
    return folder / "lineups"


def put(folder, spec):
    (folder / spec.name).mkdir(parents=True)
    (folder / spec.name / "lineup.toml").write_text(toml_from_spec(spec))
    return folder / spec.name


def test_unless_told_otherwise_the_gallery_alone_answers(shipped):
    put(shipped, LineupSpec("pocket", captioner="c"))
    lineup = open_lineup()

    assert lineup.spec == LineupSpec(GALLERY_LINEUP) == open_lineup(GALLERY_LINEUP).spec
    assert (lineup.folder, lineup.gallery, lineup.calibration) == (None, None, None)


def test_the_users_own_hides_a_shipped_one(shipped):
    put(shipped, LineupSpec("pocket", captioner="shipped"))
    create_lineup(LineupSpec("pocket", captioner="mine"), force=True)

    assert open_lineup("pocket").spec.captioner == "mine"
    assert [(one.name, one.shipped) for one in list_lineups()] == [
        (GALLERY_LINEUP, True),
        ("pocket", False),
    ]


@pytest.mark.parametrize("name", ["pocket", GALLERY_LINEUP])
def test_a_shipped_one_is_hidden_on_purpose_alone(shipped, name):
    put(shipped, LineupSpec("pocket", captioner="shipped"))

    with pytest.raises(UsageError, match="yours would hide it"):
        create_lineup(LineupSpec(name))
    assert open_lineup("pocket").spec.captioner == "shipped"


def test_paths_count_from_the_file(tmp_path):
    folder = put(tmp_path, LineupSpec("a", gallery="gallery", calibration="../c.json"))

    lineup = open_lineup(folder)

    assert lineup.gallery == folder / "gallery"
    assert lineup.calibration == tmp_path / "c.json"
    assert lineup.bundle("name") == "name"
    assert lineup.bundle("./name") == folder / "name"
    assert open_lineup(str(folder / "lineup.toml")) == lineup


def test_a_name_that_is_not_there_lists_the_others(shipped):
    put(shipped, LineupSpec("pocket"))

    with pytest.raises(LineupNotFoundError, match="gallery, pocket") as raised:
        open_lineup("poket")

    assert "'pocket'" in raised.value.hint


def test_a_folder_without_the_file(tmp_path):
    with pytest.raises(LineupNotFoundError, match=r"lineup\.toml"):
        open_lineup(tmp_path)


def test_creating_does_not_replace_unless_forced():
    create_lineup(LineupSpec("mine"))

    with pytest.raises(UsageError, match="mine"):
        create_lineup(LineupSpec("mine"))
    create_lineup(LineupSpec("mine", candidates=(CandidateSpec("a"),)), force=True)

    assert open_lineup("mine").spec.candidates == (CandidateSpec("a"),)


def test_a_broken_lineup_is_listed_with_its_problem(lineup_home):
    folder = lineup_home / "lineups" / "broken"
    folder.mkdir(parents=True)
    (folder / "lineup.toml").write_text("name = 3")

    (broken,) = [one for one in list_lineups() if one.name == "broken"]

    assert broken.spec is None
    assert "lineup.toml" in broken.problem
    with pytest.raises(LineupFileError):
        open_lineup("broken")
