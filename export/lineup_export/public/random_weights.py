"""Seeded random weights of any architecture, made one by one in the number format asked for.

A parameter's values depend on the seed and its name alone, so two components of the same
architecture (two candidates' autoencoders) get the same weights, and an architecture the same ones
in every format up to rounding.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

NORM_SPREAD = 0.02


def random_module(
    build: Callable[[], nn.Module], dtype: torch.dtype, seed: int, name: str
) -> nn.Module:
    """Build a module and fill it.

    Args:
        build: Makes the module; its parameters take no memory meanwhile.
        dtype: Of the parameters.
        seed: Of the weights.
        name: Enters the seed, e.g. the name of the architecture.
    """
    with _parameters_on_meta():
        module = build()
    made: dict[int, nn.Parameter] = {}
    for path, owner in module.named_modules(remove_duplicate=True):
        for key, parameter in list(owner._parameters.items()):
            if parameter is None:
                continue
            # Tied weights are one parameter under two names.
            if id(parameter) not in made:
                tensor = _drawn(parameter, owner, key, f"{name}/{path}.{key}", seed)
                made[id(parameter)] = nn.Parameter(tensor.to(dtype), requires_grad=False)
            owner._parameters[key] = made[id(parameter)]
    return module.eval()


def _drawn(parameter: nn.Parameter, owner: nn.Module, key: str, name: str, seed: int) -> Tensor:
    """Return values that keep the variance of what flows through, and move every part of it."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode(), seed))
    values = torch.randn(parameter.shape, generator=generator)
    if parameter.ndim < 2:
        is_scale = key == "weight" and not isinstance(owner, nn.Linear)
        return values.mul_(NORM_SPREAD).add_(1.0 if is_scale else 0.0)
    fan_in = parameter.numel() // parameter.shape[0]
    return values.div_(math.sqrt(fan_in))


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Let parameters that modules register take no memory; buffers are computed as ever."""
    register = nn.Module.register_parameter

    def register_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_meta  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
