"""The rows of a table one by one, in bounded memory, with a clear error for each way to fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from star_al.data.json_rows import json_rows
from star_al.data.limits import LARGE, MAX_RATIO, expands, within_limits
from star_al.data.rows import Row
from star_al.data.source import Table
from star_al.data.table_rows import delimited_rows, excel_rows
from star_al.data.text_files import read_errors
from star_al.errors import DataError

BATCH_ROWS = 512
"""Rows decoded at once from columnar files."""

BATCH_BYTES = 2**28
"""Bytes of columnar data that a batch may take if every cell is as long as it could be."""


def read_rows(table: Table) -> Iterator[Row]:
    """Read the rows of a table; values are as the file's library gives them.

    A `datasets` column of class labels gives the names of the classes, None for −1.

    Raises:
        DataError: The file cannot be read, is not what its suffix says, holds more than can be read, or has no
            rows.
    """
    row = None
    try:
        for row in within_limits(_READERS.get(table.format, _datasets_rows)(table), table):
            yield row
    except MemoryError as exc:
        raise DataError(f"{table.name}: needs more memory than there is. Split the file.") from exc
    if row is None:
        raise DataError(f"{table.name}: holds no rows.")


# -- columnar files ------------------------------------------------------------------------------------


def _parquet_rows(table: Table) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with read_errors(table):
        try:
            with pq.ParquetFile(table.path, pre_buffer=False) as file:
                batches = (
                    batch.to_pylist() for batch in file.iter_batches(_batch_rows(table, file.metadata))
                )
                yield from _numbered(batches)
        except (pa.ArrowException, ValueError) as exc:
            raise DataError(f"{table.name}: not a readable Parquet file ({_first_line(exc)}).") from exc


def _batch_rows(table: Table, metadata: Any) -> int:
    """Rows to decode at once: fewer if cells may be long, as a few bytes can stand for many long cells.

    Raises:
        DataError: A column expands too much.
    """
    longest = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(n) for n in range(group.num_columns)]
        longest = max(longest, sum(column.total_uncompressed_size for column in columns))
        for column in columns:
            if column.total_uncompressed_size > max(LARGE // 16, MAX_RATIO * column.total_compressed_size):
                raise DataError(f"{table.name}: {expands(column.total_compressed_size)}")
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, longest)))


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


_READERS = {
    "jsonl": json_rows,
    "json": json_rows,
    "csv": delimited_rows,
    "tsv": delimited_rows,
    "xlsx": excel_rows,
    "parquet": _parquet_rows,
}
"""Readers of files by kind; everything else is read by `datasets`."""
