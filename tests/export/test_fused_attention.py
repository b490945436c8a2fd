"""Attention that is one operator of ONNX Runtime computes what torch computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from lineup_export.external import WeightFiles
from lineup_export.graph import InputSpec, graph_from_module

HEADS, WIDTH = 4, 32


class Attention(nn.Module):
    """Self-attention with the layouts that diffusers uses."""

    def __init__(self, *, masked: bool = False, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(WIDTH, 3 * WIDTH)
        self.masked, self.options = masked, options

    def forward(self, states):
        count, length, _ = states.shape
        heads = [
            one.view(count, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for one in self.inner(states).chunk(3, -1)
        ]
        masked = {"attn_mask": states.new_ones(length, length) > 0} if self.masked else {}
        found = functional.scaled_dot_product_attention(*heads, **masked, **self.options)
        return found.transpose(1, 2).reshape(count, length, WIDTH)


def exported(module, length, folder, *, is_free=False, fuse=True):
    free = {0: "images"} | ({1: "length"} if is_free else {})
    states = InputSpec("states", torch.randn(2, length, WIDTH), free)
    graph = graph_from_module(
        module.eval(), [states], ["found"], opset=18, fuse_attention=fuse, files=WeightFiles(folder)
    )
    path = graph.write(folder)
    return path, [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("images", [1, 3])
def test_it_computes_what_torch_computes(tmp_path, images, scale):
    module = Attention(scale=scale)
    path, operators = exported(module, 512, tmp_path)
    assert operators.count("MultiHeadAttention") == 1
    assert "Softmax" not in operators
    states = torch.randn(images, 512, WIDTH)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"states": states.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, module(states).numpy(), atol=2e-6)


def test_a_length_that_is_free_may_be_long_and_stays_free(tmp_path):
    module = Attention()
    path, operators = exported(module, 24, tmp_path, is_free=True)
    assert operators.count("MultiHeadAttention") == 1
    session = onnxruntime.InferenceSession(path)
    for length in (7, 600):
        states = torch.randn(1, length, WIDTH)
        (found,) = session.run(None, {"states": states.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, module(states).numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("length", "options"),
    [
        (64, {}),
        (512, {"masked": True}),
        (512, {"is_causal": True}),
    ],
)
def test_short_or_masked_attention_stays_written_out(tmp_path, length, options):
    _, operators = exported(Attention(**options), length, tmp_path)
    assert "MultiHeadAttention" not in operators


def test_it_is_written_out_where_the_operator_was_not_asked_for(tmp_path):
    _, operators = exported(Attention(), 512, tmp_path, fuse=False)
    assert "MultiHeadAttention" not in operators
    assert "Softmax" in operators
