"""The one stream of image files: read, hash, decode and cut in threads, while the model works.

Scans, enrolments, `lineup classify` and the laboratory read their images here. What is wrong with
an image is told in its place and never ends the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lineup.claims import Origin
from lineup.errors import UsageError
from lineup.files import sha256_from_bytes
from lineup.imaging.decode import bytes_from_path, encoded_from_bytes
from lineup.imaging.header import DecodeLimits
from lineup.look_ahead import ByteBudget, LookAhead, Signal, read_in_order
from lineup.machine import usable_cores
from lineup.origin import origin_from_file
from lineup.results import RowError, StageTimes
from lineup.types import AnyArray, RgbImage, RgbTiles

BYTES_PER_PIXEL = 9
"""While decoding: what the decoder returns, its copy as upright 8-bit RGB, and inflated data."""

MAX_DEFAULT_WORKERS = 4
"""More than four decoders outrun any model that this engine runs and only add memory."""

MOST_GROUP_BYTES = 256 * 2**20
"""Most memory of the decoded images of a group; a larger image goes alone."""


class TileCutter(Protocol):
    """What the readers need of a fingerprint extractor; called from several threads at once."""

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image, (H, W, 3) uint8 RGB, into tiles, (T, S, S, 3)."""
        ...

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return remarks on how far the fingerprint of this image can be trusted."""
        ...


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How images are read and grouped.

    Memory is bounded by `look_ahead_images` and `look_ahead_bytes`, whatever the number of images:
    files being read, pixels being decoded and tiles waiting for the model are each kept below
    `look_ahead_bytes`, unless a single image alone is larger; then it goes through alone.

    Attributes:
        group_images: Images that are answered together, at most.
        group_tiles: Tiles of a group, at most, unless one image alone has more; None is no limit.
        group_bytes: Pixels and tiles of a group, at most, unless one image alone is larger.
        waits_for_group: Whether a group waits for its images however slowly their paths arrive:
            where every model is loaded for a group, waiting costs less. Else what is known is
            answered after `stall_seconds`.
        workers: Threads that read, decode and cut; None takes the usable cores, at most four.
        look_ahead_images: Images read or decoded ahead of the models, at most; None takes enough to
            fill the next group and to keep every worker busy.
        look_ahead_bytes: See above.
        limits: Guards against decompression bombs.
        stall_seconds: See `waits_for_group`.

    Raises:
        UsageError: A number is below 1.
    """

    group_images: int = 8
    group_tiles: int | None = 64
    group_bytes: int = MOST_GROUP_BYTES
    waits_for_group: bool = False
    workers: int | None = None
    look_ahead_images: int | None = None
    look_ahead_bytes: int = 512 * 2**20
    limits: DecodeLimits = DecodeLimits()  # noqa: RUF009 - frozen, so sharing one is safe
    stall_seconds: float = 0.25

    def __post_init__(self) -> None:
        for name in (
            "group_images",
            "group_tiles",
            "group_bytes",
            "workers",
            "look_ahead_images",
            "look_ahead_bytes",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, expected at least 1.")

    @property
    def worker_count(self) -> int:
        """Threads that read, decode and cut, at least 1."""
        return self.workers or min(MAX_DEFAULT_WORKERS, usable_cores())

    @property
    def look_ahead_limit(self) -> int:
        """Images read or decoded ahead of the models, at least 1."""
        return self.look_ahead_images or self.group_images + 2 * self.worker_count


DEFAULT_STREAM = StreamOptions()


@dataclass(frozen=True, slots=True, eq=False)
class StreamedImage:
    """An image on its way to the model; `error` is set exactly when it cannot be used.

    Attributes:
        path: The file as it was named.
        sha256: Hex digest of the file's bytes; None when they could not be read.
        size_bytes: Length of the file; None when it could not be read.
        format: "jpeg", "png", ...; None when it could not be decoded, as the two below.
        width_px: Width of the upright image.
        height_px: Height of the upright image.
        notes: What the decoder did to the image, e.g. "first of 12 frames".
        origin: What the file declares; None where nobody asked.
        ms: Time of the readers' stages.
        tiles: Shape (T, S, S, 3), uint8 RGB; None with an error, and when the model had them.
        tile_notes: Remarks on how far its fingerprint can be trusted.
        pixels: The whole image, shape (H, W, 3), uint8 RGB, where it is kept.
        error: Why it cannot be used.
    """

    path: Path
    sha256: str | None = None
    size_bytes: int | None = None
    format: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    notes: tuple[str, ...] = ()
    origin: Origin | None = None
    ms: StageTimes = StageTimes()  # noqa: RUF009 - frozen, as above
    tiles: RgbTiles | None = None
    tile_notes: tuple[str, ...] = ()
    pixels: RgbImage | None = None
    error: RowError | None = None

    @property
    def held_bytes(self) -> int:
        """Memory of tiles and pixels."""
        return sum(one.nbytes for one in (self.tiles, self.pixels) if one is not None)

    def failed(self, error: Exception) -> StreamedImage:
        """Return it with why it cannot be used, and without what was decoded."""
        found = RowError.from_exception(error)
        return replace(self, error=found, tiles=None, tile_notes=(), pixels=None)


class ImageReader:
    """Reads, hashes, decodes and cuts files, on any thread; never raises on account of an image.

    Args:
        cutter: Cuts tiles.
        options: Limits and memory.
        is_known: Tells by path and hash (None for a file that cannot be read) whether an image is
            to be left out, and not decoded; called from several threads at once.
        keep_pixels: Whether images are kept whole beside their tiles.
        origin: Whether what files declare of their origin is read.
    """

    def __init__(
        self,
        cutter: TileCutter,
        options: StreamOptions = DEFAULT_STREAM,
        *,
        is_known: Callable[[Path, str | None], bool] = lambda path, sha256: False,
        keep_pixels: bool = False,
        origin: bool = False,
    ) -> None:
        self.files = ByteBudget(options.look_ahead_bytes)
        self.pixels = ByteBudget(options.look_ahead_bytes)
        self._cutter = cutter
        self._options = options
        self._is_known = is_known
        self._keep_pixels = keep_pixels
        self._origin = origin

    def images(self, paths: Iterable[Path]) -> Generator[StreamedImage | Signal, None, None]:
        """Yield one image, failure or `Signal.SKIPPED` per path, in order, and `Signal.STALLED`.

        Close it to stop early.

        Args:
            paths: Image files, consumed lazily on a thread of its own.

        Raises:
            Exception: Whatever `paths` raised, after the images before it.
        """
        return read_in_order(
            paths,
            self.image_from_path,
            workers=self._options.worker_count,
            look_ahead=LookAhead(self._options.look_ahead_limit, self._options.look_ahead_bytes),
            stall_seconds=self._options.stall_seconds,
        )

    def image_from_path(self, path: Path) -> StreamedImage | None:
        """Read, hash, decode and cut one image; None when it is known.

        A thread that holds file bytes may wait for pixel bytes, never the other way round, so the
        two budgets cannot block each other.
        """
        with self.files.reserved(self._file_bytes(path)):
            watch = _Stopwatch()
            image, data = self._read(path)
            image = replace(image, ms=StageTimes(read=watch.lap_ms()))
            if self._is_known(path, image.sha256):
                return None
            return image if data is None else self._decoded(image, data)

    def image_from_bytes(self, path: Path, data: bytes) -> StreamedImage | None:
        """Hash, decode and cut an image whose file was read elsewhere; see `image_from_path`."""
        watch = _Stopwatch()
        image = StreamedImage(path, sha256=sha256_from_bytes(data), size_bytes=len(data))
        if self._is_known(path, image.sha256):
            return None
        return self._decoded(replace(image, ms=StageTimes(read=watch.lap_ms())), data)

    def _read(self, path: Path) -> tuple[StreamedImage, bytes | None]:
        image = StreamedImage(path)
        try:
            data = bytes_from_path(path, limits=self._options.limits)
        except Exception as error:
            return image.failed(error), None
        return replace(image, sha256=sha256_from_bytes(data), size_bytes=len(data)), data

    def _decoded(self, image: StreamedImage, data: bytes) -> StreamedImage:
        watch = _Stopwatch()
        try:
            encoded = encoded_from_bytes(data, limits=self._options.limits)
        except Exception as error:
            return image.failed(error)
        header_ms = watch.lap_ms()
        header = encoded.header
        with self.pixels.reserved(header.width_px * header.height_px * BYTES_PER_PIXEL):
            watch.lap_ms()  # waiting for memory is no work
            try:
                decoded = encoded.decoded()
                origin = origin_from_file(data, decoded) if self._origin else None
                image = replace(
                    image,
                    format=decoded.format,
                    width_px=decoded.width_px,
                    height_px=decoded.height_px,
                    notes=decoded.notes,
                    origin=origin,
                    ms=image.ms.plus(decode=header_ms + watch.lap_ms()),
                )
                tiles = _owned(self._cutter.tiles(decoded.pixels))
                tile_notes = self._cutter.notes(decoded.pixels)
            except Exception as error:
                return image.failed(error)
        ms = image.ms.plus(preprocess=watch.lap_ms())
        pixels = decoded.pixels if self._keep_pixels else None
        return replace(image, ms=ms, tiles=tiles, tile_notes=tile_notes, pixels=pixels)

    def _file_bytes(self, path: Path) -> int:
        try:
            return min(path.stat().st_size, self._options.limits.max_bytes)
        except OSError:  # reading will say what is wrong
            return 0


def groups_from_stream(
    stream: Iterable[StreamedImage | Signal], options: StreamOptions
) -> Iterator[list[StreamedImage]]:
    """Group images, in order; failures ride along without counting.

    A group ends when the next image would exceed a limit, when nothing more is known for now
    (unless it waits), and right away when it holds failures only.
    """
    group: list[StreamedImage] = []
    images = tiles = size_bytes = 0
    for item in stream:
        if isinstance(item, Signal):
            if group and item is Signal.STALLED and not options.waits_for_group:
                yield group
                group, images, tiles, size_bytes = [], 0, 0, 0
            continue
        more = 0 if item.tiles is None else len(item.tiles)
        is_over = size_bytes + item.held_bytes > options.group_bytes or (
            options.group_tiles is not None and tiles + more > options.group_tiles
        )
        if images and more and is_over:
            yield group
            group, images, tiles, size_bytes = [], 0, 0, 0
        group.append(item)
        images += more > 0
        tiles += more
        size_bytes += item.held_bytes
        if images in (0, options.group_images):
            yield group
            group, images, tiles, size_bytes = [], 0, 0, 0
    if group:
        yield group


def rows_from_paths(
    paths: Iterable[Path],
    cutter: TileCutter,
    compute: Callable[[Sequence[RgbTiles]], AnyArray],
    options: StreamOptions = DEFAULT_STREAM,
) -> Iterator[tuple[StreamedImage, AnyArray | None]]:
    """Yield what the model says of each image, in order; None with an image that failed.

    Args:
        paths: Image files, consumed lazily.
        cutter: Cuts images into tiles.
        compute: Tiles of some images to one row each, shape (images, ...); called in this thread.
        options: How images are read and grouped.

    Raises:
        BackendError: The model failed; that is not the fault of one file.
    """
    with closing(ImageReader(cutter, options).images(paths)) as stream:
        for group in groups_from_stream(stream, options):
            tiles = [image.tiles for image in group if image.tiles is not None]
            rows = iter(compute(tiles) if tiles else ())
            for image in group:
                if image.tiles is None:
                    yield image, None
                else:
                    # Without its tiles, so that whoever keeps the image keeps little.
                    yield replace(image, tiles=None), next(rows)


def _owned(tiles: RgbTiles) -> RgbTiles:
    """Return tiles that do not keep the pixels of the whole image alive."""
    return tiles if tiles.base is None else tiles.copy()


class _Stopwatch:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def lap_ms(self) -> float:
        now = time.perf_counter()
        elapsed_ms = (now - self._start) * 1e3
        self._start = now
        return elapsed_ms
