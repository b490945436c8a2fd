from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lineup_export.public.source import random_module


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 400)
        self.norm = nn.LayerNorm(400)
        self.output = nn.Linear(400, 50)
        self.output.weight = self.embedding.weight
        self.register_buffer("places", torch.arange(7))


def test_weights_depend_on_seed_and_name_alone() -> None:
    first = random_module(Tied, torch.float32, 0, "a").state_dict()
    torch.manual_seed(5)
    again = random_module(Tied, torch.float32, 0, "a").state_dict()
    others = [random_module(Tied, torch.float32, *key).state_dict() for key in ((1, "a"), (0, "b"))]

    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in others:
        assert not torch.equal(first["norm.weight"], other["norm.weight"])


def test_half_weights_are_the_single_ones_rounded() -> None:
    wide = random_module(Tied, torch.float32, 0, "a").state_dict()
    narrow = random_module(Tied, torch.float16, 0, "a").state_dict()

    assert narrow["output.bias"].dtype == torch.float16
    torch.testing.assert_close(narrow["output.bias"], wide["output.bias"].half())


def test_tied_weights_stay_tied_and_buffers_stay_what_they_are() -> None:
    module = random_module(Tied, torch.float16, 0, "a")

    assert module.output.weight is module.embedding.weight
    assert module.places.tolist() == list(range(7))
    assert not any(parameter.is_meta for parameter in module.parameters())


def test_products_keep_the_variance_of_their_input() -> None:
    module = random_module(lambda: nn.Linear(4000, 1000), torch.float32, 0, "a")

    found = module(torch.randn(20, 4000))
    assert float(found.detach().var()) == pytest.approx(1, rel=0.1)
    assert float(module.weight.std()) == pytest.approx(1 / math.sqrt(4000), rel=0.02)


def test_modules_built_afterwards_are_real_again() -> None:
    random_module(Tied, torch.float32, 0, "a")

    assert not nn.Linear(2, 2).weight.is_meta
