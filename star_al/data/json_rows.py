"""Rows of JSON: one object a line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from star_al.data.annotation_exports import flat_row
from star_al.data.limits import MAX_ROW, TOO_LONG
from star_al.data.rows import Row
from star_al.data.source import Table
from star_al.data.text_files import find_encoding, open_text, read_errors, read_lines
from star_al.errors import DataError

_BLOCK = 2**16
"""Characters read at once from an array."""

_LONGEST_WORD = len("-Infinity") + 2
"""Characters before the end of the buffer in which a value may be cut."""

_SPACE = " \t\r\n"


def json_rows(table: Table) -> Iterator[Row]:
    """Read the objects of a file in bounded memory; the exports of annotation tools become flat rows.

    Raises:
        DataError: The file cannot be read, or is neither JSON lines nor an array of objects.
    """
    encoding = find_encoding(table)
    rows = _array_rows if _is_array(table, encoding) else _line_rows
    for row in rows(table, encoding):
        yield Row(row.number, flat_row(row.values))


def _is_array(table: Table, encoding: str) -> bool:
    return next((line.lstrip()[0] == "[" for _, line in read_lines(table, encoding) if line.strip()), False)


def _line_rows(table: Table, encoding: str) -> Iterator[Row]:
    for number, line in read_lines(table, encoding):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DataError(f"{table.place(number)}: not valid JSON ({exc}). {_hint(line)}") from exc
        yield Row(number, _object(table, number, values))


def _hint(line: str) -> str:
    if line.strip() == "{":
        return "The file looks like one JSON object; write an array of objects, or one object a line."
    return "The file needs one object a line."


def _object(table: Table, number: int, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise DataError(
            f"{table.place(number)}: a JSON {type(values).__name__}, not an object. "
            "The file needs one object a line, or an array of objects."
        )
    return values


def _array_rows(table: Table, encoding: str) -> Iterator[Row]:
    with read_errors(table), open_text(table, encoding) as file:
        blocks = iter(lambda: file.read(_BLOCK), "")
        try:
            yield from _elements(table, blocks)
        except UnicodeError as exc:
            raise DataError(f"{table.name}: cannot be read as {encoding}. Save it as UTF-8.") from exc


def _elements(table: Table, blocks: Iterator[str]) -> Iterator[Row]:
    """The elements of an array, decoded one by one from a buffer that grows until it holds a whole one."""
    decode = json.JSONDecoder().raw_decode
    rest = _Buffer(blocks)
    rest.skip("\ufeff" + _SPACE)
    rest.expect("[", table.place(1))
    number, line = 0, 1
    while True:
        number += 1
        line += rest.skip(_SPACE)
        if rest.next_is("]"):
            return
        if number > 1:
            rest.expect(",", table.place(line if table.format == "jsonl" else number))
            line += rest.skip(_SPACE)
        where = line if table.format == "jsonl" else number
        values, end = rest.decode(table.place(where), decode)
        yield Row(where, _object(table, where, values))
        line += rest.drop(end)


class _Buffer:
    """The unread part of a file, filled by blocks as needed."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._text = ""
        self._start = 0

    def more(self) -> bool:
        """Add a block; False at the end of the file."""
        block = next(self._blocks, "")
        self._text = self._text[self._start :] + block
        self._start = 0
        return bool(block)

    def next_is(self, mark: str) -> bool:
        """Whether the next character is ``mark``."""
        return (self._start < len(self._text) or self.more()) and self._text[self._start] == mark

    def skip(self, characters: str) -> int:
        """Pass over these characters; returns how many of them end a line."""
        passed = 0
        while self._start < len(self._text) or self.more():
            if self._text[self._start] not in characters:
                break
            passed += self._text[self._start] == "\n"
            self._start += 1
        return passed

    def drop(self, end: int) -> int:
        """Pass over the text before ``end``; returns how many of its characters end a line."""
        passed = self._text.count("\n", self._start, end)
        self._start = end
        return passed

    def expect(self, mark: str, place: str) -> None:
        """Pass over ``mark``.

        Raises:
            DataError: Something else is there.
        """
        if not self.next_is(mark):
            found = self._text[self._start : self._start + 1]
            what = f"{found!r} stands where {mark!r} should" if found else "the array is not closed"
            raise DataError(f"{place}: not valid JSON ({what}).")
        self._start += 1

    def decode(self, place: str, decode: Any) -> tuple[Any, int]:
        """The value that begins here, and where it ends in the buffer.

        Raises:
            DataError: It is not valid JSON, or too long.
        """
        wanted = _BLOCK
        while True:
            try:
                value, end = decode(self._text, self._start)
                if end < len(self._text) or not self.more():
                    return value, end
                continue
            except (ValueError, RecursionError) as exc:
                if self._is_unfinished(exc) and len(self._text) - self._start > MAX_ROW:
                    raise DataError(f"{place}: {TOO_LONG}") from exc
                if not (self._is_unfinished(exc) and self._grow(wanted)):
                    reason = exc.msg if isinstance(exc, json.JSONDecodeError) else exc
                    raise DataError(f"{place}: not valid JSON ({reason}).") from exc
                wanted *= 2  # so that a long value is decoded a few times, not once a block

    def _is_unfinished(self, error: Exception) -> bool:
        """Whether more text may mend the error: it is at the end of the buffer, or in a string that runs to it."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - _LONGEST_WORD

    def _grow(self, wanted: int) -> bool:
        grown = False
        while len(self._text) - self._start < wanted and self.more():
            grown = True
        return grown or self.more()
