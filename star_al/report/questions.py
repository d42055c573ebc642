"""The table of questions: what was asked, what was answered, and why it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from star_al.report.render import json_for_page
from star_al.report.snapshot import AskedQuery
from star_al.types import Item, JsonValue, QueryState, Role

TEXT_CUT, WHY_CUT, ANSWERS_CUT = 300, 240, 200
"""Characters of a text, a reason and the answers that a cell shows."""

COLUMNS = ("Round", "Rank", "Text", "Prediction", "Confidence", "Label", "Score", "Notes", "Answers")
"""Headings of the table. The reason, which a row has after its last column, is shown below the text."""


@dataclass(frozen=True)
class Questions:
    """The table: the choices of its filters, and its rows as JSON lists: ``COLUMNS``, then the reason."""

    n: int
    rounds: tuple[int, ...]
    notes: tuple[str, ...]
    json: str


def questions(asked: Sequence[AskedQuery], texts: Mapping[str, str]) -> Questions:
    """Build the table with one row per query, the newest round first; ``texts`` are by item id."""
    newest_first = sorted(
        asked, key=lambda each: -each.query.round_index
    )  # within a round in the order of asking
    rows = [_row(each, texts[each.query.item_id]) for each in newest_first]
    notes = sorted({note for each in asked for note in _notes(each)})
    rounds = tuple(sorted({each.query.round_index for each in asked}))
    return Questions(len(rows), rounds, tuple(notes), json_for_page({"columns": COLUMNS, "rows": rows}))


def _row(each: AskedQuery, text: str) -> list[JsonValue]:
    query, reason = each.query, each.query.reason
    answers = (f"{name}: {'skip' if value is None else value}" for name, value in each.answers.items())
    return [
        query.round_index,
        query.rank,
        text,
        _shown(reason.predicted),
        None if reason.confidence is None else round(reason.confidence, 2),
        None if each.label is None else _shown(each.label.value),
        None if reason.blended is None else round(reason.blended, 3),
        _notes(each),
        cut("; ".join(answers), ANSWERS_CUT),
        cut(reason.text, WHY_CUT),
    ]


def shown_text(item: Item) -> str:
    """An item's text and options on one line, cut to what the table shows."""
    options = "  ".join(f"[{chr(65 + n)}] {option}" for n, option in enumerate(item.options))
    return cut(f"{item.text}  {options}" if options else item.text, TEXT_CUT)


def _shown(value: JsonValue) -> str | None:
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    return None if value is None else cut(str(value), 60)


def _notes(each: AskedQuery) -> list[str]:
    query = each.query
    marks = {
        query.purpose.value: query.purpose is not Role.POOL,
        "control": query.control,
        "buffer": query.buffer,
        "disputed": query.disputed,
        "open": query.state is QueryState.OPEN,
        "without label": query.state is QueryState.SKIPPED,
        "asked again": query.attempt > 1,
        "wrong prediction": each.wrong,
    }
    return [name for name, holds in marks.items() if holds]


def cut(text: str, length: int) -> str:
    """Put a text on one line of at most ``length`` characters, with an ellipsis where it is cut."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1] + "…"
