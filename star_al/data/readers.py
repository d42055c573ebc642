"""The rows of a table one by one, in bounded memory, with a clear error for each way to fail."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from star_al.common.files import disk_errors
from star_al.data.source import Table
from star_al.errors import DataError

BATCH_ROWS = 512
"""Rows decoded at once from columnar files."""

MAX_FIELD = 2**26
"""Longest CSV cell in characters. Without a limit, an unclosed quote would read the whole file into one cell."""


class Row(NamedTuple):
    """A row as read. ``number`` counts from 1; in text files it is the row's first line."""

    number: int
    values: dict[str, Any]


def read_rows(table: Table) -> Iterator[Row]:
    """Read the rows of a table; values are as the file's library gives them.

    A `datasets` column of class labels gives the names of the classes, None for −1.

    Raises:
        DataError: The file cannot be read, is not what its suffix says, or has no rows.
    """
    readers = {"jsonl": _json_rows, "csv": _csv_rows, "tsv": _csv_rows, "parquet": _parquet_rows}
    row = None
    for row in readers.get(table.format, _datasets_rows)(table):
        yield row
    if row is None:
        raise DataError(f"{table.name}: holds no rows.")


# -- text files ----------------------------------------------------------------------------------------


def _lines(table: Table) -> Iterator[tuple[int, str]]:
    """Numbered lines of UTF-8 text with their ends, split only at line feeds, without a byte order mark."""
    with _read_errors(table), _open(table.path) as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as exc:
                raise DataError(
                    f"{table.place(number)}: byte {exc.start + 1} is not UTF-8. "
                    "Is the file binary, or in another encoding? Save it as UTF-8."
                ) from exc
            yield number, line.removeprefix("\ufeff") if number == 1 else line


def _open(path: Path | None) -> Any:
    if path is None:
        raise ValueError("a table in a file needs a path")
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


@contextmanager
def _read_errors(table: Table) -> Iterator[None]:
    """Turn errors of reading the table's file into one line for the user."""
    with disk_errors(DataError, f"{table.name}: cannot be read", "Check the path and its permissions."):
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise DataError(f"{table.name}: damaged gzip file ({exc}).") from exc


def _json_rows(table: Table) -> Iterator[Row]:
    for number, line in _lines(table):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DataError(f"{table.place(number)}: not valid JSON ({exc}). {_json_hint(line)}") from exc
        if not isinstance(values, dict):
            raise DataError(
                f"{table.place(number)}: a JSON {type(values).__name__}, not an object. {_json_hint(line)}"
            )
        yield Row(number, values)


def _json_hint(line: str) -> str:
    whole = line.lstrip().startswith("[") or line.strip() == "{"
    what = "The file looks like one JSON document" if whole else "The file needs"
    return f"{what}; write one object a line." if whole else f"{what} one object a line."


def _csv_rows(table: Table) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(
        (line for _, line in _lines(table)), delimiter="\t" if table.format == "tsv" else ",", strict=True
    )
    try:
        header = _header(table, next(reader, []))
        start = reader.line_num + 1
        for cells in reader:
            if cells:
                yield Row(start, _record(table, start, header, cells))
            start = reader.line_num + 1
    except csv.Error as exc:
        hint = "Is a quote left open, or doubled wrongly?"
        raise DataError(f"{table.place(reader.line_num)}: not valid CSV ({exc}). {hint}") from exc


def _header(table: Table, names: list[str]) -> list[str]:
    if any("\0" in name for name in names):
        raise DataError(
            f"{table.place(1)}: the header holds NUL bytes. Is the file binary? Save it as UTF-8 text."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{table.place(1)}: the header names {twice[0]!r} twice. Rename one of the columns.")
    return names


def _record(table: Table, number: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise DataError(
            f"{table.place(number)}: {len(cells)} cells, but the header has {len(header)}. "
            "Quote cells that hold the separator."
        )
    return dict(zip(header, cells, strict=True))


# -- columnar files ------------------------------------------------------------------------------------


def _parquet_rows(table: Table) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _read_errors(table):
        try:
            with pq.ParquetFile(table.path, pre_buffer=False) as file:
                batches = (batch.to_pylist() for batch in file.iter_batches(BATCH_ROWS))
                yield from _numbered(batches)
        except (pa.ArrowException, ValueError) as exc:
            raise DataError(f"{table.name}: not a readable Parquet file ({_first_line(exc)}).") from exc


def _numbered(batches: Iterator[list[dict[str, Any]]]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for values in batch:
            number += 1
            yield Row(number, values)


def _datasets_rows(table: Table) -> Iterator[Row]:
    """Rows read through Arrow: no image or audio is decoded, and no code of the data set runs."""
    data = _load_dataset(table)
    names = {
        column: list(feature.names)
        for column, feature in (data.features or {}).items()
        if type(feature).__name__ == "ClassLabel"
    }
    batches = (batch.to_pylist() for batch in data.with_format("arrow").iter(BATCH_ROWS))
    for row in _numbered(batches):
        for column, classes in names.items():
            code = row.values[column]
            row.values[column] = None if code is None or code < 0 else classes[code]
        yield row


def _load_dataset(table: Table) -> Any:
    import datasets

    try:
        if table.path is not None:
            data = datasets.load_from_disk(str(table.path))
        else:
            data = datasets.load_dataset(table.name, table.subset, split=table.split)
    except (OSError, ValueError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as exc:
        what = (
            "cannot be read as a saved data set" if table.path else "neither a file nor a data set that loads"
        )
        raise DataError(f"{table.name}: {what} ({_first_line(exc)}).") from exc
    if not isinstance(data, dict):
        return data
    if table.split not in data:
        raise DataError(f"{table.name}: has no split {table.split!r}. It has: {', '.join(data)}.")
    return data[table.split]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
