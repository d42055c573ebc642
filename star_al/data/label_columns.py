"""Columns that say by 1 or 0 whether a text has a label, as one column of sets of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from star_al.config.spec import LABEL_COLUMNS
from star_al.task.multi_label import says_has
from star_al.task.protocol import is_blank
from star_al.types import JsonValue


def add_label_columns(values: Mapping[str, JsonValue], columns: Sequence[str]) -> dict[str, JsonValue]:
    """Return a row with a column more: the names of the columns that say yes; None if all of them are empty.

    Args:
        values: The row.
        columns: The columns, each with the name of a label. One that is missing or empty says no.

    Raises:
        ValueError: A cell says neither yes nor no, or the row has a column of the name already.
    """
    if LABEL_COLUMNS in values:
        raise ValueError(
            f"there is a column {LABEL_COLUMNS!r}, which is what the columns of data.label_columns are called "
            "together. Rename it"
        )
    cells = {name: values.get(name) for name in columns}
    chosen: list[JsonValue] = [name for name, cell in cells.items() if _has(name, cell)]
    is_empty = all(is_blank(cell) for cell in cells.values())
    return {**values, LABEL_COLUMNS: None if is_empty else chosen}


def _has(name: str, cell: JsonValue) -> bool:
    if is_blank(cell):
        return False
    has = says_has(cell)
    if has is None:
        raise ValueError(
            f"column {name!r} holds {cell!r}, which does not say whether the text has the label; write 1 or 0"
        )
    return has
