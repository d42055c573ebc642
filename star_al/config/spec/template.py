"""A template that names columns: what an item's text is made of, and what stays for the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass

RESERVED = frozenset({"text", "labels", "options"})
"""Fields of a template that are no columns of their own."""

_FIELD = re.compile(r"\{([^\W\d][\w .\-/]*)\}")


@dataclass(frozen=True, slots=True)
class SplitTemplate:
    """A template in two: what each row fills in, and the prompt around it.

    Attributes:
        prompt: The prompt, with ``{text}`` where the item's text stands.
        item_text: What an item's text is made of, with columns in braces; None if it is ``{text}`` alone.
        columns: The columns that ``item_text`` names; ``text`` stands for the text column.
    """

    prompt: str
    item_text: str | None = None
    columns: tuple[str, ...] = ()


def split_template(template: str) -> SplitTemplate:
    """Split a template around the lines that name columns.

    These lines are the item's text, so that people and the model see the same, and its identity includes them.

    Raises:
        ValueError: ``{labels}`` or ``{options}`` stands between columns.
    """
    fields = list(_FIELD.finditer(template))
    if all(field[1] in RESERVED for field in fields):
        return SplitTemplate(template)
    filled = [field for field in fields if field[1] not in ("labels", "options")]
    others = [field for field in fields if field[1] in ("labels", "options")]
    start, end = filled[0].start(), filled[-1].end()
    if any(start < field.start() < end for field in others):
        raise ValueError("{labels} and {options} cannot stand between columns; move them before or after")
    start, end = _whole_lines(template, start, end, [(field.start(), field.end()) for field in others])
    columns = tuple(dict.fromkeys(field[1] for field in filled))
    return SplitTemplate(f"{template[:start]}{{text}}{template[end:]}", template[start:end], columns)


def _whole_lines(template: str, start: int, end: int, others: list[tuple[int, int]]) -> tuple[int, int]:
    """The range extended to whole lines, as far as no other field stands on them."""
    before = max([template.rfind("\n", 0, start) + 1, *(stop for _, stop in others if stop <= start)])
    line_end = template.find("\n", end)
    after = min(
        [len(template) if line_end < 0 else line_end, *(begin for begin, _ in others if begin >= end)]
    )
    return before, after


def fill_in(item_text: str, values: dict[str, str]) -> str:
    """Return the text of an item: ``item_text`` with the values of its columns."""
    return _FIELD.sub(lambda field: values[field[1]], item_text)
