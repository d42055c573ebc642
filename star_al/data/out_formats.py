"""Rows → JSON lines, CSV or Parquet, in bounded memory, whole or not at all."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from star_al.common.files import aside, disk_errors, replacing
from star_al.common.paging import pages
from star_al.data.out_files import writable_target
from star_al.errors import DataError, StoreError
from star_al.types import JsonObject, JsonValue

PARQUET_ROWS = 5_000
"""Rows per row group of a Parquet file."""

LONGEST_CELL = 2**31 - 1
"""Characters of a cell in a file that we wrote."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV injection")."""

_PLAIN = {str, int, float, type(None)}
"""Types that the csv module writes as they should be."""


@dataclass(frozen=True, slots=True)
class OutOptions:
    """How rows are written; the options concern CSV alone.

    Attributes:
        bom: Begin with a byte order mark, by which Excel knows that the file is UTF-8.
        spreadsheet_safe: Put a single quote before text that a spreadsheet would take for a formula.
    """

    bom: bool = False
    spreadsheet_safe: bool = False


def check_format(path: Path, options: OutOptions | None = None) -> None:
    """Check that ``write_rows`` knows the format of a file name, before any work is done.

    Raises:
        DataError: The suffix is not .jsonl, .csv or .parquet, or an option does not go with it.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise DataError(f"{path}: unknown kind of file. Write to one of {', '.join(_WRITERS)}.")
    if options is not None and suffix != ".csv" and options != OutOptions():
        raise DataError(
            f"{path}: --bom and --spreadsheet-safe are for CSV alone. Write to .csv, or leave them out."
        )


def write_rows(
    path: Path, rows: Iterable[JsonObject], header: Sequence[str] = (), options: OutOptions | None = None
) -> int:
    """Write rows to a .jsonl, .csv or .parquet file, in bounded memory.

    The file gets its name only when it is complete. A link is followed: its target is written, the link
    stays. The columns are those of ``header`` and of all rows, in order of first appearance. In CSV, None is an
    empty cell and lists are JSON; in Parquet, lists beside texts are JSON, and any other column with values of
    several kinds is JSON text.

    Args:
        path: The file.
        rows: The rows.
        header: Columns that the file has even if no row does.
        options: How CSV is written.

    Returns:
        The number of rows.

    Raises:
        DataError: The suffix is unknown, or an option does not go with it.
        StoreError: The file cannot be written; ``path`` is unchanged.
    """
    options = options or OutOptions()
    check_format(path, options)
    target = writable_target(path)
    with (
        disk_errors(StoreError, f"{path}: cannot be written", "Check the folder and the disk."),
        replacing(target) as new,
    ):
        return _WRITERS[path.suffix.lower()](new, rows, header, options)


def _write_json_lines(
    new: Path, rows: Iterable[JsonObject], header: Sequence[str], options: OutOptions
) -> int:
    n = 0
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with new.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(f"{encode(row)}\n")
            n += 1
    return n


# -- CSV -----------------------------------------------------------------------------------------------


def _write_csv(new: Path, rows: Iterable[JsonObject], header: Sequence[str], options: OutOptions) -> int:
    rows = iter(rows)
    first = next(rows, None)
    known = dict.fromkeys([*header, *(first or ())])
    columns, n = dict(known), 0
    cell = _safe_cell if options.spreadsheet_safe else _cell
    with new.open("w", encoding="utf-8-sig" if options.bom else "utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(cell, columns))
        for row in chain(() if first is None else (first,), rows):
            n += 1
            if row.keys() != columns.keys():
                columns |= dict.fromkeys(row)
            writer.writerow([cell(row.get(name)) for name in columns])
    if columns != known:
        _complete(new, [str(cell(name)) for name in columns], options)
    return n


def _complete(path: Path, header: list[str], options: OutOptions) -> None:
    """Give a CSV file its final header; rows that were written before a column appeared get an empty cell."""
    csv.field_size_limit(LONGEST_CELL)
    encoding = "utf-8-sig" if options.bom else "utf-8"
    with aside(path.parent, private=True) as before:
        shutil.copyfile(path, before)
        with (
            before.open(encoding=encoding, newline="") as old,
            path.open("w", encoding=encoding, newline="") as file,
        ):
            reader, writer = csv.reader(old), csv.writer(file)
            next(reader)
            writer.writerow(header)
            writer.writerows([*row, *[""] * (len(header) - len(row))] for row in reader)


def _cell(value: Any) -> Any:
    if value.__class__ in _PLAIN:
        return value
    return json.dumps(value, ensure_ascii=False)


def _safe_cell(value: Any) -> Any:
    value = _cell(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


# -- Parquet -------------------------------------------------------------------------------------------


def _write_parquet(new: Path, rows: Iterable[JsonObject], header: Sequence[str], options: OutOptions) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with aside(new.parent, private=True) as spool:
        n_rows, columns = _spool(spool, rows, header)
        types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
        plain = {name: _single_kind(kinds) for name, kinds in columns.items()}
        schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in plain.items()])
        with pq.ParquetWriter(new, schema) as writer:
            for page in pages(_spooled(spool), PARQUET_ROWS):
                cells = {
                    name: [_parquet_cell(row.get(name), kind) for row in page] for name, kind in plain.items()
                }
                writer.write_table(pa.table(cells, schema=schema))
    return n_rows


def _spool(path: Path, rows: Iterable[JsonObject], header: Sequence[str]) -> tuple[int, dict[str, set[str]]]:
    """Write rows as JSON lines; return their number, and the kinds of value in each column."""
    columns: dict[str, set[str]] = {name: set() for name in header}
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            for name, value in row.items():
                columns.setdefault(name, set()).add(_kind(value))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            n_rows += 1
    return n_rows, columns


def _kind(value: JsonValue) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "huge"
    return type(value).__name__


def _spooled(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _single_kind(kinds: set[str]) -> str:
    kinds = kinds - {"NoneType"}
    if kinds == {"int", "float"}:
        return "float"
    if not kinds:
        return "str"
    if kinds == {"str", "list"}:
        return "str or list"
    return next(iter(kinds)) if len(kinds) == 1 and kinds <= {"bool", "int", "float", "str"} else "json"


def _parquet_cell(value: Any, kind: str) -> Any:
    is_json = kind == "json" or (kind == "str or list" and isinstance(value, list))
    return json.dumps(value, ensure_ascii=False) if is_json and value is not None else value


_WRITERS: dict[str, Callable[[Path, Iterable[JsonObject], Sequence[str], OutOptions], int]] = {
    ".jsonl": _write_json_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
