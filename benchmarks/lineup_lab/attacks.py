"""Attacks: operations on queries, whose sources were enrolled clean."""

from __future__ import annotations

from collections.abc import Sequence

from lineup.imaging.operations import Operation, operation_from_text
from lineup.types import Float32Array, RgbImage, RgbTiles
from lineup_lab.dataset import TileFingerprinter


def attacks_from_texts(texts: Sequence[str]) -> tuple[Operation, ...]:
    """Parse several attacks; of equal ones, one stays.

    Raises:
        UsageError: See `operation_from_text`.
    """
    return tuple(dict.fromkeys(operation_from_text(text) for text in texts))


class AttackedExtractor:
    """A fingerprint extractor that attacks every image before it cuts it into tiles."""

    def __init__(self, extractor: TileFingerprinter, attack: Operation) -> None:
        self._extractor = extractor
        self._attack = attack

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Attack an image, (H, W, 3) uint8 RGB, and cut it into tiles."""
        return self._extractor.tiles(self._attack(pixels))

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised row per image."""
        return self._extractor.fingerprints_from_tiles(tiles)

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return the extractor's remarks on the image before the attack."""
        return self._extractor.notes(pixels)
