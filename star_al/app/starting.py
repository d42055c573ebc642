"""Create a campaign: import its data and draw its held-out items. Also adds rows to a running campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from star_al import rng
from star_al.app.stores import reading
from star_al.common.files import disk_errors
from star_al.common.process_identity import ProcessIdentity, has_ended
from star_al.common.wording import count
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.data import (
    DataSource,
    ImportCounts,
    Table,
    data_source,
    import_notes,
    locate_here,
    read_items,
    reading_note,
    similar_dialect,
    source_of,
    test_source,
)
from star_al.errors import DataError
from star_al.ports import Advance, Progress, Store
from star_al.task import Task, make_task
from star_al.types import Campaign, Dataset, Event, Lease, Role, SourceItem

ADVANCE_EVERY = 1000
"""Rows between two updates of the progress display."""


@dataclass(frozen=True)
class _Texts:
    """The imported data of a campaign, and its held-out items."""

    dataset_id: int
    test_dataset_id: int | None
    held_out: Mapping[str, Role]


def create_campaign(file: CampaignFile, store: Store, progress: Progress) -> Campaign:
    """Import the data, draw the held-out items, and create the campaign in one final transaction.

    Raises:
        DataError: The data cannot be used, or no text is left for the pool.
    """
    texts = _import_texts(file, store, progress)
    if file.spec.acquisition.cold_start == "base_uncertainty":
        progress.say(
            "acquisition.cold_start: base_uncertainty did worse than random texts on every set that was measured; "
            "herding did best"
        )
    return store.create_campaign(
        file.spec.name,
        texts.dataset_id,
        file.spec.model_dump(mode="json"),
        file.spec.seed,
        held_out=texts.held_out,
        test_dataset_id=texts.test_dataset_id,
    )


def restart_campaign(
    file: CampaignFile, store: Store, lease: Lease, event: Event, progress: Progress
) -> None:
    """Begin a campaign that has no answers again, with the settings of its file, in one final transaction.

    Args:
        file: The campaign file.
        store: The store.
        lease: The campaign's lease.
        event: What to log.
        progress: Where the import is shown.

    Raises:
        DataError: The data cannot be used, or no text is left for the pool; the campaign is as it was.
    """
    texts = _import_texts(file, store, progress)
    store.restart_campaign(
        lease,
        texts.dataset_id,
        file.spec.model_dump(mode="json"),
        file.spec.seed,
        event,
        held_out=texts.held_out,
        test_dataset_id=texts.test_dataset_id,
    )


def _import_texts(file: CampaignFile, store: Store, progress: Progress) -> _Texts:
    spec = file.spec
    task = make_task(spec.task)
    dataset = _import(store, data_source(file), task, progress, what="text")
    source = test_source(file)
    test = None if source is None else _import(store, source, task, progress, what="test text")
    item_ids = store.dataset_item_ids(dataset.dataset_id)
    if test is not None:
        test_ids = set(store.dataset_item_ids(test.dataset_id))
        shared = sum(item_id in test_ids for item_id in item_ids)
        if shared:
            verb = "is" if shared == 1 else "are"
            progress.say(
                f"{count(shared, 'text')} of the data {verb} also in the test file and {verb} left out of the pool"
            )
            item_ids = [item_id for item_id in item_ids if item_id not in test_ids]
    held_out = _draw_held_out(spec, item_ids)
    if len(held_out) >= len(item_ids):
        raise DataError(
            f"{spec.data.path}: no text is left for the pool: {len(held_out)} of {len(item_ids)} different texts "
            "outside the test file are held out (evaluation.size and evaluation.calibration). "
            "Add data or hold out fewer."
        )
    return _Texts(dataset.dataset_id, test.dataset_id if test else None, held_out)


def _draw_held_out(spec: CampaignSpec, item_ids: list[str]) -> dict[str, Role]:
    """Draw audit and calibration items at random, by the campaign's seed."""
    n_audit = spec.evaluation.reserved
    drawn = rng.draw(
        item_ids, n_audit + spec.evaluation.calibration, rng.derive_seed(spec.seed, 0, "held out")
    )
    return {
        item_id: Role.AUDIT if position < n_audit else Role.CALIBRATION
        for position, item_id in enumerate(drawn)
    }


def add_data(file: CampaignFile, path: str, progress: Progress) -> int:
    """Add the rows of a file to a campaign's pool; the next round that scores the pool uses them.

    Returns:
        How many texts were new to the campaign.

    Raises:
        DataError: The file cannot be read; nothing was added.
        StoreError: The campaign has not been started, or the database cannot be read or written.
    """
    with reading(file) as (store, campaign):
        spec = CampaignSpec.model_validate(campaign.config)
        table = locate_here(path, dialect=similar_dialect(spec.data))
        _say_form(table, progress)
        source = source_of(table, spec, gold=spec.gold_column)
        counts = ImportCounts()
        with progress.task(f"Reading {path}", None) as advance:
            items = _with_progress(read_items(source, make_task(spec.task), counts), advance)
            new = store.extend_campaign(campaign.campaign_id, items)
        known = counts.rows - counts.empty - new
        progress.say(
            f"{count(new, 'new text')} from {path}; "
            f"skipped {known:,} already in the campaign and {counts.empty:,} without text"
        )
        _say_notes(source, counts, progress)
        if new and spec.acquisition.control_share:
            progress.say(
                "The control arm now samples the larger pool; "
                "its labelled part is smaller until the new texts are labelled"
            )
        return new


def _import(store: Store, source: DataSource, task: Task, progress: Progress, *, what: str) -> Dataset:
    key, name = _dataset_key(source, task), source.table.name
    found = store.find_dataset(key)
    if found is not None:
        progress.say(f"{count(found.n_items, what)} from {name}, already in the database")
        return found
    _say_form(source.table, progress)
    dataset = store.begin_dataset(key, name, str(ProcessIdentity.of()), may_replace=has_ended)
    counts = ImportCounts()
    with progress.task(f"Importing {name}", None) as advance:
        new = store.add_items(dataset.dataset_id, _with_progress(read_items(source, task, counts), advance))
    duplicates = counts.rows - counts.empty - new
    dataset = store.finish_dataset(dataset.dataset_id, n_duplicates=duplicates, n_empty=counts.empty)
    progress.say(
        f"{count(new, what)} from {name}; skipped {count(duplicates, 'duplicate')} and {counts.empty:,} without text"
    )
    _say_notes(source, counts, progress)
    return dataset


def _say_notes(source: DataSource, counts: ImportCounts, progress: Progress) -> None:
    for note in import_notes(source, counts):
        progress.say(note)


def _say_form(table: Table, progress: Progress) -> None:
    """Say how a file is written, unless it is as its suffix promises."""
    note = reading_note(table)
    if note is not None:
        progress.say(note)


def _with_progress(items: Iterable[SourceItem], advance: Advance) -> Iterator[SourceItem]:
    """The same items; the progress display advances with them."""
    pending = 0
    for item in items:
        yield item
        pending += 1
        if pending == ADVANCE_EVERY:
            advance(pending)
            pending = 0
    advance(pending)


def _dataset_key(source: DataSource, task: Task) -> str:
    """Hash the source's bytes, the meaning of its columns, and the task's labels."""
    digest = hashlib.sha256()
    with disk_errors(
        DataError, f"{source.table.name}: cannot be read", "Check the path and its permissions."
    ):
        for path in _files(source.table.path):
            digest.update(path.name.encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    table = replace(source.table, path=None)
    digest.update(repr((replace(source, table=table), task.spec.kind, task.spec.label_names)).encode())
    return digest.hexdigest()


def _files(path: Path | None) -> list[Path]:
    if path is None:
        return []
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
