"""Which kind of task a user's data are for, and the settings of such a task, as far as the data tell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from star_al.app.init.columns import cells, hardly_repeats, is_label_name, named, plain, prompts_in
from star_al.app.init.found_task import FoundTask, filled, labels_of
from star_al.app.init.guessing import LONG_CELL, doubts, guess_answers, is_scale, label_columns
from star_al.app.init.label_sets import complete_label_sets, guess_label_sets, multi_label
from star_al.app.init.pairs import complete_preference, guess_preference, preference
from star_al.app.init.questions import Ask
from star_al.app.init.request import CampaignRequest
from star_al.config.spec import is_number
from star_al.data.annotation_exports import references
from star_al.data.columns import Profile
from star_al.errors import ConfigError
from star_al.task.numbers import canonical_number

ANSWERS = (
    "answer",
    "answers",
    "completion",
    "response",
    "output",
    "target",
    "solution",
    "summary",
    "reference",
)
"""Usual names of the column of written answers."""

MARKED = r"####\s*(-?[\d,]*\.?\d+)"
"""Finds the result behind a solution, as GSM8K writes it."""

_SOLVE = "Solve the problem step by step. Then write #### and the result as a number."
_LONG_ANSWER = 40  # characters on average, from which on answers are compared by likeness
_MOST_TOKENS = 512


# -- which kind ----------------------------------------------------------------------------------------


def with_kind(
    request: CampaignRequest, data: Profile, tell: Callable[[str], None], ask: Ask | None = None
) -> CampaignRequest:
    """Return the request with the kind of task, and the columns that show it, if the data tell them.

    Args:
        request: What the user says.
        data: What the columns hold.
        tell: Called with a sentence if the kind is a guess.
        ask: Asks the user about columns that may be labels.

    Raises:
        ConfigError: There is no such kind.
        DataError: The data lack what the kind needs.
    """
    if request.kind is not None:
        if request.kind not in PROPOSALS:
            raise ConfigError(f"--kind {request.kind} is none of {', '.join(PROPOSALS)}.")
        return PROPOSALS[request.kind].complete(request, data)
    if request.options:
        return request
    guesses = (proposal.guess(request, data, ask) for proposal in reversed([*PROPOSALS.values()]))
    found = next((guess for guess in guesses if guess is not None), None)
    if found is None:
        return request
    completed, why = found
    assert completed.kind is not None
    tell(f"Task: {completed.kind} (task.kind), because {why}. --kind decides it by hand.")
    return completed


def _as_it_is(request: CampaignRequest, data: Profile) -> CampaignRequest:
    return request


def _no_guess(request: CampaignRequest, data: Profile, ask: Ask | None) -> None:
    return None


def _guess_text(
    request: CampaignRequest, data: Profile, ask: Ask | None
) -> tuple[CampaignRequest, str] | None:
    if request.labels is not None:
        return None
    name = request.label_column or _answers_in(request, data)
    if name is None or not _is_open(data, name):
        return None
    completed = _complete_text(replace(request, kind="text", label_column=name), data)
    return completed, f"column {name!r} holds many different answers"


def _complete_text(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns of questions and answers."""
    label = request.label_column or _answers_in(request, data)
    text = request.text_column or prompts_in(data, {label, request.id_column})
    return replace(request, label_column=label, text_column=text)


def _answers_in(request: CampaignRequest, data: Profile) -> str | None:
    names = {plain(name): name for name in reversed(data.columns) if name not in named(request)}
    if label_columns(data, set(named(request))):
        return None
    return next((names[name] for name in ANSWERS if name in names), None)


def _is_open(data: Profile, name: str) -> bool:
    """Whether a column holds answers rather than labels: too many to count, and named so, or long or numbers."""
    column = data.columns[name]
    if column.values is not None or not column.filled or column.in_lists:
        return False
    found = cells(data, name)
    if any(isinstance(cell, dict) and references(cell) is None for cell in found):
        return False
    if plain(name) in ANSWERS and not is_label_name(name):
        return True
    is_long = column.characters >= LONG_CELL * column.filled
    return (is_long or all(is_number(str(cell)) for cell in found)) and hardly_repeats(data, name)


# -- its settings --------------------------------------------------------------------------------------


def _classification(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    labels = labels_of(request, data)
    return _listed(request, data, labels, {"kind": "classification", "labels": labels}, n_rows)


def _rating(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    if request.labels is None and request.label_column is None:
        return FoundTask({"kind": "rating"}, None, 0)
    labels = sorted(labels_of(request, data), key=_level)
    if not is_scale(labels):
        raise ConfigError(
            f"{data.table.name}: --kind rating needs the whole numbers from 1 as labels, and not "
            f"{', '.join(labels[:10])}."
        )
    found = _listed(request, data, labels, {"kind": "rating", "levels": len(labels)}, n_rows)
    return replace(found, doubts=())


def _level(label: str) -> float:
    return float(label) if is_number(label) else float("inf")


def _multiple_choice(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    return _listed(request, data, (), {"kind": "multiple_choice"}, n_rows)


def _text(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    column = request.label_column
    settings: dict[str, Any] = {"kind": "text"}
    if column is not None:
        settings |= _answer_settings([answer for cell in cells(data, column) for answer in _answers(cell)])
    return FoundTask(settings, column, filled(column, data))


def _answers(cell: Any) -> list[str]:
    """The answers in a cell, each of which is right."""
    several = references(cell)
    return list(map(str, [cell] if several is None else several))


def _answer_settings(answers: Sequence[str]) -> dict[str, Any]:
    """How answers are read and graded, and how long they may be, by some of them."""
    if not answers:
        return {}
    longest = {"max_answer_tokens": _tokens(max(map(len, answers)))}
    if all(re.search(MARKED, answer) for answer in answers):
        return {"instruction": _SOLVE, "answer": {"pattern": MARKED, "read_as": "number"}, **longest}
    if all(canonical_number(answer) is not None for answer in answers):
        return {"answer": {"read_as": "number"}, **longest}
    is_long = sum(map(len, answers)) >= _LONG_ANSWER * len(answers)
    return {"metric": "rouge_l", **longest} if is_long else longest


def _tokens(characters: int) -> int:
    """Tokens that an answer of so many characters has at most, as a round number: digits have one each."""
    expected = characters if characters <= 32 else 32 + (characters - 32) / 2
    return min(
        _MOST_TOKENS, next(size for size in (16, 32, 64, 128, 256, _MOST_TOKENS, 10**9) if size >= expected)
    )


def _listed(
    request: CampaignRequest, data: Profile, labels: Sequence[str], settings: dict[str, Any], n_rows: int
) -> FoundTask:
    """A task with a closed list of labels, and the column that holds nothing else."""
    column = request.label_column or guess_answers(data, labels, n_rows)
    found = () if column is None else tuple(doubts(data, column, labels))
    return FoundTask(settings, column, filled(column, data), labels, doubts=found)


@dataclass(frozen=True)
class Proposal:
    """How `init` proposes a kind of task.

    Attributes:
        propose: Makes the task's settings, by the request, what the columns hold, and the number of rows.
        complete: Names the columns of a task whose kind the user has chosen.
        guess: Returns the request with this kind and its columns, and why the data show it; None if they do not.
    """

    propose: Callable[[CampaignRequest, Profile, int], FoundTask]
    complete: Callable[[CampaignRequest, Profile], CampaignRequest] = _as_it_is
    guess: Callable[[CampaignRequest, Profile, Ask | None], tuple[CampaignRequest, str] | None] = _no_guess


PROPOSALS: Mapping[str, Proposal] = {
    "classification": Proposal(_classification),
    "multiple_choice": Proposal(_multiple_choice),
    "rating": Proposal(_rating),
    "text": Proposal(_text, _complete_text, _guess_text),
    "multi_label": Proposal(multi_label, complete_label_sets, guess_label_sets),
    "preference": Proposal(preference, complete_preference, guess_preference),
}
"""By kind of task. The last kind guesses first: those before it are found in almost any data."""
