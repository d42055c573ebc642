"""Ids of items, and the labels that their own columns give them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from star_al.data.annotation_exports import plain_label, references, unwrapped
from star_al.errors import DataError
from star_al.task import LETTERS, Task
from star_al.task.conversation import completion_text, split_transcript
from star_al.task.preference import side_in
from star_al.types import Item, JsonObject, JsonValue

OPTION_KEYS = "star_al.option_keys"
"""Field of an item whose options have keys other than A, B, C… in the data: these keys, in order."""

SETTLED = "star_al.settled"
"""Field of an item that repeated rows give different labels: the one of most rows, or None for a tie."""

EXPORTED = ("item_id", "role")
"""Columns that every row has which export writes, and that tell such a row from others."""

_NUMBERINGS = (("0", "1"), ("1", "2"))
"""Keys of two completions whose columns are numbered."""

_ADDED = frozenset({OPTION_KEYS, SETTLED})

_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def content_id(text: str, options: Sequence[str] = ()) -> str:
    """Return an item's id: 32 hex digits of the SHA-256 of what the model reads, as JSON."""
    return hashlib.sha256(_canonical([text, list(options)]).encode()).hexdigest()[:32]


def parse_answer(task: Task, item: Item, raw: JsonValue) -> JsonValue:
    """Read a label as the item's own data writes it, where options may have keys of their own.

    Returns:
        The label's value, or None if it is missing.

    Raises:
        DataError: The item has no such label.
    """
    if task.spec.is_written and (answers := references(raw)) is not None:
        return task.parse(item, answers)
    if task.spec.is_written and isinstance(raw, str):
        return task.parse(item, _references(raw) or raw if is_exported(item.fields) else raw)
    if task.takes_lists:
        return task.parse(item, unwrapped(raw))
    if task.spec.has_completions:
        raw = completion_text(raw)
        found = _options_that_say(item, raw)
        if not found:
            raw = split_transcript(raw)[1]
            found = _options_that_say(item, raw)
        if found:  # the text may look like a letter, a tie or a list of labels
            return LETTERS[found[0]] if len(found) == 1 else task.parse(item, option_text(raw))
    raw = plain_label(raw)
    keys = item.fields.get(OPTION_KEYS)
    if not isinstance(keys, (list, tuple)) or raw is None:
        return task.parse(item, raw)
    key = side_in(raw) if task.spec.has_completions else option_text(raw)
    if key in keys:
        return LETTERS[keys.index(key)]
    if tuple(keys) in _NUMBERINGS and key.isdecimal():  # it would count from elsewhere
        raise DataError(task.complaint(item, raw))
    return task.parse(item, raw)


def numbers_of(columns: object) -> tuple[str, ...]:
    """Return the numbers of two columns that are called alike and end in 0 and 1, or 1 and 2; none for others."""
    if not isinstance(columns, (list, tuple)) or len(columns) != 2:
        return ()
    names = [str(name).strip().casefold() for name in columns]
    numbers = tuple(name[-1:] for name in names)
    return numbers if numbers in _NUMBERINGS and names[0][:-1] == names[1][:-1] else ()


def _options_that_say(item: Item, completion: JsonValue) -> list[int]:
    return [column for column, option in enumerate(item.options) if option == option_text(completion)]


def gold_answer(task: Task, item: Item, column: str) -> JsonValue:
    """Return the label of an item in a column of its data: that of most rows if its text is repeated.

    Returns:
        The label's value; None if it is missing, or if a tie has none.

    Raises:
        DataError: The column holds something else.
    """
    if SETTLED in item.fields:
        return item.fields[SETTLED]
    return parse_answer(task, item, item.fields.get(column))


def exported_label(task: Task, value: JsonValue) -> JsonValue:
    """Return a label as export writes it: a text that would be read back as a list is a list of one."""
    return [value] if task.spec.is_written and isinstance(value, str) and _references(value) else value


def is_exported(row: Collection[str]) -> bool:
    """Return whether star_al wrote a row with these columns."""
    return all(name in row for name in EXPORTED)


def _references(cell: str) -> list[JsonValue] | None:
    """The texts in a cell that holds a list of them as export writes it; None for any other cell."""
    if not cell.startswith('["'):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    is_ours = all(isinstance(each, str) for each in found) and json.dumps(found, ensure_ascii=False) == cell
    return found if is_ours else None


def is_tie(item: Item) -> bool:
    """True if the rows of an item's text have several labels equally often."""
    return SETTLED in item.fields and item.fields[SETTLED] is None


def option_text(raw: JsonValue) -> str:
    """An option or its key as text; None is empty."""
    return "" if raw is None else str(raw).strip()


def user_fields(fields: JsonObject) -> dict[str, JsonValue]:
    """Return an item's fields without those that star_al added."""
    return {name: value for name, value in fields.items() if name not in _ADDED}
