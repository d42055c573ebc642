"""What `init` has found out about a user's data: the kind of task, the columns of texts and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from star_al.app.init.found_task import FoundTask
from star_al.app.init.guessing import guess_text
from star_al.app.init.kinds import PROPOSALS, with_kind
from star_al.app.init.questions import Ask, with_answers
from star_al.app.init.reading import read_data, text_columns_of
from star_al.app.init.request import CampaignRequest
from star_al.data.columns import Profile
from star_al.data.dialects import TextForm
from star_al.data.languages import TEXTS_READ
from star_al.data.readers import read_rows
from star_al.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FoundData:
    """What the data are, as far as the user says it or they tell it.

    Attributes:
        request: What the user says, with what was found out since.
        form: How a text file is written; None for other formats.
        data: What the columns hold.
        columns: The columns of the text.
        kind: The kind of task.
        task: The task.
    """

    request: CampaignRequest
    form: TextForm | None
    data: Profile
    columns: Sequence[str]
    kind: str
    task: FoundTask

    @property
    def n_rows(self) -> int:
        """How many rows have a text."""
        return _rows_with_text(self.data, self.columns)

    @property
    def characters(self) -> float:
        """How long a text is, on average."""
        return sum(self.data.columns[name].characters for name in self.columns) / max(1, self.n_rows)

    def sample(self) -> list[str]:
        """The first texts, as many as tell the language."""
        rows = (row.values for row in islice(read_rows(self.data.table), TEXTS_READ))
        return [" ".join(str(row[name]) for name in self.columns if row.get(name)) for row in rows]


def look_at(
    request: CampaignRequest, say: Callable[[str], None], ask: Ask | None, tell: Callable[[str], None]
) -> FoundData:
    """Read the data, and find the kind of task, the columns of texts and the labels.

    Args:
        request: What the user says.
        say: Called with each sentence about a doubt.
        ask: Asks the user what cannot be told from the data; without it, guesses stand.
        tell: Called with a sentence if the kind of task is a guess.

    Raises:
        DataError: The data cannot be read, or lacks a named column or usable labels.
        ConfigError: The labels do not go together, or a column is to hold both texts and labels.
    """
    request, form, data = read_data(request, say, ask)
    request = with_kind(request, data, tell, ask)
    if ask is not None:
        request = with_kind(with_answers(request, data, ask), data, tell)
    columns = _text_columns(request, data)
    kind = request.kind or ("multiple_choice" if request.options else "classification")
    task = PROPOSALS[kind].propose(request, data, _rows_with_text(data, columns))
    for doubt in task.doubts:
        say(doubt)
    return FoundData(request, form, data, columns, kind, task)


def _text_columns(request: CampaignRequest, data: Profile) -> Sequence[str]:
    """The columns of the text.

    Raises:
        ConfigError: One of them is the column of labels.
    """
    named = [request.label_column, request.text_column, request.id_column, *request.options]
    columns = text_columns_of(request, data) or [
        guess_text(data, {name for name in named if name is not None})
    ]
    if request.label_column in columns and request.label_column not in request.options:
        raise ConfigError(
            f"{data.table.name}: column {request.label_column!r} cannot hold both the texts and the labels. Name "
            f"another --text-column or --label-column. Columns: {data.names}."
        )
    return columns


def _rows_with_text(data: Profile, columns: Sequence[str]) -> int:
    return max(data.columns[name].filled for name in columns)
