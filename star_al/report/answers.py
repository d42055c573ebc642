"""What the model answered to held-out texts where answers are open: wrong and right ones side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_al.report.formatting import number, percent
from star_al.report.questions import cut
from star_al.report.snapshot import GradedAnswer

SHOWN = 50
"""How many wrong and how many right answers the page shows."""

TEXT_CUT, ANSWER_CUT = 300, 400
"""Characters of a text and of an answer that a cell shows."""


@dataclass(frozen=True)
class AnswerRow:
    """A row of the page."""

    text: str
    answer: str
    gold: str
    confidence: str
    grade: str


@dataclass(frozen=True)
class AnswersSideBySide:
    """The most confident wrong and right answers, and how many there are of each."""

    wrong: tuple[AnswerRow, ...]
    right: tuple[AnswerRow, ...]
    n_wrong: int
    n_right: int
    graded: bool


def side_by_side(answers: Sequence[GradedAnswer]) -> AnswersSideBySide | None:
    """Arrange answers, the most confident first; None without any."""
    if not answers:
        return None
    ordered = sorted(answers, key=lambda each: -each.confidence)
    wrong, right = ([each for each in ordered if each.right is is_right] for is_right in (False, True))
    return AnswersSideBySide(
        wrong=tuple(map(_row, wrong[:SHOWN])),
        right=tuple(map(_row, right[:SHOWN])),
        n_wrong=len(wrong),
        n_right=len(right),
        graded=any(each.grade not in (0.0, 1.0) for each in answers),
    )


def _row(each: GradedAnswer) -> AnswerRow:
    answer = "no answer found" if each.answer is None else cut(each.answer, ANSWER_CUT)
    gold = cut(each.gold, ANSWER_CUT)
    return AnswerRow(
        cut(each.text, TEXT_CUT), answer, gold, percent(each.confidence, 0), number(each.grade, 2)
    )
