"""Tables of the studies' pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from star_al.common.files import replacing

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
"""What stands between these lines of a page is written by a script."""


Record: TypeAlias = Mapping[str, Any]
"""What is kept of a finished cell."""


def by_set_and_labels(
    records: Sequence[Record], part: str, order: Sequence[str]
) -> Iterator[tuple[str, dict[str, list[Record]]]]:
    """Yield a heading and the records by their ``part``, for each set and number of labels.

    Args:
        records: Records with ``set``, ``labels`` and ``part``.
        part: The key whose values are compared.
        order: The sets, in the order of the page.
    """
    groups: dict[tuple[str, int], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record["set"], record["labels"]][record[part]].append(record)
    for name, labels in sorted(groups, key=lambda key: (order.index(key[0]), key[1])):
        yield f"### {name}, {labels} labels", groups[name, labels]


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
