"""Options that the export commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lineup.bundles.manifest import BatchRange, Precision

Command = TypeVar("Command", bound=Callable[..., Any])


class Precisions(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """One or several number formats, separated by commas."""

    name = "fp32,fp16"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Precision, ...]:
        """Return the formats in the order given, each once."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(Precision(word.strip()) for word in value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not one or several of fp32, fp16", param, ctx)


def precision_option(command: Command) -> Command:
    """Add `--precision`; the command receives `precision: tuple[Precision, ...]`."""
    return click.option(
        "--precision",
        type=Precisions(),
        default="fp32",
        show_default=True,
        help="Number format of weights and computation: fp32 for CPUs, fp16 for GPUs. With "
        "several, each gets a folder of its own inside the output.",
    )(command)


def opset_option(command: Command) -> Command:
    """Add `--opset`; the command receives `opset: int`."""
    return click.option(
        "--opset",
        type=click.IntRange(18, 20),
        default=18,
        show_default=True,
        help="ONNX operator set.",
    )(command)


class Batch(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number, or a range of numbers, from 1."""

    name = "N|LOW:HIGH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchRange:
        """Return the range; one number is both its ends."""
        if isinstance(value, BatchRange):
            return value
        words = value.split(":")
        numbers = [int(word) for word in words if word.isdecimal()]
        if len(words) > 2 or len(numbers) < len(words) or not 1 <= numbers[0] <= numbers[-1]:
            self.fail(
                f"{value!r} is neither a number from 1 nor a rising range, e.g. 1:4", param, ctx
            )
        return BatchRange(numbers[0], numbers[-1])


def batch_option(command: Command) -> Command:
    """Add `--batch`; the command receives `batch: BatchRange | None`."""
    return click.option(
        "--batch",
        type=Batch(),
        default=None,
        show_default="any number",
        help="Images (prompts, sequences) that every graph takes at a time: always N, or any "
        "number, of which `lineup build` makes LOW to HIGH its default.",
    )(command)


def exporter_option(command: Command) -> Command:
    """Add `--exporter`; the command receives `exporter: str`."""
    return click.option(
        "--exporter",
        type=click.Choice(["auto", "torch", "optimum"]),
        default="auto",
        show_default=True,
        help="What writes the graphs: for each component the better one as measured, torch's "
        "exporter, or optimum's where it can.",
    )(command)


def overwrite_option(command: Command) -> Command:
    """Add `--overwrite`; the command receives `overwrite: bool`."""
    return click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")(
        command
    )


def folder_for_precision(output: Path, precision: Precision, all_of: int) -> Path:
    """Return where bundles of a precision go: `output`, or a folder in it when it is not alone."""
    return output if all_of == 1 else output / precision.value
