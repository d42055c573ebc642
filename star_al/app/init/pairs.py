"""`init` for preferences: which columns hold two completions, their prompt, and which one is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from star_al.app.init.columns import cells, plain, prompt_in
from star_al.app.init.found_task import FoundTask, filled
from star_al.app.init.guessing import guess_text
from star_al.app.init.questions import Ask
from star_al.app.init.request import CampaignRequest
from star_al.config.spec import TIE, PreferenceSpec
from star_al.data.columns import Column, Profile
from star_al.data.item_labels import OPTION_KEYS, numbers_of, parse_answer
from star_al.errors import DataError
from star_al.task.conversation import has_completion
from star_al.task.preference import SIDES, Preference
from star_al.types import Item, JsonValue

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


def guess_preference(
    request: CampaignRequest, data: Profile, ask: Ask | None
) -> tuple[CampaignRequest, str] | None:
    """Return the request for a preference, and why it is one; None if it is not."""
    if request.labels is not None or (pair := _pair_in(data)) is None:
        return None
    if request.label_column not in (None, *pair, *_winners_in(data, pair)):
        return None
    why = f"the columns {pair[0]!r} and {pair[1]!r} hold two completions"
    return complete_preference(replace(request, kind="preference"), data), why


def complete_preference(request: CampaignRequest, data: Profile) -> CampaignRequest:
    """Name the columns of completions, of prompts, and of what is better.

    Raises:
        DataError: There are no columns of completions.
    """
    pair = tuple(request.options) or _pair_in(data)
    if pair is None:
        raise DataError(
            f"{data.table.name}: no columns of two completions are found. Name them with --options-column A,B. "
            f"Columns: {data.names}."
        )
    label = request.label_column or next(iter(_winners_in(data, pair)), None)
    if label is None and plain(pair[0]) == PAIRS[0][0]:
        label = pair[0]
    text = request.text_column or prompt_in(data, {*pair, label}) or _prompt_within(data, pair)
    if text is None:
        text = guess_text(data, {name for name in (*pair, label, request.id_column) if name is not None})
    return replace(request, options=pair, label_column=label, text_column=text)


def preference(request: CampaignRequest, data: Profile, n_rows: int) -> FoundTask:
    """Propose the task."""
    label = request.label_column
    doubts = () if label is not None else tuple(_unread_winners(data, request.options))
    return FoundTask({"kind": "preference"}, label, filled(label, data), doubts=doubts)


def _pair_in(data: Profile) -> tuple[str, str] | None:
    names = {plain(name): name for name in reversed(data.columns)}
    return next(((names[one], names[other]) for one, other in PAIRS if one in names and other in names), None)


def _winners_in(data: Profile, pair: Sequence[str]) -> list[str]:
    """Columns with a usual name that say which one of a pair is better, or that it is a tie, and nothing else."""
    return [name for name, column in _usual_winners(data) if column.values and not _unread_in(column, pair)]


def _unread_winners(data: Profile, pair: Sequence[str]) -> list[str]:
    """Say of columns with a usual name that they cannot be read."""
    words = (*numbers_of(pair), *SIDES, TIE)
    return [
        f"{data.table.name}: column {name!r} is not used, as it holds {unread} and not {', '.join(words[:-1])} or "
        f"{words[-1]}, which would say what of {pair[0]!r} and {pair[-1]!r} is better."
        for name, column in _usual_winners(data)
        if (unread := _unread_in(column, pair))
    ]


def _usual_winners(data: Profile) -> list[tuple[str, Column]]:
    columns = data.columns.items()
    return [(name, column) for usual in WINNERS for name, column in columns if plain(name) == usual]


def _unread_in(column: Column, pair: Sequence[str]) -> str:
    """A value that does not say which one of a pair is better, in words; empty if all do."""
    if column.values is None:
        return "too many different values"
    task = Preference(PreferenceSpec(kind="preference"))
    numbers: list[JsonValue] = [*numbers_of(pair)]
    item = Item("", "", ("one completion", "another"), fields={OPTION_KEYS: numbers} if numbers else {})
    for value in column.values:
        try:
            parse_answer(task, item, value)
        except DataError:
            return repr(value)
    return ""


def _prompt_within(data: Profile, pair: Sequence[str]) -> str | None:
    """The column of a completion that begins with its prompt, as a list of messages or a transcript does."""
    found = cells(data, pair[0])
    return pair[0] if found and all(map(has_completion, found)) else None
