from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from lineup_models.simulator.cells import MoKConv


def test_is_the_weighted_sum_of_its_kernels() -> None:
    """Equation 4: a coefficient per kernel and output filter, one mixture per image."""
    torch.manual_seed(0)
    convolution = MoKConv(5, 6, kernels=3, descriptor=4)
    features = torch.randn(4, 5, 7, 9)
    w = convolution.coefficients(features)
    assert w.shape == (4, 3, 6)
    each = torch.stack([F.conv2d(features, kernel, padding=1) for kernel in convolution.kernels])
    expected = torch.einsum("nko,knohw->nohw", w, each) + convolution.bias[:, None, None]
    assert torch.allclose(convolution(features), expected, atol=1e-5)


def test_coefficients_are_a_projection_of_a_descriptor_of_the_input() -> None:
    torch.manual_seed(0)
    convolution = MoKConv(5, 6, kernels=3, descriptor=4)
    features = torch.randn(2, 5, 7, 9)
    moved = torch.roll(features, 3, dims=3)
    assert torch.allclose(convolution.coefficients(moved), convolution.coefficients(features))
    brighter = convolution.coefficients(features + 1.0)
    assert not torch.allclose(brighter, convolution.coefficients(features))


def test_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    convolution = MoKConv(5, 6)
    features = torch.randn(3, 5, 8, 8)
    together, alone = convolution(features)[1:2], convolution(features[1:2])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_gradient_reaches_every_part() -> None:
    torch.manual_seed(0)
    convolution = MoKConv(5, 6)
    convolution(torch.randn(2, 5, 8, 8)).square().sum().backward()
    for name, parameter in convolution.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert (convolution.kernels.grad.flatten(1).abs().sum(1) > 0).all()
