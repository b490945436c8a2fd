"""Rows as Arrow tables: the same keys, typed, in Parquet files and between the machines of Ray.

Names of sources and evidence are keys of maps, so one schema holds for every gallery and question.
What has no fixed shape, `origin` and `resynthesis`, is JSON text. Arrow's text is UTF-8: bytes of a
path that are not become the text of their escape, as in CSV.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lineup.results import STAGES

if TYPE_CHECKING:
    import pyarrow

JSON_COLUMNS = ("origin", "resynthesis")


@cache
def row_schema() -> pyarrow.Schema:
    """Return the schema of rows; its fields are the keys of a row, in order."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    text, number = pa.string(), pa.float64()
    texts, numbers = pa.list_(text), pa.map_(text, number)
    evidence = {
        "scores": numbers,
        "llr": numbers,
        "samples": pa.map_(text, pa.list_(number)),
        "channel": text,
        "nearest": texts,
        "in_words": text,
        "cost_ms": number,
        "notes": texts,
    }
    fields = {
        "path": text,
        "sha256": text,
        "bytes": pa.int64(),
        "format": text,
        "width": pa.int32(),
        "height": pa.int32(),
        "verdict": text,
        "confidence": number,
        "posterior": numbers,
        "evidence": pa.map_(text, pa.struct(list(evidence.items()))),
        "family": texts,
        "candidates_set": texts,
        "caption": text,
        "verdict_notes": texts,
        "origin": text,
        "ms": pa.struct([(stage, number) for stage in STAGES]),
        "resynthesis": text,
        "notes": texts,
        "error": pa.struct([("type", text), ("message", text)]),
        "lineup": text,
        "run": text,
    }
    return pa.schema(list(fields.items()))


def table_from_records(records: Sequence[Mapping[str, Any]]) -> pyarrow.Table:
    """Return rows (`Attribution.to_dict`) as a table of `row_schema`."""
    import pyarrow as pa  # noqa: PLC0415

    rows = [{**one, **{name: _json_text(one[name]) for name in JSON_COLUMNS}} for one in records]
    try:
        return pa.Table.from_pylist(rows, schema=row_schema())
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_as_utf8(row) for row in rows], schema=row_schema())


def records_from_table(table: pyarrow.Table | pyarrow.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of `row_schema` as dictionaries; see `table_from_records`."""
    for row in table.to_pylist(maps_as_pydicts="strict"):
        texts = {name: row[name] for name in JSON_COLUMNS if row[name] is not None}
        yield {**row, **{name: json.loads(text) for name, text in texts.items()}}


def _json_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)


def _as_utf8(value: Any) -> Any:
    """Return a JSON value in whose texts lone surrogates are written as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_as_utf8(key): _as_utf8(one) for key, one in value.items()}
    return [_as_utf8(one) for one in value] if isinstance(value, list) else value
