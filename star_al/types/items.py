"""Items to label, and the data sets and roles they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from star_al.types.json_values import JsonObject, JsonValue


class Role(StrEnum):
    """What an item is used for in one campaign. It is fixed when the item joins."""

    POOL = "pool"
    TEST = "test"
    AUDIT = "audit"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class Item:
    """One text of the pool or of a held-out set.

    ``item_id`` is a hash of what the model reads (text and options), so equal content is one item.
    ``external_id`` and ``fields`` are the user's own id and columns; no learner may read them.
    """

    item_id: str
    text: str
    options: tuple[str, ...] = ()
    external_id: str | None = None
    fields: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An item as read from a file, with the human label that the file gives it, if any."""

    item: Item
    given_label: JsonValue = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set of items read from one source. ``key`` is a hash of source, fields and task."""

    dataset_id: int
    key: str
    name: str
    ready: bool
    n_items: int
    n_duplicates: int = 0
    n_empty: int = 0
