"""Guesses about a user's data: which column holds the texts, which the labels, and which labels there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from star_al.config.spec import NONE, NONE_OF_THESE, MultiLabelSpec, is_number, normalise_label
from star_al.data.annotation_exports import unwrapped
from star_al.data.columns import MAX_LABELS, Column, Profile, members_of
from star_al.data.readers import read_rows
from star_al.errors import DataError
from star_al.task.multi_label import MultiLabel
from star_al.task.protocol import is_blank

_SEVERAL = (
    "holds several labels in a row, but a text gets one. Leave one label in each row, or use --kind multi_label, where "
    "a text gets any number of them."
)

FEW_LABELS = 10
"""More labels than this must each occur twice on average; otherwise they are probably names or ids."""

LONG_CELL = 20
"""Characters that cells of a column have on average if it may hold the texts."""

SENTENCE_WORDS = 4
"""Words from which on a column's name looks like a text."""

SCALES = range(3, 11)
"""How many whole numbers from 1 may be the levels of a scale."""

TEXT_NAMES = (
    "text", "content", "body", "message", "question", "sentence", "review", "comment", "document", "description",
)  # fmt: skip
"""Usual names of text columns, the most likely first."""


def guess_text(data: Profile, taken: Collection[str]) -> str:
    """The column of texts: one with a usual name, or else the one with the most characters.

    Raises:
        DataError: No column that is not ``taken`` holds text.
    """
    texts = {name: column for name, column in data.columns.items() if column.characters and name not in taken}
    if not texts:
        raise DataError(f"{data.table.name}: no column holds text. Columns: {data.names}.")
    by_name = {name.strip().casefold(): name for name in reversed(texts)}
    usual = next((by_name[name] for name in TEXT_NAMES if name in by_name), None)
    return usual or max(texts, key=lambda name: texts[name].characters)


def text_columns(data: Profile, taken: Collection[str]) -> list[str]:
    """The columns that may hold the texts: those with a usual name, and those with long cells."""
    return [
        name
        for name, column in data.columns.items()
        if name not in taken
        and column.characters
        and (name.strip().casefold() in TEXT_NAMES or column.characters >= LONG_CELL * column.filled)
    ]


def label_columns(data: Profile, taken: Collection[str]) -> list[str]:
    """The columns that may hold labels: a few values, each of which occurs several times on average."""
    return [
        name
        for name, column in data.columns.items()
        if name not in taken
        and column.values is not None
        and 2 <= len(column.values) <= MAX_LABELS
        and 2 * len(column.values) <= column.filled
    ]


def header_doubt(data: Profile) -> str:
    """What makes a table's header look like data, as a sentence; empty if nothing does."""
    table = data.table
    if table.format not in ("csv", "tsv", "xlsx") or not table.dialect.header:
        return ""
    telling = [name for name, column in data.columns.items() if _looks_like_data(name, column)]
    if not telling:
        return ""
    shown = ", ".join(repr(name[:40]) for name in list(data.columns)[:4])
    return f"{table.name}: the first row ({shown}) looks like data, not like the names of columns."


def _looks_like_data(name: str, column: Column) -> bool:
    if is_number(name) or len(name.split()) >= SENTENCE_WORDS:
        return True
    return column.values is not None and column.values[" ".join(name.split())] > 0


def labels_in(data: Profile, name: str) -> tuple[str, ...]:
    """The labels in a column, the most frequent first; the most frequent spelling stands for all.

    Raises:
        DataError: The column does not hold usable labels.
    """
    where = f"{data.table.name}: column {name!r}"
    values = data.columns[name].values
    if data.columns[name].in_lists:
        raise DataError(f"{where} {_SEVERAL}")
    if values is None:
        raise DataError(
            f"{where} holds more than {MAX_LABELS} different values, or values that cannot be labels. "
            "Name another column, give --labels with the names, or use --kind text if people write the answers."
        )
    spellings: dict[str, str] = {}
    totals: Counter[str] = Counter()
    for value, count in values.most_common():
        spellings.setdefault(normalise_label(value), value)
        totals[normalise_label(value)] += count
    if len(totals) < 2:
        found = "only one label" if totals else "no label"
        raise DataError(f"{where} holds {found}, but a campaign needs at least two. Name another column.")
    if len(totals) > FEW_LABELS and 2 * len(totals) > totals.total():
        raise DataError(
            f"{where} holds {len(totals)} different values in {totals.total()} rows, which are probably not "
            "labels. Name another column, or give --labels with the names."
        )
    return tuple(spellings[key] for key in sorted(totals, key=lambda key: (-totals[key], key)))


def refuse_other_values(data: Profile, name: str, labels: Sequence[str]) -> None:
    """Check that a column holds nothing but ``labels``.

    Raises:
        DataError: It holds something else.
    """
    if data.columns[name].in_lists:
        raise DataError(f"{data.table.name}: column {name!r} {_SEVERAL}")
    found = data.columns[name].values
    known = {normalise_label(label) for label in labels}
    others = None if found is None else [value for value in found if normalise_label(value) not in known]
    if others is None or others:
        raise DataError(
            f"{data.table.name}: column {name!r} holds {_other_than(others)} the labels {', '.join(labels)}. "
            "Add what is missing to --labels, or correct the column."
        )


def refuse_other_members(data: Profile, name: str, labels: Sequence[str]) -> None:
    """Check that a column of sets of labels names nothing but ``labels``.

    Raises:
        DataError: It names something else.
    """
    known = {*map(normalise_label, labels), NONE, NONE_OF_THESE}
    members = data.columns[name].members
    if members is not None and all(normalise_label(member) in known for member in members):
        return
    task = MultiLabel(MultiLabelSpec(kind="multi_label", labels=tuple(labels)))
    others: dict[str, None] = {}
    for row in read_rows(data.table):  # whole cells, as a label may hold a separator
        cell = unwrapped(row.values.get(name))
        if not is_blank(cell) and task.find((), cell) is None:
            found = members_of(cell) or [str(cell)]
            others |= dict.fromkeys(each for each in found if normalise_label(each) not in known)
    if others:
        raise DataError(
            f"{data.table.name}: column {name!r} holds {_other_than(list(others))} the labels {', '.join(labels)}. "
            "Add what is missing to --labels, or correct the column."
        )


def _other_than(others: Sequence[str] | None) -> str:
    if others is None:  # too many to count
        return "values other than"
    if len(others) == 1:
        return f"{others[0]!r}, which is not one of"
    return f"{', '.join(map(repr, others[:5]))}, which are not among"


def guess_answers(data: Profile, labels: Sequence[str], n_rows: int) -> str | None:
    """The first column that holds nothing but labels, if possible one that is filled in all ``n_rows``."""
    known = {normalise_label(label) for label in labels}
    found = [
        name
        for name, column in data.columns.items()
        if column.values and {normalise_label(value) for value in column.values} <= known
    ]
    return next((name for name in found if data.columns[name].filled >= n_rows), found[0] if found else None)


def doubts(data: Profile, name: str, labels: Sequence[str]) -> list[str]:
    """What in a column of labels may be a mistake, a sentence each."""
    column: Column = data.columns[name]
    found = {normalise_label(value) for value in column.values or ()}
    unused = [label for label in labels if normalise_label(label) not in found]
    sentences = []
    if unused:
        words = " or ".join(map(repr, unused))
        sentences.append(f"{data.table.name}: no row has the label {words} in column {name!r}.")
    if labels and len(found) == column.filled:
        sentences.append(
            f"{data.table.name}: every row has a different label in column {name!r}. "
            "Is it really the column of labels?"
        )
    if is_scale(labels):
        sentences.append(
            f"{data.table.name}: the labels in column {name!r} are the numbers 1 to {len(labels)}. If they are levels "
            f"of a scale, write `task: {{kind: rating, levels: {len(labels)}}}` into the campaign file, and say with "
            "`names: […]` what each level means."
        )
    return sentences


def is_scale(labels: Sequence[str]) -> bool:
    """Return whether labels are the whole numbers from 1, as the levels of a scale are; "4.0" is one, too."""
    levels = {str(level) for level in range(1, len(labels) + 1)}
    return len(labels) in SCALES and {label.removesuffix(".0") for label in labels} == levels
