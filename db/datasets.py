"""Data sets and their items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, bindparam, delete, func, insert, null, select, update
from sqlalchemy.exc import IntegrityError

from db.statements import insert_new, now, stream, table_of
from db.tables import DatasetRow, ItemRow
from star_al.errors import StoreError
from star_al.types import Dataset, SourceItem

_COLUMNS = (
    DatasetRow.dataset_id,
    DatasetRow.key,
    DatasetRow.name,
    DatasetRow.ready,
    DatasetRow.n_items,
    DatasetRow.n_duplicates,
    DatasetRow.n_empty,
)


def find(connection: Connection, key: str) -> Dataset | None:
    """The ready data set with this key."""
    row = connection.execute(select(*_COLUMNS).where(DatasetRow.key == key, DatasetRow.ready)).one_or_none()
    return None if row is None else Dataset(*row)


def begin(
    connection: Connection, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
) -> Dataset:
    """Make an unready data set; first delete unfinished ones by this importer or dead importers."""
    unready = select(DatasetRow.dataset_id, DatasetRow.importer).where(
        DatasetRow.key == key, ~DatasetRow.ready
    )
    for dataset_id, other in connection.execute(unready).all():
        if other == importer or may_replace(other):
            discard(connection, dataset_id)
    counts = {"ready": False, "n_items": 0, "n_duplicates": 0, "n_empty": 0}
    row = {"key": key, "name": name, **counts}
    created = insert(DatasetRow).values(**row, importer=importer, created_at=now(connection))
    dataset_id = connection.scalars(created.returning(DatasetRow.dataset_id)).one()
    return Dataset(dataset_id=dataset_id, **row)  # type: ignore[arg-type]


def discard(connection: Connection, dataset_id: int) -> None:
    """Delete a data set and its items, unless it is ready."""
    connection.execute(delete(DatasetRow).where(DatasetRow.dataset_id == dataset_id, ~DatasetRow.ready))


def add_page(connection: Connection, dataset_id: int, page: Sequence[SourceItem]) -> int:
    """Insert a page of items and return how many were new; known items without a label get theirs."""
    unready = select(DatasetRow.dataset_id).where(DatasetRow.dataset_id == dataset_id, ~DatasetRow.ready)
    if connection.execute(unready.with_for_update(key_share=True)).one_or_none() is None:
        raise StoreError("the data set being imported was deleted or is finished; run again.")
    new = insert_new(connection, ItemRow, [_row(dataset_id, source) for source in page])
    if new < len(page):
        _complete_labels(connection, dataset_id, page)
    return new


def _complete_labels(connection: Connection, dataset_id: int, page: Sequence[SourceItem]) -> None:
    # The first label of equal texts is kept, so that no human's work is lost with a duplicate row.
    labels = [
        {"its_id": source.item.item_id, "its_label": source.given_label}
        for source in page
        if source.given_label is not None
    ]
    if not labels:
        return
    unlabelled = (
        ItemRow.dataset_id == dataset_id,
        ItemRow.item_id == bindparam("its_id"),
        ItemRow.given_label.is_(null()),
    )
    completed = update(table_of(ItemRow)).where(*unlabelled).values(given_label=bindparam("its_label"))
    connection.execute(completed, labels)


def finish(connection: Connection, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
    """Count the items and mark the data set ready; if another import was first, return its data set."""
    key = connection.scalars(select(DatasetRow.key).where(DatasetRow.dataset_id == dataset_id)).one_or_none()
    if key is None:
        raise StoreError("the data set being imported was deleted; run again.")
    first = find(connection, key)
    if first is not None:
        discard(connection, dataset_id)
        return first
    n_items = select(func.count()).where(ItemRow.dataset_id == dataset_id).scalar_subquery()
    finished = (
        update(DatasetRow)
        .where(DatasetRow.dataset_id == dataset_id)
        .values(ready=True, n_items=n_items, n_duplicates=n_duplicates, n_empty=n_empty)
        .returning(*_COLUMNS)
    )
    try:
        with connection.begin_nested():
            return Dataset(*connection.execute(finished).one())
    except IntegrityError:  # on Postgres another import may finish between the check and the update
        discard(connection, dataset_id)
        return finish_first(connection, key)


def finish_first(connection: Connection, key: str) -> Dataset:
    """The data set that another import finished.

    Raises:
        StoreError: There is none.
    """
    first = find(connection, key)
    if first is None:
        raise StoreError("another import of the same data failed at the same time; run again.")
    return first


def item_ids(connection: Connection, dataset_id: int) -> list[str]:
    """Sorted ids; sorted here, as databases order text by their own locale."""
    return sorted(stream(connection, select(ItemRow.item_id).where(ItemRow.dataset_id == dataset_id)))


def require_ready(connection: Connection, dataset_id: int) -> None:
    """Check that a data set is there and completely imported.

    Raises:
        StoreError: It is not.
    """
    ready = connection.scalars(
        select(DatasetRow.ready).where(DatasetRow.dataset_id == dataset_id)
    ).one_or_none()
    if not ready:
        raise StoreError("the data set of the campaign is not completely imported; import it again.")


def _row(dataset_id: int, source: SourceItem) -> dict[str, object]:
    item = source.item
    return {
        "dataset_id": dataset_id,
        "item_id": item.item_id,
        "text": item.text,
        "options": list(item.options) or None,
        "external_id": item.external_id,
        "fields": item.fields,
        "given_label": source.given_label,
    }
