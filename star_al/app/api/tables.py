"""Tables for a program: pandas data frames where pandas is installed, else lists of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

Records: TypeAlias = "pd.DataFrame | list[dict[str, Any]]"
"""A data frame with one row per record, or the records themselves."""


def as_table(records: Iterable[Mapping[str, Any]]) -> Records:
    """Return the records as a data frame if pandas is installed, else as a list of dictionaries."""
    rows = [dict(record) for record in records]
    try:
        import pandas as pd
    except ImportError:
        return rows
    return pd.DataFrame(rows)
