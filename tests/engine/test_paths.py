import platformdirs

from lineup.paths import home_dir, shipped_dir


def test_the_environment_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("LINEUP_HOME", str(tmp_path / "home"))

    assert home_dir() == tmp_path / "home"


def test_the_platform_decides_otherwise(monkeypatch):
    monkeypatch.delenv("LINEUP_HOME", raising=False)

    assert str(home_dir()) == platformdirs.user_cache_dir("lineup", appauthor=False)


def test_shipped_data_is_in_the_package():
    assert (shipped_dir() / "report.html.j2").is_file()
