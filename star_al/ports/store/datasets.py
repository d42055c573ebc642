"""What a store promises of imported data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from star_al.types import Dataset, SourceItem


class Datasets(Protocol):
    """Imported data sets."""

    def find_dataset(self, key: str) -> Dataset | None:
        """The ready data set with this key."""

    def begin_dataset(
        self, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
    ) -> Dataset:
        """Make an empty data set, which stays hidden until it is finished. Several may be under way at once.

        First deletes unfinished imports of this key by this importer or by dead importers.

        Args:
            key: Key of the data set.
            name: Name of the data set.
            importer: The process that imports.
            may_replace: Tells whether an importer is dead.
        """

    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        """Store items, in pages of bounded size, and return how many were new.

        Of several items with one id the first is kept, with the first given label that any of them has.
        """

    def finish_dataset(self, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
        """Count the items and mark the data set ready.

        If another importer finished first, this data set is deleted and the other one returned.

        Args:
            dataset_id: The data set.
            n_duplicates: Rows that were left out because of an equal id; recorded.
            n_empty: Rows that were left out because they have no text; recorded.
        """

    def dataset_item_ids(self, dataset_id: int) -> list[str]:
        """Sorted ids of all items of a data set."""
