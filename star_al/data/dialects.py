"""How a text file is written: its encoding, its line ends, what separates its cells, and whether they are quoted.

What a campaign does not say is found in the file. The same bytes always give the same answer.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from star_al.data.limits import MAX_ROW
from star_al.data.source import TEXT_FORMATS, Table
from star_al.data.text_files import UTF_8, UTF_8_MARKED, find_encoding, read_lines

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
"""Delimiters that are recognised, with their names; the usual one of the file's suffix is tried first."""

_SAMPLE = 2**22
"""Characters from which delimiter and quotes are found."""

_LEAST_SHARE = 0.8
"""Share of rows that must be as wide as the header for a delimiter to be taken."""

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

Cells = list[list[str]]


@dataclass(frozen=True, slots=True)
class TextForm:
    """How a text file is written.

    Attributes:
        encoding: Its encoding, by Python's name.
        newline: What ends a line.
        delimiter: What separates cells; empty for JSON.
        quotes: True if a cell in quotation marks may hold delimiters and line breaks.
        has_quotation_marks: True if there are quotation marks, so that ``quotes`` matters.
        skipped: Lines before the table: 1 if the first one is Excel's ``sep=;``.
        doubt: What may be a mistake, as a sentence; empty if nothing is.
    """

    encoding: str
    newline: str = "\n"
    delimiter: str = ""
    quotes: bool = True
    has_quotation_marks: bool = False
    skipped: int = 0
    doubt: str = ""


def usual_delimiter(table: Table) -> str:
    """The delimiter that the file's suffix promises."""
    return "\t" if table.format == "tsv" else ","


def text_form(table: Table) -> TextForm:
    """Find out how a text file is written; what the campaign says about it stands.

    Raises:
        DataError: The file cannot be read, or is binary.
    """
    encoding = find_encoding(table)
    if table.format in ("jsonl", "json"):
        return TextForm(encoding)
    sample = _Sample.of(table, encoding)
    named = _SEPARATOR_LINE.fullmatch(sample.lines[0]) if sample.lines else None
    if named is not None:
        del sample.lines[0]
    found = named[1] if named is not None else _delimiter(sample, usual_delimiter(table))
    delimiter = table.dialect.delimiter or found
    quotes, doubt = table.dialect.quotes, ""
    if quotes is None:
        quotes, doubt = _quotes(table, sample, delimiter)
    marks = any('"' in line for line in sample.lines)
    return TextForm(encoding, sample.newline, delimiter, quotes, marks, int(named is not None), doubt)


@dataclass(frozen=True, slots=True)
class _Sample:
    """The first lines of a file; ``is_cut`` if there are more."""

    lines: list[str]
    newline: str
    is_cut: bool

    @classmethod
    def of(cls, table: Table, encoding: str) -> _Sample:
        lines, is_cut = _first_lines(read_lines(table, encoding))
        if len(lines) == 1 and "\r" in lines[0].rstrip("\r\n"):  # old Macintosh
            lines, is_cut = _first_lines(read_lines(table, encoding, "\r"))
            return cls(lines, "\r", is_cut)
        return cls(lines, "\n", is_cut)

    def rows(self, delimiter: str, *, quotes: bool) -> Cells | None:
        """The rows by these rules; None if they are not valid by them."""
        numbered = enumerate(self.lines, 1)
        rows: Cells = []
        try:
            for _, cells in split_rows(numbered, delimiter, quotes=quotes):
                rows.append(cells)
        except RowError as exc:
            if not (self.is_cut and "end of data" in str(exc)):
                return None
        return rows[:-1] if self.is_cut and quotes and len(rows) > 1 else rows


def _first_lines(lines: Iterator[tuple[int, str]]) -> tuple[list[str], bool]:
    taken: list[str] = []
    length = 0
    for _, line in lines:
        if length > _SAMPLE:
            return taken, True
        taken.append(line)
        length += len(line)
    return taken, False


class RowError(ValueError):
    """A row that is not valid CSV; ``number`` is its first line."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def table_rows(table: Table, form: TextForm) -> Iterator[tuple[int, list[str]]]:
    """Read the rows of a delimited file, the header included, each with the number of its first line.

    Raises:
        DataError: The file cannot be read.
        RowError: A row is not valid CSV.
    """
    lines = islice(read_lines(table, form.encoding, form.newline), form.skipped, None)
    yield from split_rows(lines, form.delimiter, quotes=form.quotes, first=1 + form.skipped)


def split_rows(
    lines: Iterator[tuple[int, str]], delimiter: str, *, quotes: bool, first: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Split lines into rows of cells; empty lines are left out.

    Args:
        lines: Numbered lines with their ends.
        delimiter: What separates cells.
        quotes: True to read cells in quotation marks as CSV does.
        first: The number of the first line.

    Yields:
        The number of each row's first line, and its cells.

    Raises:
        RowError: A quote is left open or doubled wrongly, or a row is too long.
    """
    if not quotes:
        for number, line in lines:
            if text := line.rstrip("\r\n"):
                yield number, text.split(delimiter)
        return
    csv.field_size_limit(MAX_ROW)
    counted = _Counted(lines)
    reader = csv.reader(counted, delimiter=delimiter, strict=True)
    start = first
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = first + reader.line_num
            counted.length = 0
    except csv.Error as exc:
        raise RowError(start, str(exc)) from exc


class _Counted:
    """Lines for the CSV reader, as long as a row is not longer than the limit."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self.length = 0

    def __iter__(self) -> Iterator[str]:
        for _, line in self._lines:
            self.length += len(line)
            if self.length > MAX_ROW:
                raise csv.Error(f"a row of more than {MAX_ROW:,} characters")
            yield line


# -- delimiter and quotes --------------------------------------------------------------------------------


def _delimiter(sample: _Sample, usual: str) -> str:
    """The usual delimiter if it fits every row, else the one that fits most rows."""
    fits = {delimiter: _fit(sample, delimiter) for delimiter in (usual, *DELIMITERS)}
    if fits[usual] == 1.0:
        return usual
    best = max(fits, key=lambda delimiter: fits[delimiter])
    return best if fits[best] >= _LEAST_SHARE else usual


def _fit(sample: _Sample, delimiter: str) -> float:
    """Share of rows as wide as the first, which has several cells; the better of quoted and unquoted reading."""
    read = (sample.rows(delimiter, quotes=quotes) for quotes in (True, False))
    return max(_share(rows) for rows in read)


def _share(rows: Cells | None) -> float:
    if not rows or len(rows[0]) < 2:
        return 0.0
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def _quotes(table: Table, sample: _Sample, delimiter: str) -> tuple[bool, str]:
    """Whether cells are quoted as in CSV, and what is doubtful about it."""
    quoted, bare = sample.rows(delimiter, quotes=True), sample.rows(delimiter, quotes=False)
    several = bool(bare) and len(bare[0]) > 1 if bare is not None else False
    if delimiter != "\t":
        merged = several and _share(quoted) == _share(bare) == 1.0 and len(quoted or ()) < len(bare or ())
        return True, _merged_doubt(table, quoted or []) if merged else ""
    if not several:
        return _is_even(quoted), ""
    if not _is_even(quoted) or not _is_even(bare):
        return _is_even(quoted), ""
    return len(quoted or ()) == len(bare or ()) and _looks_quoted(bare or []), ""


def _is_even(rows: Cells | None) -> bool:
    return rows is not None and all(len(row) == len(rows[0]) for row in rows)


def _looks_quoted(bare: Cells) -> bool:
    """Whether a program quoted these cells: it doubled marks within them, or quoted a whole column."""
    framed = [[_is_framed(cell) for cell in row] for row in bare]
    doubled = any(
        is_framed and '""' in cell[1:-1]
        for row, marks in zip(bare, framed, strict=True)
        for cell, is_framed in zip(row, marks, strict=True)
    )
    return doubled or any(len(bare) > 2 and all(column) for column in zip(*framed, strict=True))


def _is_framed(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _merged_doubt(table: Table, quoted: Sequence[Sequence[str]]) -> str:
    position = next((n for n, row in enumerate(quoted, 1) if any("\n" in cell for cell in row)), 0)
    return (
        f"{table.name}, row {position}: a cell in quotation marks spans several lines, each of which could be a row. "
        "If the marks are part of the texts, use --no-quotes (data.quotes: false)."
    )


def describe(table: Table, form: TextForm) -> str:
    """How the file was read, for people: ``tickets.csv: separated by semicolons, Windows-1252``."""
    parts = []
    if form.delimiter:
        parts.append(f"cells separated by {DELIMITERS.get(form.delimiter, repr(form.delimiter))}")
    parts.append(f"encoding {_encoding_name(form.encoding)}")
    if form.newline == "\r":
        parts.append("lines end in CR")
    if form.delimiter and form.has_quotation_marks and not form.quotes:
        parts.append("quotation marks are part of the texts")
    if form.delimiter and not table.dialect.header:
        parts.append("no header")
    return f"{table.name}: {', '.join(parts)}."


def reading_note(table: Table) -> str | None:
    """How a text file was read, if that is not what its suffix promises.

    Raises:
        DataError: The file cannot be read, or is binary.
    """
    if table.format not in TEXT_FORMATS:
        return None
    form = text_form(table)
    return None if is_usual(table, form) else f"Reading {describe(table, form)}"


def is_usual(table: Table, form: TextForm) -> bool:
    """True if the file is UTF-8, with the delimiter of its suffix and nothing else to mention."""
    plain = form.encoding in (UTF_8, UTF_8_MARKED) and form.newline == "\n" and table.dialect.header
    if not form.delimiter:
        return plain
    marks = form.quotes or not form.has_quotation_marks
    return plain and form.delimiter == usual_delimiter(table) and marks


def _encoding_name(encoding: str) -> str:
    names = {
        UTF_8: "UTF-8",
        UTF_8_MARKED: "UTF-8 with a byte order mark",
        "cp1252": "Windows-1252",
        "cp932": "Shift-JIS",
    }
    if encoding in names:
        return names[encoding]
    return f"Windows-{encoding[2:]}" if encoding.startswith("cp125") else encoding.upper()
