"""What `init` has found out about a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from star_al.app.init.guessing import labels_in, refuse_other_values
from star_al.app.init.request import CampaignRequest
from star_al.data.columns import Profile
from star_al.errors import ConfigError


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


def labels_of(request: CampaignRequest, data: Profile) -> tuple[str, ...]:
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


def filled(column: str | None, data: Profile) -> int:
    """How many rows a column answers."""
    return 0 if column is None else data.columns[column].filled
