"""Rows that a command writes: to a file, or to standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import complain, say, say_file

if TYPE_CHECKING:
    from star_al.data import OutOptions

STANDARD_OUTPUT = "-"
"""The value of ``--out`` for standard output."""


class Format(StrEnum):
    """Formats of rows on standard output."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


Bom = Annotated[
    bool, typer.Option("--bom", help="CSV: begin with a byte order mark, so that Excel reads it as UTF-8.")
]
SpreadsheetSafe = Annotated[
    bool,
    typer.Option(
        "--spreadsheet-safe",
        help="CSV: put ' before cells that begin with =, +, -, @, tab or CR, which a spreadsheet would run.",
    ),
]


@dataclass(frozen=True, slots=True)
class RowsOut:
    """Where rows go.

    Attributes:
        out: The value of ``--out``.
    """

    out: Path

    @property
    def is_standard_output(self) -> bool:
        """True for standard output, False for a file."""
        return str(self.out) == STANDARD_OUTPUT

    def __str__(self) -> str:
        return "standard output" if self.is_standard_output else str(self.out)

    @contextmanager
    def file(self, format_: StrEnum) -> Iterator[Path]:
        """The file to write; for standard output a temporary one, which is then copied there.

        Args:
            format_: The format on standard output.
        """
        if not self.is_standard_output:
            yield self.out
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"rows.{format_.value}"
            yield path
            say_file(path)

    def tell(self, text: str) -> None:
        """Print a line that must not be mixed with the rows."""
        (complain if self.is_standard_output else say)(text)


def csv_options(bom: bool, spreadsheet_safe: bool) -> OutOptions:
    """How CSV is written; the module that writes it is imported only now."""
    from star_al.data import OutOptions

    return OutOptions(bom=bom, spreadsheet_safe=spreadsheet_safe)
