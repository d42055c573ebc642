"""Who answers the questions of a first campaign, and which labels need not be given again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from star_al.app.init.found_task import FoundTask
from star_al.app.init.request import CampaignRequest
from star_al.common.wording import count
from star_al.data.columns import Profile
from star_al.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers come from.

    Attributes:
        annotator: The section ``annotator``.
        given: A column of labels that people need not give again; None without one.
        n_given: How many labels it holds.
    """

    annotator: Mapping[str, str | None]
    given: str | None = None
    n_given: int = 0


def find_answers(
    request: CampaignRequest, data: Profile, task: FoundTask, n_rows: int, say: Callable[[str], None]
) -> Answers:
    """Let an oracle answer from a column that has every answer, unless the user wants people to; else people.

    Args:
        request: What the user says.
        data: What the columns hold.
        task: The task, with its column of answers.
        n_rows: How many texts there are.
        say: Called with a sentence about labels that there are already.

    Raises:
        ConfigError: The user wants an oracle, and no column has every answer.
    """
    is_complete = task.filled >= n_rows
    if is_complete and request.annotator in (None, "oracle"):
        return Answers({"kind": "oracle", "gold": task.answers})
    if request.annotator == "oracle":
        found = "no column has one" if task.answers is None else f"column {task.answers!r} has gaps"
        raise ConfigError(
            f"{data.table.name}: a rehearsal needs a column with a label in every row, and {found}. Name such a "
            "column with --label-column, or use --annotator label_studio to have people label."
        )
    people = {"kind": request.annotator or "label_studio"}
    if not task.filled:
        return Answers(people)
    where = f"{data.table.name}: column {task.answers!r}"
    if is_complete:
        say(f"{where} labels every row. It is not used: people label all texts again.")
        return Answers(people)
    say(f"{where} has {count(task.filled, 'label')}, which the first round trains on (data.label).")
    return Answers(people, task.answers, task.filled)
