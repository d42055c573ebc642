"""Which kind of task a user's data are for, and the settings of such a task, as far as the data tell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from star_al.app.guessing import (
    LONG_CELL,
    doubts,
    guess_answers,
    guess_text,
    is_scale,
    label_columns,
    labels_in,
    refuse_other_values,
)
from star_al.app.init_request import CampaignRequest
from star_al.config.spec import (
    LABEL_COLUMNS,
    NONE,
    NONE_OF_THESE,
    PreferenceSpec,
    is_number,
    normalise_label,
)
from star_al.data.columns import Column, Profile
from star_al.data.readers import read_rows
from star_al.errors import ConfigError, DataError
from star_al.task.conversation import has_completion
from star_al.task.multi_label import says_has
from star_al.task.numbers import canonical_number
from star_al.task.preference import Preference

PAIRS = (
    ("chosen", "rejected"),
    ("response_a", "response_b"),
    ("completion_a", "completion_b"),
    ("answer_a", "answer_b"),
    ("output_a", "output_b"),
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("completion_1", "completion_2"),
    ("output_1", "output_2"),
)
"""Usual names of the columns of two completions; the first of these names is that of the better one."""

WINNERS = ("preference", "preferred", "winner", "better", "choice", "label", "better_response_id")
"""Usual names of the column that says which completion is better."""

PROMPTS = ("prompt", "question", "instruction", "problem", "query", "input", "context")
"""Usual names of the column of prompts."""

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
_MARKS = frozenset({"0", "1", "0.0", "1.0", "true", "false", "True", "False"})
"""What tells a column of a label from one with another question that is answered with yes or no."""

_READ = 1_000  # rows that are looked at
_LONG_ANSWER = 40  # characters on average, from which on answers are compared by likeness
_MOST_TOKENS = 512


@dataclass(frozen=True)
class FoundTask:
    """What a task is to be.

    Attributes:
        settings: The section ``task``, ``kind`` included, without the template.
        answers: The column of answers, if there is one.
        filled: How many rows it answers.
        labels: The list of labels that texts have; empty if there is none.
        data: Further settings of ``data``.
        doubts: What in the answers may be a mistake, a sentence each.
    """

    settings: Mapping[str, Any]
    answers: str | None
    filled: int
    labels: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    doubts: Sequence[str] = ()


# -- which kind ----------------------------------------------------------------------------------------


def with_kind(request: CampaignRequest, data: Profile, tell: Callable[[str], None]) -> CampaignRequest:
    """Return the request with the kind of task, and the columns that show it, if the data tell them.

    Args:
        request: What the user says.
        data: What the columns hold.
        tell: Called with a sentence if the kind is a guess.

    Raises:
        ConfigError: There is no such kind.
        DataError: The data lack what the kind needs.
    """
    if request.kind is not None:
        if request.kind not in KINDS:
            raise ConfigError(f"--kind {request.kind} is none of {', '.join(KINDS)}.")
        return _COMPLETE.get(request.kind, _as_it_is)(request, data)
    if request.options:
        return request
    for guess in (_guess_preference, _guess_label_sets, _guess_text):
        found = guess(request, data)
        if found is not None:
            completed, why = found
            assert completed.kind is not None
            tell(f"Task: {completed.kind} (task.kind), because {why}. --kind decides it by hand.")
            return completed
    return request


def _as_it_is(request: CampaignRequest, data: Profile) -> CampaignRequest:
    return request


def _guess_preference(request: CampaignRequest, data: Profile) -> tuple[CampaignRequest, str] | None:
    if request.labels is not None or (pair := _pair_in(data)) is None:
        return None
    if request.label_column not in (None, *pair, *_winners_in(data)):
        return None
    why = f"the columns {pair[0]!r} and {pair[1]!r} hold two completions"
    return _complete_preference(replace(request, kind="preference"), data), why


def _complete_preference(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns of completions, of prompts, and of what is better."""
    pair = tuple(request.options) or _pair_in(data)
    if pair is None:
        raise DataError(
            f"{data.table.name}: no columns of two completions are found. Name them with --options-column A,B. "
            f"Columns: {data.names}."
        )
    label = request.label_column or next(iter(_winners_in(data)), None)
    if label is None and _plain(pair[0]) == PAIRS[0][0]:
        label = pair[0]
    text = request.text_column or _prompt_in(data, {*pair, label}) or _prompt_within(data, pair)
    if text is None:
        text = guess_text(data, {name for name in (*pair, label, request.id_column) if name is not None})
    return replace(request, options=pair, label_column=label, text_column=text)


def _pair_in(data: Profile) -> tuple[str, str] | None:
    names = {_plain(name): name for name in reversed(data.columns)}
    return next(((names[one], names[other]) for one, other in PAIRS if one in names and other in names), None)


def _winners_in(data: Profile) -> list[str]:
    """Columns with a usual name that say A or B, 0 or 1, or a tie, and nothing else."""
    task = Preference(PreferenceSpec(kind="preference"))
    return [
        name
        for usual in WINNERS
        for name, column in data.columns.items()
        if _plain(name) == usual
        and column.values
        and all(task.find(("one completion", "another"), value) for value in column.values)
    ]


def _prompt_in(data: Profile, taken: set[str | None]) -> str | None:
    names = {_plain(name): name for name in reversed(data.columns) if name not in taken}
    return next((names[name] for name in PROMPTS if name in names), None)


def _prompt_within(data: Profile, pair: Sequence[str]) -> str | None:
    """The column of a completion that begins with its prompt, as a list of messages or a transcript does."""
    cells = _cells(data, pair[0])
    return pair[0] if cells and all(map(has_completion, cells)) else None


def _guess_label_sets(request: CampaignRequest, data: Profile) -> tuple[CampaignRequest, str] | None:
    found = replace(request, kind="multi_label")
    if request.label_column is not None:
        column = data.columns[request.label_column]
        if column.in_lists and column.members:
            return found, f"column {request.label_column!r} holds several labels in a row"
        return None
    marked = _marked_columns(request, data)
    taken = {*marked, *_named(request)}
    if len(marked) < 2 or (request.labels is None and label_columns(data, taken)):
        return None
    listed = ", ".join(map(repr, marked[:5])) + (", …" if len(marked) > 5 else "")
    return replace(
        found, label_columns=marked
    ), f"the columns {listed} say by 1 or 0 whether a text has a label"


def _complete_label_sets(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns with 1 and 0, unless the labels are in one column."""
    marked = _marked_columns(request, data) if request.label_column is None else ()
    return replace(request, label_columns=marked) if len(marked) >= 2 else request


def _marked_columns(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
    """The columns that say of every text yes or no; only those of the labels, if these are given."""
    found = [
        name
        for name, column in data.columns.items()
        if name not in _named(request)
        and column.values
        and {says_has(value) for value in column.values} == {True, False}
    ]
    if request.labels is None:
        return tuple(name for name in found if {*(data.columns[name].values or ())} <= _MARKS)
    by_label = {normalise_label(name): name for name in found}
    wanted = [normalise_label(label) for label in request.labels]
    return tuple(by_label[label] for label in wanted) if all(each in by_label for each in wanted) else ()


def _guess_text(request: CampaignRequest, data: Profile) -> tuple[CampaignRequest, str] | None:
    if request.labels is not None:
        return None
    name = request.label_column or _answers_in(request, data)
    if name is None or not _is_open(data.columns[name], data, name):
        return None
    completed = _complete_text(replace(request, kind="text", label_column=name), data)
    return completed, f"column {name!r} holds many different answers"


def _complete_text(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns of questions and answers."""
    label = request.label_column or _answers_in(request, data)
    text = request.text_column or _prompt_in(data, {label, request.id_column})
    return replace(request, label_column=label, text_column=text)


def _answers_in(request: CampaignRequest, data: Profile) -> str | None:
    names = {_plain(name): name for name in reversed(data.columns) if name not in _named(request)}
    if label_columns(data, set(_named(request))):
        return None
    return next((names[name] for name in ANSWERS if name in names), None)


def _is_open(column: Column, data: Profile, name: str) -> bool:
    """Whether a column holds answers rather than labels: too many to count, and long, named so, or numbers."""
    if column.values is not None or not column.filled or column.in_lists:
        return False
    if _plain(name) in ANSWERS or column.characters >= LONG_CELL * column.filled:
        return True
    return all(map(is_number, map(str, _cells(data, name))))


# -- its settings --------------------------------------------------------------------------------------


def _classification(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    labels = _labels(request, data)
    return _listed(request, data, labels, {"kind": "classification", "labels": labels}, n_rows)


def _rating(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    if request.labels is None and request.label_column is None:
        return FoundTask({"kind": "rating"}, None, 0)
    labels = sorted(_labels(request, data), key=_level)
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


def _preference(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    return FoundTask({"kind": "preference"}, request.label_column, _filled(request.label_column, data))


def _multi_label(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    if request.label_columns:
        names = tuple(request.labels or request.label_columns)
        filled = max(data.columns[name].filled for name in request.label_columns)
        settings = {"kind": "multi_label", "labels": names}
        return FoundTask(
            settings, LABEL_COLUMNS, filled, names, {"label_columns": tuple(request.label_columns)}
        )
    column = request.label_column
    names = tuple(request.labels or ()) or _members(request, data)
    filled = 0 if column is None else data.columns[column].filled + data.columns[column].empty_lists
    return FoundTask({"kind": "multi_label", "labels": names}, column, filled, names)


def _members(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
    """The labels in a column of sets of labels, the most frequent first."""
    if request.label_column is None:
        return _labels(request, data)  # says that there are none
    counts = data.columns[request.label_column].members
    spellings: dict[str, str] = {}
    totals: dict[str, int] = {}
    for name, n in (counts or {}).items():
        key = normalise_label(name)
        if key not in (NONE, NONE_OF_THESE):
            spellings.setdefault(key, name)
            totals[key] = totals.get(key, 0) + n
    if len(totals) < 2:
        found = "too many different names" if counts is None else "fewer than two labels"
        raise DataError(
            f"{data.table.name}: column {request.label_column!r} holds {found}. Name another column, or give --labels "
            "with the names."
        )
    return tuple(spellings[key] for key in sorted(totals, key=lambda key: (-totals[key], key)))


def _text(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    column = request.label_column
    settings: dict[str, Any] = {"kind": "text"}
    if column is not None:
        settings |= _answer_settings([str(cell) for cell in _cells(data, column)])
    return FoundTask(settings, column, _filled(column, data))


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
    return FoundTask(settings, column, _filled(column, data), labels, doubts=found)


def _labels(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
    """The labels that the user gives, or those in the label column."""
    if request.labels is None:
        if request.label_column is None:
            raise ConfigError(
                f"{data.table.name}: no labels given. List them with --labels, or name their column with "
                f"--label-column. Columns: {data.names}."
            )
        return labels_in(data, request.label_column)
    if len(request.labels) < 2:
        found = "only one label" if request.labels else "no label"
        raise ConfigError(f"--labels gives {found}, but a campaign needs at least two: --labels a,b.")
    if request.label_column is not None:
        refuse_other_values(data, request.label_column, request.labels)
    return tuple(request.labels)


KINDS: Mapping[str, Callable[[CampaignRequest, Profile, int], FoundTask]] = {
    "classification": _classification,
    "multiple_choice": _multiple_choice,
    "rating": _rating,
    "text": _text,
    "multi_label": _multi_label,
    "preference": _preference,
}
"""Proposes a task, by its kind."""

_COMPLETE: Mapping[str, Callable[[CampaignRequest, Profile], CampaignRequest]] = {
    "text": _complete_text,
    "multi_label": _complete_label_sets,
    "preference": _complete_preference,
}
"""Names the columns of a kind that the user has chosen."""


def _filled(column: str | None, data: Profile) -> int:
    return 0 if column is None else data.columns[column].filled


def _cells(data: Profile, name: str) -> list[Any]:
    """What the first rows hold in a column, without empty cells."""
    rows = (row.values.get(name) for row in islice(read_rows(data.table), _READ))
    return [cell for cell in rows if cell is not None and cell == cell and str(cell).strip()]  # noqa: PLR0124 (NaN)


def _plain(name: str) -> str:
    """A column's name in the form in which usual names are listed."""
    return re.sub(r"[\s\-]+", "_", name.strip().casefold())


def _named(request: CampaignRequest) -> set[str]:
    """The columns that the user names for something else than labels."""
    return {name for name in (request.text_column, request.id_column, *request.options) if name is not None}
