"""The file that holds a trained fingerprint: denoiser, extractor and heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import spectrum_from_dict
from lineup_models.research.oneforall.denoiser import (
    Denoiser,
    DenoiserSpec,
    denoiser_from_spec,
    spectrum_module,
)
from lineup_models.research.oneforall.extractor import (
    ExtractorSpec,
    FingerprintNetwork,
    extractor_from_spec,
)
from lineup_models.research.oneforall.extractor_training import Fingerprinter
from lineup_models.weights_file import WeightsFormat, spec_from_dict

FORMAT = WeightsFormat(
    key="fingerprint",
    content="trained fingerprint",
    making="lineup train fingerprint --photos DIR --output DIR",
)


@dataclass(frozen=True, slots=True)
class TrainedFingerprint:
    """A trained fingerprint and how it came about.

    Attributes:
        model: Extractor and heads, frozen.
        denoiser: Takes the content out; None where the spectrum's own filter does.
        record: Data, options, seed, tools, final losses (plain JSON values).
    """

    model: Fingerprinter
    denoiser: Denoiser | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> FingerprintNetwork:
        """Return the graph from pixels to fingerprints, in evaluation mode."""
        extractor = self.model.extractor
        spectrum = spectrum_module(extractor.spectrum, self.denoiser)
        return FingerprintNetwork(spectrum, extractor).eval().requires_grad_(False)

    def modules(self) -> nn.ModuleDict:
        """Return everything that has weights, named as in the file."""
        modules = nn.ModuleDict({"model": self.model})
        if self.denoiser is not None:
            modules["denoiser"] = self.denoiser
        return modules


def write_fingerprint(trained: TrainedFingerprint, path: Path) -> None:
    """Write weights (fp32), sizes and record, whole or not at all."""
    extractor, denoiser = trained.model.extractor, trained.denoiser
    header = {
        "spectrum": asdict(extractor.spectrum),
        "extractor": asdict(extractor.spec),
        "denoiser": None if denoiser is None else asdict(denoiser.spec),
        "record": dict(trained.record),
    }
    state = trained.modules().state_dict()
    FORMAT.write(path, header, {name: value.cpu().contiguous() for name, value in state.items()})


def read_fingerprint(path: Path) -> TrainedFingerprint:
    """Read what `write_fingerprint` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        axes = tensors.get("model.extractor.whitened.axes")
        extractor = extractor_from_spec(
            spec_from_dict(ExtractorSpec, header["extractor"]),
            spectrum_from_dict(header["spectrum"]),
            None if axes is None else _blank_whitening(*axes.shape),
            seed=0,
        )
        denoiser = None
        if header["denoiser"] is not None:
            denoiser = denoiser_from_spec(spec_from_dict(DenoiserSpec, header["denoiser"]), seed=0)
        trained = TrainedFingerprint(Fingerprinter(extractor, seed=0), denoiser, header["record"])
        modules = trained.modules()
        modules.load_state_dict(tensors)
        modules.eval().requires_grad_(False)
        return trained


def _blank_whitening(axes: int, dimension: int) -> FoundAxes:
    """Return a whitening of the right size, to be overwritten."""
    return FoundAxes(
        mean=np.zeros(dimension),
        axes=np.zeros((axes, dimension), np.float32),
        variances=np.zeros(axes),
        floor=1.0,
    )
