"""Texts that a program has in memory, as rows and as a file for a campaign."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from star_al.data import write_text
from star_al.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Texts: TypeAlias = "Iterable[str | Mapping[str, Any]] | pd.DataFrame"
"""Texts, or rows with the columns of a campaign's data."""


def rows_of(data: Texts, text_column: str) -> list[dict[str, Any]]:
    """Return texts as rows of JSON values; a plain string becomes the text column.

    Raises:
        DataError: A row is neither a string nor a mapping of column names to JSON values.
    """
    if _is_data_frame(data):
        records = json.loads(data.to_json(orient="records", date_format="iso"))  # type: ignore[union-attr]
        return [dict(record) for record in records]
    rows: list[Any] = [{text_column: row} if isinstance(row, str) else row for row in data]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            kind = type(row).__name__
            raise DataError(f"row {number} is of type {kind}. Give a string, or a dictionary of columns.")
    return [dict(row) for row in rows]


def _is_data_frame(data: object) -> bool:
    """Recognise a pandas data frame without importing pandas."""
    return hasattr(data, "to_json") and hasattr(data, "columns")


def write_rows_beside(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines, unless the file has exactly these rows already.

    Raises:
        DataError: The file exists with other rows, or a value is not JSON.
        StoreError: The file cannot be written.
    """
    text = "".join(_json_line(number, row) for number, row in enumerate(rows, 1))
    if path.exists():
        if path.read_text(encoding="utf-8") == text:
            return
        raise DataError(
            f"{path}: exists with other texts. Choose another name for the campaign, or delete the file."
        )
    write_text(path, text)


def _json_line(number: int, row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as exc:
        raise DataError(
            f"row {number} cannot be written as JSON ({exc}). Convert or leave out the value."
        ) from exc
