"""Export a campaign: every row of its data, in order, with what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from star_al.app.compose import open_parts
from star_al.app.data_card import data_card
from star_al.app.known_items import CONTROL, known_items, without_names
from star_al.app.predicting import own_files
from star_al.app.predictor import Predictor
from star_al.app.stores import reading
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec import CampaignFile
from star_al.data import (
    UNKNOWN,
    ExportColumns,
    ImportCounts,
    Known,
    OutOptions,
    check_format,
    check_out,
    data_source,
    options_found,
    read_source_rows,
    without_labels,
    write_rows,
    write_text,
)
from star_al.errors import DataError
from star_al.ports import Progress, Store
from star_al.steps.pool import SHARD_ITEMS
from star_al.task import make_task
from star_al.types import Campaign, Item, JsonObject, Role

OWN_ROLES = (Role.POOL.value, CONTROL, Role.AUDIT.value, Role.CALIBRATION.value)
"""Roles of the texts in the campaign's data. Those of a test file are in a file of their own."""

PAGE = 2048
"""Items loaded from the store at once."""


class Rows(StrEnum):
    """Which rows an export has."""

    ALL = "all"  # every row of the data
    LABELLED = "labelled"  # those with a human label
    ANSWERS = "answers"  # one for each answer that somebody gave


@dataclass(frozen=True)
class Exported:
    """How many rows were written, and sentences about what a user should know of them."""

    n: int
    notes: tuple[str, ...] = ()


class _SourceError(Exception):
    """The data cannot be read any more; holds why."""


class _OwnRow(NamedTuple):
    """A row of the user's: its columns, its item (None without a text), what is known of it, and if it is a repeat."""

    own: JsonObject
    item: Item | None
    known: Known
    is_repeat: bool = False


@dataclass
class _Found:
    """What reading the source has found out so far."""

    new: int = 0
    seen: set[str] = field(default_factory=set)


def export_file(
    file: CampaignFile,
    out: Path,
    progress: Progress,
    *,
    rows: Rows = Rows.ALL,
    with_predictions: bool = False,
    options: OutOptions | None = None,
) -> Exported:
    """Write every row of the campaign's data with what is known of it.

    Rows come in the order of the data, with all their columns, repeated texts and rows without a text
    included. Texts that were added later follow. If the data cannot be read any more, the rows come from the
    database.

    Args:
        file: The campaign.
        out: The file to write, ``.jsonl``, ``.csv`` or ``.parquet``.
        progress: Where progress is shown.
        rows: Which rows to write.
        with_predictions: Add the model's predictions for all texts without a human label.
        options: How CSV is written.

    Raises:
        DataError: The suffix is unknown, or ``out`` is a file of the campaign.
        StoreError: ``out`` cannot be written, or the campaign has not been started.
        ModelError: The model cannot predict.
    """
    check_format(out, options)
    check_out(out, own_files(file))
    return _export(file, out, progress, rows, with_predictions, options, named=True)[0]


def export_dataset(
    file: CampaignFile, folder: Path, progress: Progress, *, rows: Rows, with_predictions: bool
) -> Exported:
    """Write a folder that can be pushed as a data set: rows, and a card. Annotators are numbered, not named.

    Args:
        file: The campaign.
        folder: An empty folder.
        progress: Where progress is shown.
        rows: Which rows to write.
        with_predictions: Add the model's predictions for all texts without a human label.

    Raises:
        DataError, StoreError, ModelError: As ``export_file``.
    """
    done, labels = _export(
        file, folder / "train.parquet", progress, rows, with_predictions, None, named=False
    )
    card = data_card(file.spec.name, labels, done.n, predictions=with_predictions)
    write_text(folder / "README.md", card)
    return done


def _export(
    file: CampaignFile,
    out: Path,
    progress: Progress,
    rows: Rows,
    with_predictions: bool,
    options: OutOptions | None,
    *,
    named: bool,
) -> tuple[Exported, Counter[str]]:
    """Write the rows; returns also how many texts have each label."""
    if rows is Rows.ANSWERS and with_predictions:
        raise DataError("--answers lists what people answered; leave out --with-predictions.")
    with reading(file) as (store, campaign):
        predictor = None
        if with_predictions:
            predictor = Predictor(open_parts(file, store, campaign, progress))
            progress.say(f"Predicting with the {predictor.model.note}")
        shown = _Shown(rows, predictor, progress)
        export = _Export(file, store, campaign, named=named)
        return export.write(out, shown, options), export.labels


def label_rows(file: CampaignFile, store: Store, campaign: Campaign) -> list[JsonObject]:
    """Return one row for each labelled text, with the user's own ids and columns."""
    export = _Export(file, store, campaign)
    labelled = (item_id for item_id, known in export.own_items() if known.label is not None)
    return [export.columns.labelled(row.own, row.item, row.known) for row in export.stored_rows(labelled)]


@dataclass(frozen=True)
class _Shown:
    """Which rows an export shows, and the model that predicts those without a label, if any does."""

    rows: Rows
    predictor: Predictor | None
    progress: Progress


class _Export:
    """The rows of one campaign."""

    def __init__(self, file: CampaignFile, store: Store, campaign: Campaign, *, named: bool = True) -> None:
        self._file, self._store, self._campaign = file, store, campaign
        self._task = make_task(file.spec.task)
        known = known_items(store, campaign, self._task)
        self._known: Mapping[str, Known] = known if named else without_names(known)
        self.columns = ExportColumns(self._task, file.spec.data)

    def write(self, out: Path, shown: _Shown, options: OutOptions | None) -> Exported:
        """Write the file, from the data if it can be read, else from the database."""
        found = _Found()
        try:
            n = self._write(out, chain(self._source_rows(found), self._further_rows(found)), shown, options)
        except _SourceError as exc:
            stored = self.stored_rows(item_id for item_id, _ in self.own_items())
            n = self._write(out, stored, shown, options)
            return Exported(n, (_from_database(exc),))
        return Exported(n, self._notes(found))

    @property
    def labels(self) -> Counter[str]:
        """How many texts have each label."""
        return Counter(
            self._task.shown(self._task.answer(known.label.value))
            for _, known in self.own_items()
            if known.label is not None
        )

    def own_items(self) -> Iterator[tuple[str, Known]]:
        """Ids of the items of the campaign's data, without those of a test file, and what is known of them."""
        return ((item_id, known) for item_id, known in self._known.items() if known.role in OWN_ROLES)

    def stored_rows(self, item_ids: Iterable[str]) -> Iterator[_OwnRow]:
        """The rows of items as the database has them."""
        for page in pages(item_ids, PAGE):
            for item in self._store.items(self._campaign.campaign_id, page):
                own = self.columns.own_columns(item) | options_found(item, self._file.spec.data)
                yield _OwnRow(own, item, self._known[item.item_id])

    # -- rows ------------------------------------------------------------------------------------------

    def _source_rows(self, found: _Found) -> Iterator[_OwnRow]:
        """Every row of the campaign's data, in order.

        Raises:
            _SourceError: The data cannot be read, or is not what was imported.
        """
        try:
            source = without_labels(data_source(self._file))
            data = self._file.spec.data
            for values, source_item in read_source_rows(source, self._task, ImportCounts()):
                if source_item is None:
                    yield _OwnRow(values, None, UNKNOWN)
                    continue
                item = source_item.item
                known = self._known.get(item.item_id, UNKNOWN)
                found.new += known is UNKNOWN
                is_repeat = item.item_id in found.seen
                found.seen.add(item.item_id)
                yield _OwnRow(options_found(item, data) | values, item, known, is_repeat)
        except DataError as exc:
            raise _SourceError(str(exc)) from exc

    def _further_rows(self, found: _Found) -> Iterator[_OwnRow]:
        """The rows of the campaign's items that are not in its data: added later, or removed from the file."""
        return self.stored_rows(item_id for item_id, _ in self.own_items() if item_id not in found.seen)

    def _write(self, out: Path, rows: Iterator[_OwnRow], shown: _Shown, options: OutOptions | None) -> int:
        first = next(rows)
        header = self._header(first, shown)  # even a file without rows has the columns
        return write_rows(out, self._rows(chain((first,), rows), shown), header, options)

    def _header(self, row: _OwnRow, shown: _Shown) -> list[str]:
        if shown.rows is Rows.ANSWERS:
            return list(self.columns.answered(row.own, row.item, row.known, None))
        if shown.predictor is not None:
            return list(self.columns.with_prediction(row.own, row.item, row.known, None))
        return list(self.columns.labelled(row.own, row.item, row.known))

    def _rows(self, rows: Iterable[_OwnRow], shown: _Shown) -> Iterator[JsonObject]:
        if shown.rows is Rows.ANSWERS:
            return self._answers(rows)
        if shown.rows is Rows.LABELLED:
            rows = (row for row in rows if row.known.label is not None)
        if shown.predictor is not None:
            return self._predicted(rows, shown.predictor, shown.progress)
        return (self.columns.labelled(row.own, row.item, row.known) for row in rows)

    def _answers(self, rows: Iterable[_OwnRow]) -> Iterator[JsonObject]:
        for row in rows:
            for answer in () if row.is_repeat else row.known.answers:
                yield self.columns.answered(row.own, row.item, row.known, answer)

    def _predicted(
        self, rows: Iterable[_OwnRow], predictor: Predictor, progress: Progress
    ) -> Iterator[JsonObject]:
        n_unlabelled = sum(known.label is None for _, known in self.own_items())
        with progress.task("Predicting unlabelled texts", n_unlabelled) as advance:
            for page in pages(rows, SHARD_ITEMS):
                unlabelled = [row.item for row in page if row.item and row.known.label is None]
                answers = predictor.answers_by_id(unlabelled, advance)
                for row in page:
                    answer = answers.get(row.item.item_id) if row.item else None
                    yield self.columns.with_prediction(row.own, row.item, row.known, answer)

    def _notes(self, found: _Found) -> tuple[str, ...]:
        name = self._file.spec.data.path
        notes = []
        if found.new:
            verb, it = ("is", "it") if found.new == 1 else ("are", "them")
            notes.append(
                f"{count(found.new, 'row')} of {name} {verb} not in the campaign; `star-al add-data` adds {it}."
            )
        further = sum(item_id not in found.seen for item_id, _ in self.own_items())
        if further:
            verb, it = ("is", "it follows") if further == 1 else ("are", "they follow")
            notes.append(
                f"{count(further, 'text')} of the campaign {verb} not in {name} "
                f"(added later, or removed from it since the import); {it} after its rows."
            )
        return tuple(notes)


def _from_database(reason: Exception) -> str:
    return (
        f"{reason} The rows come from the database instead: each text once, in no particular order, "
        "without the rows that have no text."
    )
