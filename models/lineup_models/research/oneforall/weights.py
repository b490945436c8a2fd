"""The file that holds a trained fingerprint: denoiser, extractor and heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lineup_models.fingerprint.covariance import FoundAxes
from lineup_models.fingerprint.spec import SpectrumSpec, spectrum_from_dict, spectrum_to_dict
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
        spectrum: Constants of the log-spectrum.
        extractor: Sizes of the extractor.
        model: Extractor and heads, frozen.
        denoiser: Takes the content out; None where the spectrum's own filter does.
        record: Data, options, seed, tools, final losses (plain JSON values).
    """

    spectrum: SpectrumSpec
    extractor: ExtractorSpec
    model: Fingerprinter
    denoiser: Denoiser | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> FingerprintNetwork:
        """Return the graph from pixels to fingerprints, in evaluation mode."""
        spectrum = spectrum_module(self.spectrum, self.denoiser)
        return FingerprintNetwork(spectrum, self.model.extractor).eval().requires_grad_(False)


def write_fingerprint(trained: TrainedFingerprint, path: Path) -> None:
    """Write weights (fp32), sizes and record, whole or not at all."""
    header = {
        "spectrum": spectrum_to_dict(trained.spectrum),
        "extractor": {**asdict(trained.extractor), "kind": trained.extractor.kind.value},
        "denoiser": None if trained.denoiser is None else asdict(trained.denoiser.spec),
        "record": dict(trained.record),
    }
    modules = nn.ModuleDict({"model": trained.model})
    if trained.denoiser is not None:
        modules["denoiser"] = trained.denoiser
    tensors = {name: value.cpu().contiguous() for name, value in modules.state_dict().items()}
    FORMAT.write(path, header, tensors)


def read_fingerprint(path: Path) -> TrainedFingerprint:
    """Read what `write_fingerprint` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        return _built(header, tensors)


def _built(header: Mapping[str, Any], tensors: Mapping[str, Any]) -> TrainedFingerprint:
    spectrum = spectrum_from_dict(header["spectrum"])
    spec = spec_from_dict(ExtractorSpec, header["extractor"])
    axes = tensors.get("model.extractor.whitened.axes")
    blank = None if axes is None else _blank_whitening(*axes.shape)
    model = Fingerprinter(extractor_from_spec(spec, spectrum, blank, seed=0), seed=0)
    modules = nn.ModuleDict({"model": model})
    denoiser = None
    if header["denoiser"] is not None:
        denoiser = denoiser_from_spec(spec_from_dict(DenoiserSpec, header["denoiser"]), seed=0)
        modules["denoiser"] = denoiser
    modules.load_state_dict(dict(tensors))
    modules.eval().requires_grad_(False)
    return TrainedFingerprint(spectrum, spec, model, denoiser, header["record"])


def _blank_whitening(axes: int, dimension: int) -> FoundAxes:
    """Return a whitening of the right size, to be overwritten."""
    return FoundAxes(
        mean=np.zeros(dimension),
        axes=np.zeros((axes, dimension), np.float32),
        variances=np.zeros(axes),
        floor=1.0,
    )
