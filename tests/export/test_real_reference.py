"""The real head: torch against float64, and as an output of the exported graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lineup.errors import ParityError
from lineup_export.fingerprint import graph_from_checkpoint, parity_of_graph
from lineup_export.fingerprint_reference import probe_tiles, real_llrs_reference
from lineup_models.fingerprint.checkpoint import Checkpoint
from lineup_models.fingerprint.graph import Fingerprint
from lineup_models.fingerprint.real_head import STATISTICS, RealWeights
from lineup_models.fingerprint.spec import ChannelMean

WEIGHTS = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0.25] * 4 + [0] * 4], np.float32)


def with_head(checkpoint: Checkpoint) -> tuple[Checkpoint, RealWeights]:
    random = np.random.default_rng(5)
    head = RealWeights(
        mean=random.uniform(0, 0.2, STATISTICS),
        deviation=random.uniform(0.5, 2, STATISTICS),
        weights=random.normal(0, 0.1, STATISTICS),
        bias=0.2,
    )
    spec = replace(checkpoint.spec, channel_mean=ChannelMean.RESIDUALS)
    return replace(checkpoint, spec=spec, real=head), head


def test_torch_agrees_with_the_definition_and_leaves_the_fingerprint(
    small_checkpoint: Checkpoint,
) -> None:
    checkpoint, head = with_head(small_checkpoint)
    tiles, spec = probe_tiles(checkpoint.spec.tile_size_px), checkpoint.spec
    feeds = torch.from_numpy(tiles), torch.from_numpy(WEIGHTS)

    *signals, llrs = Fingerprint(spec, checkpoint.whitening, real=head)(*feeds)
    alone = Fingerprint(spec, checkpoint.whitening)(*feeds)

    assert all(torch.equal(*pair) for pair in zip(signals, alone, strict=True))
    expected = real_llrs_reference(tiles, WEIGHTS, spec, head)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(llrs.numpy(), expected, atol=2e-5)


def test_the_graph_has_it_as_its_last_output_within_parity(
    small_checkpoint: Checkpoint,
) -> None:
    checkpoint, head = with_head(small_checkpoint)
    graph = graph_from_checkpoint(checkpoint, opset=18)

    assert [(one.name, one.shape[0]) for one in graph.outputs] == [
        ("fingerprint", "images"),
        ("strength", "images"),
        ("real", "images"),
    ]
    assert parity_of_graph(graph, checkpoint, tolerance=1e-4).samples == 11
    shifted = replace(checkpoint, real=replace(head, bias=0.21))
    with pytest.raises(ParityError):
        parity_of_graph(graph, shifted, tolerance=1e-4)
