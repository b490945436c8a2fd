"""What makes an ONNX file of an image tower usable; see the TOML files beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from lineup.bundles.info import Count, Positive, Preprocess, Text
from lineup.bundles.manifest import NAME_PATTERN
from lineup.documents import DocumentFormat
from lineup.errors import BundleFormatError, UsageError, did_you_mean

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class FileSource:
    """One place that has the file: a member of a wheel on the package index, or a hub repository.

    Attributes:
        package: Distribution on the package index.
        version: Its version.
        member: Path of the file inside the wheel.
        hub_id: Repository of the Hugging Face hub.
        revision: Commit there.
        file: Path of the file there.
    """

    package: Text | None = None
    version: Text | None = None
    member: Text | None = None
    hub_id: Text | None = None
    revision: Text | None = None
    file: Text | None = None

    @property
    def is_wheel(self) -> bool:
        """Whether the file lies in a wheel."""
        return self.package is not None

    def __str__(self) -> str:
        if self.is_wheel:
            return f"{self.package} {self.version} on the package index"
        return f"{self.hub_id} on the Hugging Face hub"


@dataclass(frozen=True, slots=True)
class TowerLayer:
    """A block of the tower, counted from 1, and the tensor that it puts out.

    The tensor has the shape (images, tokens, dimension), the CLS token first, or is that token
    alone: (images, dimension).
    """

    block: Positive
    tensor: Text


@dataclass(frozen=True, slots=True)
class Tower:
    """How the graph is read.

    Attributes:
        input: Name of its only input, float32 (images, 3, height, width).
        layers: Blocks that can be asked for, rising.
        default_layer: The block that is taken when none is named; a second graph ends there.
        embedding: Name of the output with the projected embedding; None where there is none.
        batch: Most images a run. 1 where what an image gives would depend on its neighbours.
    """

    input: Text
    layers: Annotated[tuple[TowerLayer, ...], Meta(min_length=1)]
    default_layer: Positive
    embedding: Text | None = None
    batch: Positive = 32


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """An encoder that needs no training library.

    Attributes:
        name: Of the bundle.
        title: For people.
        licence: SPDX expression of the weights' licence.
        upstream: Whose weights they are.
        sha256: Hex digest of the file.
        size_bytes: Its size.
        preprocess: What is done to an image.
        tower: How the graph is read.
        sources: Where the file is, in the order in which they are tried.
    """

    name: Annotated[str, Meta(pattern=rf"^{NAME_PATTERN.pattern}\Z")]
    title: Text
    licence: Text
    upstream: Text
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size_bytes: Count
    preprocess: Preprocess
    tower: Tower
    sources: tuple[FileSource, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width that the graph takes."""
        width_px, height_px = self.preprocess.width_px, self.preprocess.height_px
        assert width_px is not None
        assert height_px is not None
        return (3, height_px, width_px)


def _contradictions(model: ReadyModel) -> Iterator[str]:
    tower = model.tower
    blocks = [layer.block for layer in tower.layers]
    for field in ("width_px", "height_px"):
        if getattr(model.preprocess, field) is None:
            yield f"preprocess.{field}: missing, but required"
    if blocks != sorted(set(blocks)):
        yield f"tower.layers: expected rising blocks, got {blocks}"
    if tower.default_layer not in blocks:
        yield f"tower.default_layer: {tower.default_layer} is not among the layers {blocks}"
    for index, source in enumerate(model.sources):
        wheel = (source.package, source.version, source.member)
        hub = (source.hub_id, source.revision, source.file)
        if not (all(wheel) and not any(hub)) and not (all(hub) and not any(wheel)):
            yield (
                f"sources[{index}]: expected either package, version and member, or hub_id, "
                "revision and file"
            )


DESCRIPTION = DocumentFormat(
    ReadyModel,
    BundleFormatError,
    "clip-vit-b-16.toml, which comes with lineup, shows what is expected.",
    syntax="toml",
    contradictions=_contradictions,
)


def ready_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the names of all encoders that can be pulled as they are, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def open_description(name: str, *, folder: Path = FOLDER) -> ReadyModel:
    """Read what is known of an encoder.

    Raises:
        UsageError: There is none of this name; names the closest.
        BundleFormatError: The file breaks the rules; names file and field.
    """
    names = ready_names(folder)
    if name not in names:
        raise UsageError(
            f"There is no model {name!r} to pull; there are: {', '.join(names)}.",
            hint=did_you_mean(name, names) or "`lineup models list --recipes` shows the others.",
        )
    return DESCRIPTION.read(folder / f"{name}.toml")
