"""AUC of a fingerprint that `lineup train fingerprint` made, by the protocol of verification.

    python benchmarks/trained_verification.py SET RUN/fingerprint.safetensors

SET is a folder as `lineup eval verification` takes it, e.g. that of `image_sets.py verification`.
The same sources, splits and scores as there, with the trained network in PyTorch instead of a
bundle.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from _record import finish, parser_of
from lineup.errors import LineupError
from lineup.imaging.tiles import TileSpec, tiles_from_image
from lineup.types import Float32Array, RgbImage, RgbTiles
from lineup_lab.attacks import attacks_from_texts
from lineup_lab.dataset import (
    ProtocolOptions,
    labelled_sources_from_folders,
    source_folders_from_dir,
    splits_of_sources,
)
from lineup_lab.report import table_from_attacks
from lineup_lab.verification import (
    VerificationResult,
    attacked_queries,
    verification_from_sources,
)
from lineup_models.research.oneforall.weights import TrainedFingerprint, read_fingerprint


class TrainedExtractor:
    """A trained network behind the interface of the shipped extractor."""

    def __init__(self, trained: TrainedFingerprint, max_tiles: int) -> None:
        self.network = trained.network()
        self.tiling = TileSpec(self.network.spectrum.spec.tile_size_px, max_tiles)

    def tiles(self, pixels: RgbImage) -> RgbTiles:
        """Cut an image into tiles."""
        return tiles_from_image(pixels, self.tiling)

    def fingerprints_from_tiles(self, tiles: Sequence[RgbTiles]) -> Float32Array:
        """Return one L2-normalised row per image."""
        with torch.inference_mode():
            rows = [
                self.network(torch.from_numpy(one), torch.full((1, len(one)), 1 / len(one)))
                for one in tiles
            ]
        return np.concatenate([row.numpy() for row in rows])

    def notes(self, pixels: RgbImage) -> tuple[str, ...]:
        """Return no remarks."""
        del pixels
        return ()


def measure(
    folder: Path,
    extractor: TrainedExtractor,
    options: ProtocolOptions,
    attacks: Sequence[str],
) -> dict[str, VerificationResult]:
    """Return the outcome of the protocol, clean and per attack on the queries."""
    sources = labelled_sources_from_folders(source_folders_from_dir(folder), extractor)
    splits = splits_of_sources(sources, options.support, options.seed)
    results = {"clean": verification_from_sources(sources, options)}
    for attack in attacks_from_texts(attacks):
        queries, _ = attacked_queries(sources, splits, attack, extractor)
        results[str(attack)] = verification_from_sources(sources, options, queries=queries)
    return results


def figures_from_result(result: VerificationResult) -> dict[str, Any]:
    """Return the figures that are recorded, in percent."""
    return {
        "sources": {name: target["auc_mean"] for name, target in result.targets.items()},
        "auc_mean": result.auc_mean,
        "auc_ci": list(result.auc_ci),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and the JSON line."""
    parser = parser_of(__doc__)
    parser.add_argument("set", type=Path, help="one folder of images per source")
    parser.add_argument("weights", type=Path, help="fingerprint.safetensors of a run")
    parser.add_argument("--real", default="photographs", help="the source that is only a negative")
    parser.add_argument("--attack", action="append", default=[], help="e.g. jpeg:90; repeatable")
    parser.add_argument("--max-tiles", type=int, default=16, help="most tiles of an image")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        trained = read_fingerprint(options.weights)
        protocol = ProtocolOptions(real=(options.real,))
        extractor = TrainedExtractor(trained, options.max_tiles)
        results = measure(options.set, extractor, protocol, options.attack)
    except LineupError as error:
        sys.exit(f"Error: {error}")
    Console().print(table_from_attacks(results["clean"], results))
    record = trained.record
    settings = {
        "max_tiles": options.max_tiles,
        "preset": record["preset"],
        "photographs": record["photographs"],
        "seconds_of_training": record["seconds"],
        "losses_last_50_steps": record["losses_last_50_steps"],
        "tools_of_training": record["tools"],
    }
    figures = {label: figures_from_result(result) for label, result in results.items()}
    finish("trained_verification", settings, figures, record=options.record)


if __name__ == "__main__":
    main()
