"""Tables of the studies' pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.common.files import replacing

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
"""What stands between these lines of a page is written by a script."""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = [heading, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def write_tables(page: Path, text: str) -> None:
    """Put tables into a page, in place of those that it has.

    Raises:
        ValueError: The page lacks the lines that the tables stand between.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}")
    with replacing(page) as new:
        new.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
