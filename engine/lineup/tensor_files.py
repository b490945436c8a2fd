"""Files of tensors with a document among their metadata: galleries of one file, classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as bytes_from_tensors

from lineup.documents import DocumentFormat
from lineup.types import AnyArray

TENSOR_ERRORS = (SafetensorError, OSError, ValueError, KeyError, TypeError, OverflowError)
"""What safetensors and NumPy raise on a malformed file."""

Document = TypeVar("Document")


@dataclass(frozen=True, slots=True)
class TensorFileFormat(Generic[Document]):
    """A kind of .safetensors file.

    Attributes:
        noun: What it is, e.g. "a gallery".
        header: What its header holds.
        header_key: Key of the header among the metadata.
    """

    noun: str
    header: DocumentFormat[Document]
    header_key: str

    def read(
        self, path: Path, *, with_tensors: bool = True
    ) -> tuple[Document, dict[str, AnyArray]]:
        """Return header and tensors of a file; no tensors where none are wanted.

        Raises:
            LineupError: The header's `error`: not such a file, written by a newer lineup, damaged.
        """
        error, hint = self.header.error, self.header.hint
        if not path.is_file():
            raise error(f"{path} is not a file", hint=hint)
        try:
            with safe_open(path, framework="numpy") as opened:
                metadata = opened.metadata() or {}
                keys = opened.keys() if with_tensors else ()
                tensors: dict[str, AnyArray] = {key: opened.get_tensor(key) for key in keys}
        except TENSOR_ERRORS as problem:
            raise error(
                f"{path} is not a valid safetensors file: {problem}", hint=hint
            ) from problem
        if self.header_key not in metadata:
            raise error(
                f"{path} is not {self.noun}: its metadata lacks {self.header_key!r}", hint=hint
            )
        text = metadata[self.header_key]
        return self.header.from_bytes(text, where=f"{path}: {self.header_key}"), tensors

    def write(self, path: Path, header: Document, tensors: Mapping[str, AnyArray]) -> None:
        """Write a file; an old one is replaced in one step.

        Raises:
            LineupError: The header's `error`: the file cannot be written.
        """
        metadata = {self.header_key: self.header.to_bytes(header, indent=None).decode()}
        self.header.write_bytes(path, bytes_from_tensors(dict(tensors), metadata=metadata))
