"""Rows of tables whose first row names the columns: CSV and its dialects, and Excel."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from star_al.common.wording import count
from star_al.data.dialects import DELIMITERS, RowError, TextForm, table_rows, text_form
from star_al.data.limits import LARGE, MAX_COLUMNS, MAX_RATIO, expands, too_many_columns
from star_al.data.rows import Row
from star_al.data.source import Table
from star_al.data.text_files import read_errors
from star_al.errors import DataError


def delimited_rows(table: Table) -> Iterator[Row]:
    """Read a .csv or .tsv file, in the dialect that the campaign says or that is found.

    Raises:
        DataError: The file cannot be read, or a row does not fit the header.
    """
    form = text_form(table)
    rows = table_rows(table, form)
    header: _Header | None = None
    try:
        for number, cells in rows:
            if header is None:
                header = _Header.of(table, number, cells)
                if table.dialect.header:
                    continue
            yield Row(number, header.record(table, number, cells, _advice(form)))
    except RowError as exc:
        raise DataError(
            f"{table.place(exc.number)}: not valid CSV ({exc}). Is a quote left open, or doubled wrongly? "
            "If quotation marks are part of the texts, use data.quotes: false (--no-quotes of init)."
        ) from exc


def _advice(form: TextForm) -> str:
    name = DELIMITERS.get(form.delimiter, repr(form.delimiter))
    if form.quotes:
        return (
            f"The file was read as separated by {name}. Quote cells that hold the delimiter, or name the right one "
            "(data.delimiter, or --delimiter of init)."
        )
    return (
        f"The file was read as separated by {name}, without quoted cells. If cells in quotation marks may span "
        "lines, use data.quotes: true (--quotes of init)."
    )


class _Header:
    """The names of a table's columns."""

    def __init__(self, names: Sequence[str], unnamed: Sequence[int] = ()) -> None:
        self._names = list(names)
        self._unnamed = frozenset(unnamed)

    @classmethod
    def of(cls, table: Table, number: int, cells: Sequence[str]) -> _Header:
        """The header that a table's first row makes.

        Raises:
            DataError: It names a column twice, or is no text.
        """
        if len(cells) > MAX_COLUMNS:
            raise DataError(f"{table.place(number)}: {too_many_columns(len(cells))}")
        if not table.dialect.header:
            return cls([f"column_{n}" for n in range(1, len(cells) + 1)])
        if any("\0" in name for name in cells):
            raise DataError(
                f"{table.place(number)}: the header holds NUL bytes. Is the file binary? Save it as UTF-8 text."
            )
        unnamed = [n for n, name in enumerate(cells) if not name.strip()]
        names = list(cells)
        if len(unnamed) > 1:
            for n in unnamed:
                names[n] = f"column_{n + 1}"
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                f"{table.place(number)}: the header names {twice[0]!r} twice. Rename one of the columns."
            )
        return cls(names, unnamed)

    def record(self, table: Table, number: int, cells: Sequence[Any], advice: str) -> dict[str, Any]:
        """A row's values by column; a column without a name is there only where it holds something.

        Raises:
            DataError: The row has more or fewer cells than the header.
        """
        if len(cells) != len(self._names):
            raise DataError(
                f"{table.place(number)}: {count(len(cells), 'cell')}, but the header has {len(self._names):,}. {advice}"
            )
        if not self._unnamed:
            return dict(zip(self._names, cells, strict=True))
        return {
            name: cell
            for n, (name, cell) in enumerate(zip(self._names, cells, strict=True))
            if n not in self._unnamed or not _is_blank(cell)
        }


def unnamed_columns(table: Table) -> list[int]:
    """The numbers, from 1, of the columns that a delimited file's header does not name, if there are several."""
    if table.format not in ("csv", "tsv") or not table.dialect.header:
        return []
    form = text_form(table)
    _, cells = next(table_rows(table, form), (0, []))
    unnamed = [n for n, name in enumerate(cells, 1) if not name.strip()]
    return unnamed if len(unnamed) > 1 else []


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


# -- Excel -----------------------------------------------------------------------------------------------


def excel_rows(table: Table) -> Iterator[Row]:
    """Read the first sheet of an Excel file; empty rows are left out.

    Raises:
        DataError: The file cannot be read, or openpyxl is not installed.
    """
    with read_errors(table):
        header: _Header | None = None
        for number, cells in _sheet_rows(table):
            if header is None:
                while cells and _is_blank(cells[-1]):
                    cells.pop()
                header = _Header.of(table, number, ["" if cell is None else str(cell) for cell in cells])
                width = len(cells)
                if table.dialect.header:
                    continue
            while len(cells) > width and _is_blank(cells[-1]):
                cells.pop()
            cells += [None] * (width - len(cells))
            yield Row(number, header.record(table, number, cells, "Name the column in the first row."))


def _sheet_rows(table: Table) -> Iterator[tuple[int, list[Any]]]:
    """Numbered rows of the first sheet that hold anything."""
    book = _workbook(table)
    try:
        if not book.worksheets:
            return
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says about its size may be wrong
        rows: Iterable[Sequence[Any]] = sheet.iter_rows(values_only=True)
        for number, cells in enumerate(rows, 1):
            if not all(map(_is_blank, cells)):
                yield number, list(cells)
    finally:
        book.close()


def other_sheets(table: Table) -> list[str]:
    """The names of an Excel file's sheets that are not read."""
    if table.format != "xlsx":
        return []
    book = _workbook(table)
    try:
        return [str(name) for name in book.sheetnames[1:]]
    finally:
        book.close()


def _workbook(table: Table) -> Any:
    _refuse_bomb(table)
    openpyxl = _openpyxl(table)
    try:
        return openpyxl.load_workbook(table.path, read_only=True, data_only=True)
    except Exception as exc:  # openpyxl raises errors of many kinds for damaged files
        raise DataError(f"{table.name}: not a readable Excel file ({exc}). Save it as .xlsx again.") from exc


def _openpyxl(table: Table) -> Any:
    try:
        import openpyxl
    except ImportError as exc:
        raise DataError(
            f"{table.name}: Excel files are read by openpyxl, which is not installed. "
            "Install it with: pip install 'star-al[excel]'. Or save the file as CSV."
        ) from exc
    return openpyxl


def _refuse_bomb(table: Table) -> None:
    """Check, before anything is unpacked, that no part of the file expands too much."""
    if table.path is None:
        return
    try:
        with zipfile.ZipFile(table.path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as exc:
        raise DataError(f"{table.name}: not a readable Excel file ({exc}). Save it as .xlsx again.") from exc
    for part in parts:
        if part.file_size > max(LARGE // 16, MAX_RATIO * part.compress_size) or part.file_size > LARGE:
            raise DataError(f"{table.name}: {expands(table.path.stat().st_size)}")
