"""One row → one item: text, options, content-hash id, the user's columns, and a label that the row already has."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from star_al.common.wording import count
from star_al.config.spec import OptionsPattern, fill_in
from star_al.data.columns import no_column
from star_al.data.item_labels import OPTION_KEYS, content_id, numbers_of, option_text, parse_answer
from star_al.data.label_columns import add_label_columns
from star_al.data.rows import Row
from star_al.data.source import DataSource
from star_al.errors import DataError
from star_al.task import LETTERS, Task
from star_al.task.conversation import completion_text, is_messages, prompt_text, split_transcript
from star_al.types import Item, JsonValue, SourceItem

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class ImportCounts:
    """What a reader has found so far. Duplicates are rows − empty − those that are new to the store.

    Attributes:
        rows: Rows read.
        empty: Rows left out because their text is empty or white space.
        nul_replaced: NUL characters replaced by U+FFFD, in any column.
        surrogates_replaced: Lone surrogates replaced by U+FFFD, in any column.
        disagreeing: Texts that repeated rows give different labels.
        ties: Those among them that have no label, because several are equally frequent.
        shared_ids: The user's ids that stand for several texts.
        left_out: Columns whose values cannot be kept, with the type of the values.
    """

    rows: int = 0
    empty: int = 0
    nul_replaced: int = 0
    surrogates_replaced: int = 0
    disagreeing: int = 0
    ties: int = 0
    shared_ids: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


class SourceRow(NamedTuple):
    """A row of a source: all its columns as JSON values, and its item; None for a row without a text."""

    values: dict[str, JsonValue]
    found: SourceItem | None


class ItemReader:
    """Turns the rows of one source into items."""

    def __init__(self, source: DataSource, task: Task, counts: ImportCounts) -> None:
        self._source, self._task, self._counts = source, task, counts
        pattern = source.options.pattern if isinstance(source.options, OptionsPattern) else None
        self._pattern = re.compile(pattern, re.MULTILINE) if pattern else None
        self._unseen = {source.id, source.label, *(source.text_columns if source.template else ())} - {None}
        options = source.options if isinstance(source.options, tuple) else (source.options,)
        # Completions are mixed where no column says which one is better by a number.
        numbered = task.spec.has_completions and not source.is_mixed
        self._numbers = numbers_of(source.options) if numbered else ()
        self._holds_prompts = source.text in options  # completions begin with their prompts
        self._needed = {
            *source.text_columns,
            source.id,
            source.label,
            source.gold,
            *source.label_columns,
            *options,
        }

    def read(self, row: Row) -> SourceRow:
        """The row's columns and its item."""
        values = self._json_object(row)
        return SourceRow(values, self._item(row, values))

    def _item(self, row: Row, values: dict[str, JsonValue]) -> SourceItem | None:
        """The row's item, or None if its text is empty."""
        text = self._text(row, values)
        options: tuple[str, ...] = ()
        keys: tuple[str, ...] = ()
        if self._task.has_options:
            if not text.strip():
                return None
            text, options, keys = self._options(row, values, text)
        if not text.strip():
            return None
        fields = {name: value for name, value in values.items() if not self._restorable(name, value)}
        if list(keys) != list(LETTERS[: len(keys)]):
            fields[OPTION_KEYS] = list(keys)
        item = Item(content_id(text, options), text, options, self._external_id(row, values), fields)
        if self._source.gold is not None:
            self._gold(row, values, item, self._source.gold)
        return SourceItem(item, self._given_label(row, values, item))

    def check_columns_seen(self) -> None:
        """Check that some row has the id and label columns."""
        for name in sorted(name for name in self._unseen if name is not None):
            raise DataError(f"{self._source.table.name}: no row has the column {name!r}.")

    # -- columns ---------------------------------------------------------------------------------------

    def _text(self, row: Row, values: dict[str, JsonValue]) -> str:
        source = self._source
        if source.template is None:
            return self._cell(row, source.text, self._column(row, values, source.text))
        cells = {
            name: self._cell(row, column, self._optional(row, values, column))
            for name, column in zip(source.columns, source.text_columns, strict=True)
        }
        return fill_in(source.template, cells) if any(cell.strip() for cell in cells.values()) else ""

    def _cell(self, row: Row, column: str, raw: JsonValue) -> str:
        if self._task.spec.has_completions:
            raw = prompt_text(split_transcript(raw)[0] if self._holds_prompts else raw)
        if raw is None or isinstance(raw, str):
            return raw or ""
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            return str(raw)
        raise self._error(row, f"column {column!r} holds a value of type {type(raw).__name__}, not text.")

    def _external_id(self, row: Row, values: dict[str, JsonValue]) -> str | None:
        return None if (raw := self._optional(row, values, self._source.id)) is None else str(raw)

    def _given_label(self, row: Row, values: dict[str, JsonValue], item: Item) -> JsonValue:
        raw = self._optional(row, values, self._source.label)
        return self._answer(row, item, self._source.label, raw)

    def _gold(self, row: Row, values: dict[str, JsonValue], item: Item, column: str) -> None:
        """Check that the gold column has a label for the item."""
        if self._answer(row, item, column, self._column(row, values, column)) is None:
            raise self._error(row, f"column {column!r} is empty, but every row needs its label there.")

    def _answer(self, row: Row, item: Item, column: str | None, raw: JsonValue) -> JsonValue:
        """Read a cell as a label of the item.

        Returns:
            The label's value; None for an empty cell.

        Raises:
            DataError: The cell holds something else.
        """
        try:
            return parse_answer(self._task, item, raw)
        except DataError as exc:
            raise self._error(row, f"column {column!r}: {exc}") from exc

    def _optional(self, row: Row, values: dict[str, JsonValue], name: str | None) -> JsonValue:
        """The value of a column that rows may lack if their format allows it; None without such a column."""
        if name is None or (name not in values and self._source.table.is_sparse):
            return None
        self._unseen.discard(name)
        return self._column(row, values, name)

    def _column(self, row: Row, values: dict[str, JsonValue], name: str) -> JsonValue:
        if name in values:
            return values[name]
        raise DataError(no_column(self._source.table.place(row.number), name, values))

    def _restorable(self, name: str, value: JsonValue) -> bool:
        """Whether export can write this column from the item's text and options alone."""
        source = self._source
        if name in (source.id, source.label, source.gold) or self._pattern or source.template:
            return False
        if is_messages(value) or source.is_mixed:
            return False
        if name == source.text:
            return not self._holds_prompts
        if isinstance(source.options, tuple):
            return name in source.options
        return name == source.options and isinstance(value, list)

    # -- options ---------------------------------------------------------------------------------------

    def _options(
        self, row: Row, values: dict[str, JsonValue], text: str
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The text without options, the options, and their keys in the data (empty if they have none)."""
        where = self._source.options
        if self._pattern:
            text, options, keys = self._split(row, text)
        elif isinstance(where, str):
            options, keys = self._listed(row, where, self._column(row, values, where))
        else:
            columns = where if isinstance(where, tuple) else ()
            options = [self._option(self._column(row, values, name)) for name in columns]
            keys = list(self._numbers)
            while options and not options[-1]:
                options.pop()  # rows with fewer options leave the last columns empty
        self._check_options(row, options, keys)
        if self._source.is_mixed:
            options.sort(key=content_id)
        return text, tuple(options), tuple(keys)

    def _option(self, raw: JsonValue) -> str:
        if self._task.spec.has_completions:
            raw = completion_text(split_transcript(raw)[1] if self._holds_prompts else raw)
        return option_text(raw)

    def _split(self, row: Row, text: str) -> tuple[str, list[str], list[str]]:
        if self._pattern is None:
            return text, [], []
        matches = [match for match in self._pattern.finditer(text) if match["option"] is not None]
        options = [match["option"].strip() for match in matches]
        keys = [match["key"] for match in matches] if "key" in self._pattern.groupindex else []
        if None in keys:
            raise self._error(row, "an option has no key, but data.options.pattern must find one for each.")
        return self._pattern.sub("", text).strip(), options, keys

    def _listed(self, row: Row, column: str, raw: JsonValue) -> tuple[list[str], list[str]]:
        """Options and keys from a list, JSON in a cell, or {"text": […], "label": […]} as in many `datasets`."""
        if isinstance(raw, str):
            try:
                raw = json.loads(raw)
            except (ValueError, RecursionError) as exc:
                raise self._error(
                    row, f"column {column!r} holds text that is not a JSON list of options."
                ) from exc
        labels: JsonValue = []
        if isinstance(raw, dict):
            labels, raw = raw.get("label") or [], raw.get("text")
        if not isinstance(raw, list) or not isinstance(labels, list):
            raise self._error(
                row, f"column {column!r} holds a value of type {type(raw).__name__}, not a list."
            )
        return [self._option(value) for value in raw], [option_text(value) for value in labels]

    def _check_options(self, row: Row, options: list[str], keys: list[str]) -> None:
        """Equal options pass: published sets hold some, and their letters still tell them apart."""
        spec = self._task.spec
        if not 2 <= len(options) <= spec.most_options:
            takes = "2" if spec.most_options == 2 else f"2 to {spec.most_options}"
            found = count(len(options), "option")
            raise self._error(row, f"found {found}; task.kind: {spec.kind} takes {takes}.")
        if not all(options):
            raise self._error(row, f"option {options.index('') + 1} is empty.")
        if keys and (len(keys) != len(options) or len(set(keys)) != len(keys)):
            raise self._error(
                row, f"{len(options)} options have the keys {', '.join(keys)}; each needs its own."
            )

    # -- values ----------------------------------------------------------------------------------------

    def _json_object(self, row: Row) -> dict[str, JsonValue]:
        values = {}
        for name, value in row.values.items():
            try:
                values[self._clean(name)] = self._json_value(value)
            except TypeError as exc:
                if name in self._needed:
                    raise self._error(row, f"column {name!r} holds {exc}, which cannot be read.") from exc
                self._counts.left_out.setdefault(self._clean(name), str(exc))
        return self._with_label_columns(row, values) if self._source.label_columns else values

    def _with_label_columns(self, row: Row, values: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The row with a column more, the labels by the columns with 1 and 0."""
        columns = self._source.label_columns
        if not self._source.table.is_sparse:
            for name in columns:
                self._column(row, values, name)  # raises an error if it is missing
        try:
            return add_label_columns(values, columns)
        except ValueError as exc:
            raise self._error(row, f"{exc}.") from exc

    def _json_value(self, value: Any) -> JsonValue:
        """``value`` as JSON: NaN becomes None, infinities and dates text. A TypeError names any other type."""
        if isinstance(value, str):
            return self._clean(value)
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return None if math.isnan(value) else value if math.isfinite(value) else str(value)
        if isinstance(value, dict):
            return {self._clean(str(name)): self._json_value(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._json_value(inner) for inner in value]
        if isinstance(value, (datetime, date, time, timedelta, Decimal, UUID)):
            return str(value)
        raise TypeError(f"a value of type {type(value).__name__}")

    def _clean(self, text: str) -> str:
        if "\0" in text:
            self._counts.nul_replaced += text.count("\0")
            text = text.replace("\0", "\ufffd")
        if not text.isascii() and _SURROGATE.search(text):
            text, n = _SURROGATE.subn("\ufffd", text)
            self._counts.surrogates_replaced += n
        return text

    def _error(self, row: Row, message: str) -> DataError:
        return DataError(f"{self._source.table.place(row.number)}: {message}")
