from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lineup_export.precision import (
    HalfPrecision,
    Island,
    MixedPrecision,
    products_as_on_a_gpu,
    widened_parameters,
)


class Scores(nn.Module):
    """Attention whose scores are up to about 100 000: beyond what half can hold."""

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return torch.softmax(queries @ keys.transpose(1, 2), dim=-1)


class Attention(nn.Module):
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(queries, keys, keys, scale=1.0)


class Layers(nn.Module):
    """A product, a norm and a buffer that half would round to infinity."""

    wide: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.register_buffer("wide", torch.tensor(1e6))

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        angles = (time * self.wide / 1e6).sin()
        return self.norm(self.linear(features) + self.linear(angles[:, None].expand(-1, 8)))


def test_inputs_and_outputs_stay_float32_and_weights_become_half() -> None:
    half = HalfPrecision(Layers(), frozenset({Island.NORMS}))

    found = half(torch.ones(2, 8), torch.tensor([1.0, 999.5]))

    assert found.dtype == torch.float32
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    assert half.module.wide.dtype == torch.float32


def test_vectors_are_not_narrowed_because_timesteps_are_not_whole() -> None:
    module = Layers()
    expected = module(torch.ones(2, 8), torch.tensor([1.0, 999.5]))

    found = HalfPrecision(module, frozenset())(torch.ones(2, 8), torch.tensor([1.0, 999.5]))

    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


class Joined(nn.Module):
    """What SDXL does with its pooled text and the sines of its sizes."""

    def forward(self, pooled: Tensor, sizes: Tensor) -> Tensor:
        return torch.concat([pooled, sizes.float().sin()], dim=-1)


def test_what_is_joined_is_of_one_format() -> None:
    joined = MixedPrecision(())
    with joined:
        found = Joined()(torch.ones(2, 3).half(), torch.ones(2, 4))

    assert found.dtype == torch.float16
    assert found.shape == (2, 7)


def test_scores_overflow_in_half_and_not_in_their_island() -> None:
    queries = torch.full((1, 4, 64), 60.0)
    keys = torch.arange(4.0)[None, :, None].expand(1, 4, 64) + 30
    expected = F.scaled_dot_product_attention(queries, keys, keys, scale=1.0)

    narrow = HalfPrecision(Scores(), frozenset())(queries, keys)
    island = HalfPrecision(Attention(), frozenset({Island.ATTENTION}))(queries, keys)

    assert not narrow.isfinite().all()
    torch.testing.assert_close(island, expected, atol=0.05, rtol=0)


def test_everything_in_single_precision_leaves_only_the_weights_half() -> None:
    module = Layers()
    half = HalfPrecision(module, frozenset({Island.EVERYTHING}))
    features, time = torch.randn(2, 8), torch.tensor([0.0, 3.0])
    wide = Layers()
    wide.load_state_dict(half.module.state_dict())

    torch.testing.assert_close(half(features, time), wide(features, time))
    assert half.module.linear.weight.dtype == torch.float16


@pytest.mark.parametrize("fails", [False, True])
def test_widened_parameters_are_half_again_afterwards(fails: bool) -> None:
    module = nn.Sequential(nn.Linear(3, 4).half(), nn.Linear(4, 2).half())
    seen: list[torch.dtype] = []
    module[1].register_forward_pre_hook(lambda *_: seen.append(module[0].weight.dtype))

    with widened_parameters(module):
        if fails:
            with pytest.raises(RuntimeError):
                module(torch.zeros(1, 7))
        else:
            assert module(torch.zeros(1, 3)).dtype == torch.float32
            # Only the layer at work is wide.
            assert seen == [torch.float16]

    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}


def test_products_are_summed_in_single_precision_and_rounded_once() -> None:
    layer = nn.Linear(4096, 8, bias=False).requires_grad_(False)
    states = torch.rand(3, 4096)
    layer.weight.fill_(1.0)
    exact = torch.nn.functional.linear(states.half().float(), layer.weight)

    with products_as_on_a_gpu():
        found = HalfPrecision(layer, frozenset())(states)

    # Sums of 2048 and more are 2 apart in half: summed in half, most of the addends would be lost.
    torch.testing.assert_close(found, exact.half().float(), rtol=0, atol=0)
