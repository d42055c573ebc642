"""`init` for multi-label data: sets of labels in a column, or a column with 1 and 0 for each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from star_al.app.init.columns import is_label_name, named
from star_al.app.init.found_task import FoundTask, labels_of
from star_al.app.init.guessing import label_columns, refuse_other_members
from star_al.app.init.questions import Ask
from star_al.app.init.request import CampaignRequest
from star_al.config.spec import LABEL_COLUMNS, NONE, NONE_OF_THESE, normalise_label
from star_al.data.columns import Profile
from star_al.data.readers import read_rows
from star_al.errors import DataError
from star_al.task.multi_label import says_has

_MARKS = frozenset({"0", "1", "0.0", "1.0", "true", "false", "True", "False"})
"""What tells a column of a label from one with another question that is answered with yes or no."""

_SHOWN = 5  # columns that a sentence names


def guess_label_sets(
    request: CampaignRequest, data: Profile, ask: Ask | None
) -> tuple[CampaignRequest, str] | None:
    """Return the request for a multi-label task, and why it is one; None if it is not.

    Args:
        request: What the user says.
        data: What the columns hold.
        ask: Asks the user whether columns with 1 and 0 are labels, unless the request names these.

    Raises:
        DataError: Columns with 1 and 0 say by exactly one 1 in a row which label a text has.
    """
    found = replace(request, kind="multi_label")
    if request.label_column is not None:
        column = data.columns[request.label_column]
        if column.in_lists and column.members:
            return found, f"column {request.label_column!r} holds several labels in a row"
        return None
    marked = _marked_columns(request, data)
    if len(marked) < 2:
        return None
    others = label_columns(data, {*marked, *named(request)})
    if request.labels is None and (others or any(map(is_label_name, marked))):
        return None
    if not _exclude_each_other(data, marked):
        if request.labels is None and not _are_labels(marked, ask):
            return None
    elif not _may_be_several(marked, ask):
        raise DataError(
            f"{data.table.name}: in every row exactly one of the columns {_listed(marked)} is 1, as if a text had one "
            "label. If so, write its name into one column, and name that with --label-column. If a text may have "
            "several labels, use --kind multi_label."
        )
    why = f"the columns {_listed(marked)} say by 1 or 0 whether a text has a label"
    if full := [name for name in _full_columns(request, data) if name not in marked]:
        is_one = "is 1 in every row and says" if len(full) == 1 else "are 1 in every row and say"
        why += f" ({_listed(full)} {is_one} nothing)"
    return replace(found, label_columns=marked), why


def complete_label_sets(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns with 1 and 0, unless the labels are in one column."""
    marked = _marked_columns(request, data) if request.label_column is None else ()
    return replace(request, label_columns=marked) if len(marked) >= 2 else request


def multi_label(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    """Propose the task."""
    if request.label_columns:
        names = tuple(request.labels or request.label_columns)
        filled = max(data.columns[name].filled for name in request.label_columns)
        settings = {"kind": "multi_label", "labels": names}
        return FoundTask(
            settings, LABEL_COLUMNS, filled, names, {"label_columns": tuple(request.label_columns)}
        )
    column = request.label_column
    names = tuple(request.labels or ()) or _members(request, data)
    if column is not None and request.labels:
        refuse_other_members(data, column, names)
    filled = 0 if column is None else data.columns[column].filled + data.columns[column].empty_lists
    return FoundTask({"kind": "multi_label", "labels": names}, column, filled, names)


def _marked_columns(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
    """The columns that say of every text yes or no; only those of the labels, if these are given.

    Without labels, a column that never says yes is one if two others say both: its label is rare.
    """
    says = _answered_columns(request, data)
    if request.labels is None:
        says = {name: has for name, has in says.items() if {*(data.columns[name].values or ())} <= _MARKS}
        both = [name for name, has in says.items() if has == {True, False}]
        return tuple(name for name, has in says.items() if False in has) if len(both) >= 2 else ()
    by_label = {normalise_label(name): name for name in says}
    wanted = [normalise_label(label) for label in request.labels]
    return tuple(by_label[label] for label in wanted) if all(each in by_label for each in wanted) else ()


def _full_columns(request: CampaignRequest, data: Profile) -> list[str]:
    """The columns that say of every text yes, by 1."""
    says = _answered_columns(request, data)
    return [
        name for name, has in says.items() if has == {True} and {*(data.columns[name].values or ())} <= _MARKS
    ]


def _answered_columns(request: CampaignRequest, data: Profile) -> dict[str, set[bool | None]]:
    """What the columns say of the texts that hold nothing but yes and no."""
    says = {
        name: {says_has(value) for value in column.values}
        for name, column in data.columns.items()
        if name not in named(request) and column.values
    }
    return {name: has for name, has in says.items() if has <= {True, False}}


def _are_labels(marked: Sequence[str], ask: Ask | None) -> bool:
    question = f"The columns {_listed(marked)} hold 1 and 0. Is each of them a label that a text may have?"
    return ask is None or ask.confirm(question, default=True)


def _may_be_several(marked: Sequence[str], ask: Ask | None) -> bool:
    question = (
        f"In every row exactly one of the columns {_listed(marked)} is 1. May a text have several labels?"
    )
    return ask is not None and ask.confirm(question, default=False)


def _exclude_each_other(data: Profile, marked: Sequence[str]) -> bool:
    """Whether exactly one of the columns says yes in every row."""
    return all(
        sum(says_has(row.values.get(name)) is True for name in marked) == 1 for row in read_rows(data.table)
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _members(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
    """The labels in a column of sets of labels, the most frequent first."""
    if request.label_column is None:
        return labels_of(request, data)  # says that there are none
    counts = data.columns[request.label_column].members
    spellings: dict[str, str] = {}
    totals: dict[str, int] = {}
    for name, n in (counts or {}).items():
        key = normalise_label(name)
        if key not in (NONE, NONE_OF_THESE):
            spellings.setdefault(key, name)
            totals[key] = totals.get(key, 0) + n
    if len(totals) < 2:
        found = "too many different names" if counts is None else "fewer than two labels"
        raise DataError(
            f"{data.table.name}: column {request.label_column!r} holds {found}. Name another column, or give --labels "
            "with the names."
        )
    return tuple(spellings[key] for key in sorted(totals, key=lambda key: (-totals[key], key)))
