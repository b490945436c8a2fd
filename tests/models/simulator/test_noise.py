from __future__ import annotations

import numpy as np
import torch
from simulated_ids import architecture_from_id, identity_from_id

from lineup_models.simulator.identity import SimulatedModel
from lineup_models.simulator.network import (
    NOISELESS,
    STRENGTH_RANGE,
    FeatureNoise,
    Simulator,
    noise_of_image,
    noise_strength_from_seed,
)

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)


def test_strength_halves_with_every_coarser_level() -> None:
    features = torch.zeros(1, 8, 64, 64)
    for level, expected in ((1, 0.4), (2, 0.2), (3, 0.1)):
        spread = FeatureNoise(0.4, seed=0).added_to(features, level).std()
        assert abs(float(spread) - expected) < 0.01 * expected + 0.005


def test_noise_is_fixed_by_generator_and_pixels() -> None:
    features = torch.zeros(1, 2, 8, 8)

    def drawn(index: int, seed: int) -> torch.Tensor:
        return noise_of_image(PIXELS[index], 0.5, seed).added_to(features, 1)

    assert torch.equal(drawn(0, 3), drawn(0, 3))
    assert not torch.equal(drawn(0, 3), drawn(1, 3))
    assert not torch.equal(drawn(0, 3), drawn(0, 4))


def test_strengths_of_generators() -> None:
    strengths = np.array([noise_strength_from_seed(seed) for seed in range(1000)])
    assert strengths[5] == noise_strength_from_seed(5)
    noisy = strengths[strengths > 0]
    assert abs(1 - len(noisy) / 1000 - NOISELESS) < 0.05
    assert STRENGTH_RANGE[0] <= noisy.min() < noisy.max() <= STRENGTH_RANGE[1]


def test_decoders_turn_noise_into_texture(toy_simulator: Simulator) -> None:
    image, architecture = torch.full((1, 3, 64, 64), 0.5), architecture_from_id("1-ne2.cangg")
    plain = toy_simulator(image, architecture)
    noisy = toy_simulator(image, architecture, noise=FeatureNoise(0.5, seed=0))
    inside = (slice(None), slice(None), slice(16, 48), slice(16, 48))
    assert noisy[inside].std() > 1.5 * plain[inside].std()


def test_only_textured_generators_add_noise(toy_simulator: Simulator) -> None:
    seed = next(seed for seed in range(20) if noise_strength_from_seed(seed) > 0.1)
    identity = identity_from_id(f"toy/{seed}/1-ne2.cangg")
    textured, plain = (
        SimulatedModel(
            {"toy": toy_simulator}, identity, strength=0.1, textured=flag, calibration=PIXELS
        ).reconstructions(PIXELS)
        for flag in (True, False)
    )
    assert not np.array_equal(textured, plain)
