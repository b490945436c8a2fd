"""Where a graph that fails its parity check first differs: named, so that it can be mended.

Two comparisons, node by node on the program that torch traced:

- in half precision, torch runs every operation twice in lockstep, once as traced and once with
  everything widened to single precision; the first operation whose results part is the one;
- a graph in ONNX Runtime is bisected: some values in between become outputs, are compared with
  torch's, and the search goes on between the last that agrees and the first that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from lineup.errors import ParityError
from lineup.types import AnyArray
from lineup_export.parity import max_relative_error, outputs_from_file

PROBES = 16
"""Values looked at in one run: few, because a large model's values in between are large too."""

_WRAPPERS = ("module", "model")
"""Attributes by which our own modules hold those of a library."""

_PRODUCTS = frozenset({"conv1d", "conv2d", "convolution", "linear"})
"""Operations that take a CPU without half arithmetic 60 times as long in half."""

FUSED_NAMESPACE = "onnx_symbolic"
"""Of what stands for an operator of ONNX Runtime in a program; there is one: attention."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first node whose value is not what it should be.

    Attributes:
        node: Name of its value, as torch traced it.
        operator: What it computes, e.g. "MatMul" or "aten.softmax.int".
        module: Path of the module that it belongs to; "" where it is the model itself.
        error: max |difference| / max |reference| of its value.
    """

    node: str
    operator: str
    module: str
    error: float

    def __str__(self) -> str:
        place = f" in {self.module}" if self.module else ""
        return f"{self.operator} {self.node!r}{place} differs first, by {self.error:.3g}"


def explained(error: ParityError, found: Divergence | None) -> ParityError:
    """Return the error with the node that differs first."""
    detail = (
        f" {found}."
        if found is not None
        else " No value in between differs: an optimisation across nodes, or the last node, is at "
        "fault."
    )
    return ParityError(error.message + detail, hint=error.hint)


def half_divergence(
    program: torch.export.ExportedProgram, sample: Sequence[Tensor], tolerance: float
) -> Divergence | None:
    """Return the first operation of a half-precision program that differs from single precision."""
    try:
        _Lockstep(program.module(), tolerance).run(*sample)
    except _Found as found:
        return found.divergence
    return None


def graph_divergence(
    path: Path,
    program: torch.export.ExportedProgram,
    sample: Mapping[str, Tensor],
    tolerance: float,
) -> Divergence | None:
    """Return the first node of an ONNX graph that differs from the program it was made from.

    Its values are called as the program's. The folder of `path` is written to; `sample` has the
    inputs in order.
    """
    model = onnx.load(str(path), load_external_data=False)
    traced = program.module()
    modules = {node.name: _module_path(node) for node in traced.graph.nodes}
    makers = {name: node for node in model.graph.node for name in node.output}
    outputs = {value.name for value in model.graph.output}
    # What the program has too, in the order of computation.
    candidates = [name for name in makers if name in modules and name not in outputs]
    errors: dict[str, float] = {}

    def first_bad(names: Sequence[str]) -> int | None:
        fresh = [name for name in names if name not in errors]
        if fresh:
            recorder = _Recorder(traced, frozenset(fresh))
            with torch.no_grad():
                recorder.run(*sample.values())
            found = _values_from_graph(path, model, sample, fresh)
            errors.update({name: _error(found[name], recorder.values[name]) for name in fresh})
        return next((i for i, name in enumerate(names) if errors[name] > tolerance), None)

    culprit: str | None = None
    while (bad := _bisected(candidates, first_bad)) is not None:
        culprit = candidates[bad]
        # It may stand beside others that agree: the search goes on along its own inputs.
        above = _ancestors(makers, culprit)
        candidates = [name for name in candidates if name in above]
    if culprit is None:
        return None
    return Divergence(culprit, makers[culprit].op_type, modules[culprit], errors[culprit])


def _bisected(names: Sequence[str], first_bad: Callable[[Sequence[str]], int | None]) -> int | None:
    """Return the place of the first value that differs, if those before it agree."""
    low, high, bad = 0, len(names), None
    while low < high:
        count = min(PROBES, high - low)
        # Evenly spaced, the last among them.
        probes = sorted({int(at) for at in np.linspace(low, high - 1, count)} | {high - 1})
        index = first_bad([names[probe] for probe in probes])
        if index is None:
            break
        bad = probes[index]
        low, high = (probes[index - 1] + 1 if index else low), bad
    return bad


def _ancestors(makers: Mapping[str, NodeProto], name: str) -> set[str]:
    """Return what a value is computed from."""
    seen: set[str] = set()
    waiting = [*makers[name].input]
    while waiting:
        one = waiting.pop()
        if one in makers and one not in seen:
            seen.add(one)
            waiting.extend(makers[one].input)
    return seen


def _values_from_graph(
    path: Path, model: ModelProto, sample: Mapping[str, Tensor], names: Sequence[str]
) -> Mapping[str, AnyArray]:
    """Run a graph in ONNX Runtime with values in between as its only outputs."""
    probed = ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    target = path.with_name("probed.onnx")
    target.write_bytes(probed.SerializeToString())
    feeds = {name: value.numpy() for name, value in sample.items()}
    return outputs_from_file(target, [feeds])[0]


class _Recorder(fx.Interpreter):
    """Runs a program and keeps the values asked for; others go as soon as they may."""

    def __init__(self, traced: fx.GraphModule, names: frozenset[str]) -> None:
        super().__init__(traced)
        self._names = names
        self.values: dict[str, AnyArray] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        is_fused = getattr(n.target, "namespace", "") == FUSED_NAMESPACE
        value = self._attention(n) if is_fused else super().run_node(n)
        if n.name in self._names:
            self.values[n.name] = value.detach().numpy()
        return value

    def _attention(self, n: fx.Node) -> Tensor:
        """Compute what ONNX Runtime's operator computes; torch itself gives zeros for it."""
        args, named = self.fetch_args_kwargs_from_env(n)
        schema = [argument.name for argument in cast("Any", n.target)._schema.arguments]
        given = {**dict(zip(schema, args, strict=False)), **named}
        (heads,), (scale,) = given["attr_ints"], given["attr_floats"]
        q, k, v = (row.unflatten(2, (heads, -1)).transpose(1, 2) for row in given["inputs"])
        attended = functional.scaled_dot_product_attention(q, k, v, scale=scale)
        return attended.transpose(1, 2).flatten(2)


class _Found(Exception):  # noqa: N818 - ends a run early, no error
    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


@dataclass(frozen=True, slots=True)
class _Pair:
    """One value of a program as traced, and with everything before it in single precision."""

    narrow: Any
    wide: Any


class _Lockstep(fx.Interpreter):
    """Runs a program twice at once, and stops at the first operation whose results part."""

    def __init__(self, traced: nn.Module, tolerance: float) -> None:
        assert isinstance(traced, fx.GraphModule)
        super().__init__(traced)
        self._tolerance = tolerance

    def run_node(self, n: fx.Node) -> Any:
        """Run one node in both formats."""
        if n.op == "call_module":
            return None  # torch's check of its inputs' shapes
        if n.op != "call_function":
            value = super().run_node(n)
            # Parameters are widened when they are used: all at once would double the model.
            return value if n.op == "output" else _Pair(value, value)
        with torch.no_grad():
            call = self.fetch_args_kwargs_from_env(n)
            args, named = pytree.tree_map(_narrow, call)
            wide_args, wide_named = pytree.tree_map(_wide, call)
            operation = cast("Callable[..., Any]", n.target)
            wide = operation(*wide_args, **wide_named)
            is_product = getattr(n.target, "__name__", "").partition(".")[0] in _PRODUCTS
            if is_product and args[0].dtype == torch.float16:
                # Summed in single precision and rounded at the end, as a GPU does.
                args, named = pytree.tree_map(_wide, (args, named))
                pair = _Pair(operation(*args, **named).to(torch.float16), wide)
            else:
                pair = _Pair(operation(*args, **named), wide)
        leaves = zip(pytree.tree_leaves(pair.narrow), pytree.tree_leaves(pair.wide), strict=True)
        for narrow, wide in leaves:
            if isinstance(narrow, Tensor) and narrow.is_floating_point():
                error = _error(narrow.to(torch.float32).numpy(), wide.numpy())
                if error > self._tolerance:
                    raise _Found(Divergence(n.name, str(n.target), _module_path(n), error))
        return pair


def _narrow(value: Any) -> Any:
    return value.narrow if isinstance(value, _Pair) else value


def _wide(value: Any) -> Any:
    if value is torch.float16:
        return torch.float32
    wide = value.wide if isinstance(value, _Pair) else value
    is_half = isinstance(wide, Tensor) and wide.dtype == torch.float16
    return wide.to(torch.float32) if is_half else wide


def _error(value: AnyArray, reference: AnyArray) -> float:
    """Return the largest relative error; infinities that masks are made of may agree."""
    if value.shape != reference.shape:
        return float("inf")
    value, reference = value.astype(np.float64), reference.astype(np.float64)
    differs = (value != reference) & ~(np.isnan(value) & np.isnan(reference))
    if not differs.any():
        return 0.0
    finite = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    pair = value[differs], reference[differs]
    # The largest element is the scale, whether it is among those that differ or not.
    return max_relative_error(np.append(pair[0], finite), np.append(pair[1], finite))


def _module_path(node: fx.Node) -> str:
    """Return the path of the module that a node belongs to, without our own wrappers."""
    stack = node.meta.get("nn_module_stack") or {}
    names = str(list(stack.values())[-1][0]).split(".") if stack else []
    while names and names[0] in _WRAPPERS:
        names.pop(0)
    return ".".join(names)
