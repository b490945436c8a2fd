"""What documents promise: snippets and examples run, links lead somewhere, the README is short."""

import re
import runpy
import shutil
from pathlib import Path

import pytest

from lineup.cli.main import COMMANDS
from lineup.paths import shipped_dir

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "benchmarks/*.md", "*/README.md")
    for path in ROOT.glob(pattern)
)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^ *|`)lineup ([a-z][\w-]*)", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+/[\w.]+\.(?:py|md|json|toml))`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
DOCUMENT = re.compile(r"\bdocs/[\w-]+\.md\b")
CODE = ("engine", "export", "models", "benchmarks")
SAID = {
    "01_attribute": "5 forms, one answer: {'undetermined'}",
    "02_enroll_and_scan": "toy-nearest -> toy-nearest",
    "03_lineup": "cedar.png: pocket-cedar",
    "04_rows_to_csv": "path,sha256,verdict,confidence,error",
}
MOST_README_LINES, MOST_TABLE_COLUMNS, MOST_EXAMPLE_LINES = 120, 160, 40


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the files that snippets name."""
    samples = shipped_dir() / "samples"
    shutil.copy(samples / "nearest-0.png", tmp_path / "query.png")
    for name in ("photos", "samples"):
        (tmp_path / name).mkdir()
        shutil.copy(samples / "shuffle-0.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if PYTHON.search(path.read_text("utf-8"))], ids=str
)
def test_snippets_run(document, folder, capsys):
    for snippet in PYTHON.findall(document.read_text("utf-8")):
        exec(compile(snippet, str(document), "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example, folder, capsys):
    runpy.run_path(str(example), run_name="__main__")

    assert SAID[example.stem] in capsys.readouterr().out
    assert len(example.read_text("utf-8").splitlines()) < MOST_EXAMPLE_LINES


def test_the_readme_is_short():
    lines = README.read_text("utf-8").splitlines()

    assert len(lines) <= MOST_README_LINES
    assert [one for one in lines if one.startswith("|") and len(one) > MOST_TABLE_COLUMNS] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document):
    links = LINK.findall(document.read_text("utf-8"))

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_code_names_documents_that_are_there():
    """In help texts and errors, which no link checks."""
    files = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in files for name in DOCUMENT.findall(path.read_text("utf-8"))}

    assert "docs/evidence.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_map_names_files_that_are_there():
    named = NAMED.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    places = (ROOT, ROOT / "engine" / "lineup")

    assert len(named) > 20
    to_come = [path for path in named if "NAME" in path]  # NAME stands for a file to come
    missing = [path for path in named if not any((place / path).exists() for place in places)]
    assert sorted(missing) == sorted(to_come)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(document):
    assert set(COMMAND.findall(document.read_text("utf-8"))) <= {*COMMANDS}
