"""Predictions: the server orders its tasks by their scores, and on request they show the model's answer.

Under uncertainty sampling the lowest score comes first, among predictions of the project's model version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.client import Client
from star_al.annotators.label_studio.controls import control_of
from star_al.common.paging import pages
from star_al.errors import AnnotatorError
from star_al.task import Task
from star_al.types import Query

PREDICTIONS_PER_REQUEST = 250
"""The server takes 5 s for 2,000 of them."""


def model_version(queries: Sequence[Query]) -> str | None:
    """The model version of everything that is open: the newest round with scores; None without any."""
    rounds = [query.round_index for query in queries if query.reason.blended is not None]
    return f"star_al round {max(rounds):03d}" if rounds else None


def prediction(
    query: Query, version: str | None, config: str, task: Task, *, show: bool
) -> dict[str, Any] | None:
    """The prediction to send for a query; None if the query has no score.

    Args:
        query: The query. The score sent is 1 − its blended uncertainty.
        version: The model version, as by ``model_version``.
        config: The project's label config.
        task: Says what a label is.
        show: True to include the model's answer, if the label config can hold it and it would be a label.
    """
    if query.reason.blended is None or version is None:
        return None
    score_only = {
        "result": [],
        "score": min(max(1.0 - query.reason.blended, 0.0), 1.0),
        "model_version": version,
    }
    control = control_of(task)
    if not show or query.reason.written is None:
        return score_only
    if control.free and task.find((), query.reason.written) is None:
        return score_only  # an answer without the text that a label is read from
    with_answer = {
        **score_only,
        "result": label_config.result(query.reason.written, query.reason.confidence, control),
    }
    return with_answer if _fits(config, with_answer) else score_only


def import_predictions(
    client: Client, project_id: int, predictions: Sequence[Mapping[str, Any]]
) -> Iterator[None]:
    """Add predictions to existing tasks (key ``task``), a limited number for each step of the iterator.

    Raises:
        UnclearError: They may or may not have been added.
        AnnotatorError: The server left some of them out.
    """
    path = f"api/projects/{project_id}/import/predictions"
    for chunk in pages(predictions, PREDICTIONS_PER_REQUEST):
        yield
        created = client.send("POST", path, {}, chunk).json["created"]
        if created != len(chunk):
            raise AnnotatorError(
                f"{client.url}: project {project_id} accepted only {created} of {len(chunk)} scores and gave no "
                "reason. Check its label config in Label Studio's settings."
            )


def _fits(config: str, shown: Mapping[str, Any]) -> bool:
    errors = _interface(config).validate_prediction(dict(shown), return_errors=True)
    return not errors


@lru_cache(maxsize=1)
def _interface(config: str) -> Any:
    from label_studio_sdk.label_interface.interface import LabelInterface

    return LabelInterface(config)
