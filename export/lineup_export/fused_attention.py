"""Attention as one operator of ONNX Runtime, for graphs that run on a CPU.

Written out, attention over n positions holds two matrices of n x n per head: 335 MB each for the
widest layer of SD-Turbo at 512 pixels. ONNX Runtime's own operator works through them in tiles that
stay in the processor's cache (2205.14135). Measured for that layer (4096 positions, 5 heads of 64,
one thread): 2.6 s and 705 MiB written out, 0.32 s and 50 MiB fused.

TensorRT does not know the operator, and finds written-out attention by itself; graphs in half
precision, which are for GPUs, stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lineup_export.rules import RUNTIME_DOMAIN

OPERATOR = "MultiHeadAttention"

FUSED_FROM = 512 * 512
"""Queries times keys from which attention is fused; shorter ones gain nothing."""


@contextlib.contextmanager
def fused_attention(enabled: bool = True) -> Iterator[None]:
    """Export long attentions inside the block as one operator; run by torch nothing changes."""
    if not enabled:
        yield
        return
    with _Fusing():
        yield


class _Fusing(TorchFunctionMode):
    """Puts the operator in the place of scaled dot product attention."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention and torch.compiler.is_exporting():
            operands = _operands(args, named)
            if len(args) <= len(operands) and _is_plain(named) and _is_long(*operands[:2]):
                return _fused(*operands, scale=named.get("scale"))
        return func(*args, **named)


def _operands(args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    queries, keys, values = (
        args[place] if place < len(args) else named[name]
        for place, name in enumerate(("query", "key", "value"))
    )
    return queries, keys, values


def _is_plain(named: Mapping[str, Any]) -> bool:
    """Tell whether there is neither mask nor dropout, which the operator's fast path lacks."""
    off = not any(named.get(name) for name in ("is_causal", "dropout_p", "enable_gqa"))
    return off and named.get("attn_mask") is None


def _is_long(queries: Tensor, keys: Tensor) -> bool:
    """Tell whether attention is long, or may be: a length that is free has no bound."""
    lengths = queries.shape[2], keys.shape[2]
    if any(isinstance(length, torch.SymInt) for length in lengths):
        return True
    return lengths[0] * lengths[1] >= FUSED_FROM


def _fused(queries: Tensor, keys: Tensor, values: Tensor, *, scale: float | None) -> Tensor:
    """Return (N, heads, length, D / heads) of tensors of that layout."""
    count, heads, length, dimension = queries.shape
    rows = [one.transpose(1, 2).flatten(2) for one in (queries, keys, values)]
    found = torch.onnx.ops.symbolic(
        f"{RUNTIME_DOMAIN}::{OPERATOR}",
        rows,
        attrs={"num_heads": heads, "scale": dimension**-0.5 if scale is None else float(scale)},
        dtype=queries.dtype,
        shape=(count, length, heads * values.shape[3]),
        version=1,
    )
    return found.view(count, length, heads, values.shape[3]).transpose(1, 2)
