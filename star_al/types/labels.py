"""The settled human label of an item."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.types.json_values import JsonValue


@dataclass(frozen=True, slots=True)
class Label:
    """One version of the settled human label of an item. The highest version is in force."""

    item_id: str
    value: JsonValue
    version: int = 1
    source: str = "annotator"  # import | annotator
    round_index: int | None = None  # the round that asked; for an added row, the first round it counts for
