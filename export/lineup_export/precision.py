"""Half precision with named islands that stay in single precision.

A graph's inputs and outputs are float32 in every precision; inside, weights and computation are
half, except for the islands. The casts stand in the module, so they are in the graph: no backend
needs a switch, and strongly typed TensorRT networks do as they are told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree


class Island(str, Enum):
    """A part of a half-precision model that computes in single precision.

    NORMS: mean and variance overflow or lose their small terms in half; CPUs accumulate them in
        single whatever the graph says, so no check on a CPU can show the need: always on.
    ATTENTION: scores and their softmax; the Stable Diffusion 2.1 family exceeds 65504 in them.
    EVERYTHING: only the weights are half, as the SDXL VAE needs it.
    """

    NORMS = "norms"
    ATTENTION = "attention"
    EVERYTHING = "everything"


Islands = frozenset[Island]

LADDER: tuple[Islands, ...] = (
    frozenset({Island.NORMS}),
    frozenset({Island.NORMS, Island.ATTENTION}),
    frozenset({Island.EVERYTHING}),
)
"""From fast to safe; the first rung that reaches parity is taken."""

_FUNCTIONS: Mapping[Island, tuple[Callable[..., Any], ...]] = {
    Island.NORMS: (
        functional.batch_norm,
        functional.group_norm,
        functional.instance_norm,
        functional.layer_norm,
        functional.normalize,
        functional.rms_norm,
    ),
    Island.ATTENTION: (
        functional.scaled_dot_product_attention,
        functional.softmax,
        torch.softmax,
        Tensor.softmax,
    ),
}


_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        functional.conv1d,
        functional.conv2d,
        functional.conv3d,
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.linear,
        torch.conv1d,
        torch.conv2d,
        torch.conv_transpose2d,
    }
)
"""Functions of an input and a weight."""


_JOINS = frozenset({torch.cat, torch.concat, torch.stack})
"""Functions that promote their inputs to the widest; a graph needs them of one format."""


class MixedPrecision(TorchFunctionMode):
    """Computes the functions of islands in single precision, and returns half.

    A product takes its input in the format of its weights: float32 (what a buffer or the sine of a
    timestep led to) becomes half, and half becomes float32 where weights were widened.

    Args:
        functions: Those of `torch.nn.functional` and `torch` to widen.
        narrows_joins: Join half and float32 to half; torch itself would join them to float32.
    """

    def __init__(
        self, functions: Iterable[Callable[..., Any]], *, narrows_joins: bool = True
    ) -> None:
        super().__init__()
        self._functions = frozenset(functions)
        self._joins = _JOINS if narrows_joins else frozenset()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, widened when it is an island's and was given half tensors."""
        named = dict(kwargs or {})
        if func in _PRODUCTS and len(args) > 1 and args[0].dtype != args[1].dtype:
            return func(args[0].to(args[1].dtype), *args[1:], **named)
        if func not in self._functions and func not in self._joins:
            return func(*args, **named)
        leaves = pytree.tree_leaves((args, named))
        if not any(isinstance(leaf, Tensor) and leaf.dtype == torch.float16 for leaf in leaves):
            return func(*args, **named)
        if func in self._joins:
            args, named = _cast((args, named), torch.float32, torch.float16)
            return func(*args, **named)
        args, named = _cast((args, named), torch.float16, torch.float32)
        return _cast(func(*args, **named), torch.float32, torch.float16)


def products_as_on_a_gpu() -> MixedPrecision:
    """Return a context in which products of half tensors are summed in single precision.

    That is how a GPU does it, rounding to half at the end; and on a CPU without half arithmetic a
    convolution is 60 times faster that way (one thread: 0.05 s for 2.95 s).
    """
    return MixedPrecision(_PRODUCTS, narrows_joins=False)


class HalfPrecision(nn.Module):
    """A module in half precision whose inputs and outputs stay float32.

    Args:
        module: Its parameters are made half in place, one at a time. Buffers (frequencies,
            statistics of batches) are small and stay as they are.
        islands: What computes in single precision all the same.
    """

    def __init__(self, module: nn.Module, islands: Islands) -> None:
        super().__init__()
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(torch.float16)
        self.module = module
        self._everything = Island.EVERYTHING in islands
        self._functions = tuple(
            function for island in sorted(islands) for function in _FUNCTIONS.get(island, ())
        )

    def forward(self, *inputs: Tensor) -> Any:
        """Run the module on inputs cast to half; return its outputs cast to float32."""
        if self._everything:
            with widened_parameters(self.module):
                return self.module(*inputs)
        # A timestep is a number whose sine is taken, and half has no 999.5: vectors stay wide.
        narrow = [
            _cast(item, torch.float32, torch.float16) if item.ndim > 1 else item for item in inputs
        ]
        with MixedPrecision(self._functions):
            outputs = self.module(*narrow)
        return _cast(outputs, torch.float16, torch.float32)


@contextlib.contextmanager
def widened_parameters(module: nn.Module) -> Iterator[None]:
    """Let every submodule compute with float32 copies of its half parameters, one at a time.

    A module that owns parameters gets wide copies when it is called and loses them when it
    returns, so the extra memory is that of one layer, not of the model.
    """
    handles = []
    kept: dict[nn.Module, list[tuple[dict[str, Any], str, Tensor]]] = {}

    def widen(owner: Any, _: Any) -> None:
        kept[owner] = [
            (holder, name, value)
            for holder in (owner._parameters, owner._buffers)
            for name, value in holder.items()
            if value is not None and value.dtype == torch.float16
        ]
        for holder, name, value in kept[owner]:
            holder[name] = value.to(torch.float32)

    def restore(owner: nn.Module, *_: Any) -> None:
        for holder, name, value in kept.pop(owner, ()):
            holder[name] = value

    try:
        for owner in module.modules():
            if owner._parameters or owner._buffers:
                handles.append(owner.register_forward_pre_hook(widen))
                handles.append(owner.register_forward_hook(restore, always_call=True))
        # Some modules cast their input to the format that their weights have at rest.
        with MixedPrecision(_FUNCTIONS[Island.NORMS], narrows_joins=False):
            yield
    finally:
        for handle in handles:
            handle.remove()
        for owner in list(kept):
            restore(owner)


def _cast(values: Any, source: torch.dtype, target: torch.dtype) -> Any:
    """Cast every tensor of one dtype inside a nest of tuples and dicts."""

    def one(value: Any) -> Any:
        is_meant = isinstance(value, Tensor) and value.dtype == source
        return value.to(target) if is_meant else value

    return pytree.tree_map(one, values)
