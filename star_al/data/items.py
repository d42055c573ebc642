"""Rows → items, in order; a text that is repeated with different labels gets that of most rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from star_al.data.item_labels import EXPORTED, SETTLED, parse_answer
from star_al.data.item_reader import ImportCounts, ItemReader, SourceRow
from star_al.data.readers import read_rows
from star_al.data.repeats import Pairs, Repeats, Votes, hash_of, key_of
from star_al.data.rows import Row
from star_al.data.source import DataSource
from star_al.errors import DataError
from star_al.task import Task
from star_al.types import SourceItem


def read_items(
    source: DataSource, task: Task, counts: ImportCounts, rows: Iterable[Row] | None = None
) -> Iterator[SourceItem]:
    """Read the items of a source in order, in bounded memory.

    Args:
        source: The rows, and which columns matter.
        task: The campaign's task; it knows the labels.
        counts: Updated with each row.
        rows: Rows to read in place of those in the source's table.

    Yields:
        An item for each row with a text, repeated content included. Its ``fields`` are all columns as JSON
        values, except the text and options columns that export can restore from the item.

    Raises:
        DataError: The source cannot be read, a column is missing, a text, its options or its label cannot be
            used, or no row has a text. The message names file and line.
    """
    for row in read_source_rows(source, task, counts, rows):
        if row.found is not None:
            yield row.found


def read_source_rows(
    source: DataSource, task: Task, counts: ImportCounts, rows: Iterable[Row] | None = None
) -> Iterator[SourceRow]:
    """Read every row of a source in order, in bounded memory, those without a text included.

    A source with labels or ids is read twice: first to find the texts that rows give different labels. They get
    the label of most rows; a tie gets none, and is left out of a source in which every row needs a label for
    good, a test file.

    Arguments and errors are those of ``read_items``.
    """
    repeats = _find_repeats(source, task) if rows is None else Repeats()
    counts.disagreeing += repeats.disagreeing
    counts.ties += repeats.ties
    counts.shared_ids += repeats.shared_ids
    for row in _unsettled_rows(source, task, counts, rows):
        yield _settled(row, repeats, source) if repeats.disagreeing else row


def _find_repeats(source: DataSource, task: Task) -> Repeats:
    """Read a source once for the texts that rows give different labels, and for ids of several texts.

    Rows that cannot be used are passed over: the reading that follows says what is wrong with them.
    """
    if source.id is None and source.label is None and source.gold is None:
        return Repeats()
    given, gold, ids = Votes(), Votes(), Pairs()
    unlabelled = replace(without_labels(source), label_columns=source.label_columns)
    reader = ItemReader(unlabelled, task, ImportCounts())
    for row in _needed_columns(source, read_rows(source.table)):
        try:
            values, found = reader.read(row)
            if found is None:
                continue
            item = found.item
            given_label = None if source.label is None else parse_answer(task, item, values.get(source.label))
            gold_label = None if source.gold is None else parse_answer(task, item, values.get(source.gold))
        except DataError:
            continue
        given.add(item.item_id, given_label, task.name(given_label))
        gold.add(item.item_id, gold_label, task.name(gold_label))
        if source.id is not None and (external_id := values.get(source.id)) is not None:
            ids.add(hash_of(str(external_id)), key_of(item.item_id))
    return Repeats(given.settled(), gold.settled(), len(ids.several()))


def _needed_columns(source: DataSource, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows without the columns that say nothing about text, label and id, nor about who wrote the row."""
    options = source.options if isinstance(source.options, tuple) else (source.options,)
    named = {source.id, source.label, source.gold, *source.label_columns}
    needed = {*source.text_columns, *named, *options, *EXPORTED}
    for row in rows:
        yield Row(row.number, {name: value for name, value in row.values.items() if name in needed})


def _settled(row: SourceRow, repeats: Repeats, source: DataSource) -> SourceRow:
    """The row with the labels that its text has in most rows."""
    if row.found is None:
        return row
    item, given = row.found.item, row.found.given_label
    key = key_of(item.item_id)
    if key in repeats.given:
        given = repeats.given[key]
    if key in repeats.gold:
        if source.label == source.gold and given is None:
            return SourceRow(row.values, None)
        item = replace(item, fields={**item.fields, SETTLED: repeats.gold[key]})
    return SourceRow(row.values, SourceItem(item, given))


def _unsettled_rows(
    source: DataSource, task: Task, counts: ImportCounts, rows: Iterable[Row] | None = None
) -> Iterator[SourceRow]:
    """Read the rows one by one, each with the label that it has itself."""
    reader = ItemReader(source, task, counts)
    any_text = False
    for row in read_rows(source.table) if rows is None else rows:
        counts.rows += 1
        found = reader.read(row)
        any_text = any_text or found.found is not None
        counts.empty += found.found is None
        yield found
    if not any_text:
        names = ", ".join(map(repr, source.text_columns))
        what = f"column {names} is" if len(source.text_columns) == 1 else f"the columns {names} are"
        raise DataError(f"{source.table.name}: {what} empty in every row.")
    reader.check_columns_seen()


def without_labels(source: DataSource) -> DataSource:
    """The source without labels and ids, whose columns may then be missing, as in a file of texts to predict."""
    return replace(source, id=None, label=None, gold=None, label_columns=())
