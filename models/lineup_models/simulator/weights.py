"""The file that holds a trained simulator."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lineup_models.simulator.network import Simulator, SimulatorSpec
from lineup_models.simulator.space import SPACES
from lineup_models.weights_file import WeightsFormat

FORMAT = WeightsFormat(
    key="simulator",
    content="trained simulator",
    making="python -m lineup_models.simulator train --photos DIR --output DIR",
)


@dataclass(frozen=True, slots=True)
class TrainedSimulator:
    """A simulator and how it came about.

    Attributes:
        simulator: In evaluation mode.
        record: Data, options, seed, tools, final losses (plain JSON values).
    """

    simulator: Simulator
    record: Mapping[str, Any] = field(default_factory=dict)


def write_simulator(trained: TrainedSimulator, path: Path) -> None:
    """Write the weights (fp32) with search space, sizes and record, whole or not at all."""
    simulator = trained.simulator
    header = {
        "space": simulator.space.name,
        "spec": asdict(simulator.spec),
        "record": dict(trained.record),
    }
    tensors = {name: value.contiguous() for name, value in simulator.state_dict().items()}
    FORMAT.write(path, header, tensors)


def read_simulator(path: Path) -> TrainedSimulator:
    """Read what `write_simulator` wrote.

    Raises:
        BundleNotFoundError: There is no such file.
        BundleFormatError: It holds something else.
    """
    with FORMAT.reading(path) as (header, tensors):
        spec = SimulatorSpec(**{name: _as_tuple(value) for name, value in header["spec"].items()})
        # The weights it starts with are drawn; the caller's random state is not ours to move.
        with torch.random.fork_rng(devices=[]):
            simulator = Simulator(SPACES[header["space"]], spec)
        simulator.load_state_dict(tensors)
        return TrainedSimulator(simulator.eval().requires_grad_(False), header["record"])


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def perturbed_simulator(simulator: Simulator, seed: int, strength: float) -> Simulator:
    """Return a frozen copy whose decoder weights are moved at random.

    Two trainings of one generator share the architecture and differ in the weights, and so do
    their fingerprints. Noise in proportion to each tensor's own spread gives such siblings at no
    cost; the encoder stays, since it is no part of a generator.

    Args:
        simulator: Not changed.
        seed: Of the noise; the same on every platform that draws torch's CPU normals alike.
        strength: Standard deviation of the noise over that of the tensor.
    """
    copy = deepcopy(simulator)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            if name.startswith("encoder.") or parameter.ndim < 2:
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=strength * parameter.std(correction=0).item())
    return copy.eval().requires_grad_(False)
