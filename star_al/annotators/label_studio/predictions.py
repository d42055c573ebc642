"""Predictions: by their scores the server orders its tasks, and only if wanted do they show the model's answer.

Under uncertainty sampling the lowest score comes first, among predictions of the project's model version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.client import Server
from star_al.errors import AnnotatorError
from star_al.types import Query

AT_ONCE = 250
"""Predictions in one request; 2,000 take the server 5 s."""


def version(queries: Sequence[Query]) -> str | None:
    """The model version for all that is open: the newest round with scores; null without any."""
    rounds = [query.round_index for query in queries if query.reason.blended is not None]
    return f"star_al round {max(rounds):03d}" if rounds else None


def prediction(query: Query, model_version: str | None, config: str, *, show: bool) -> dict[str, Any] | None:
    """What the server is told of a query's uncertainty; null for one without.

    The score is 1 − blended uncertainty. The answer goes along if ``show`` and the label config can hold it.
    """
    if query.reason.blended is None or model_version is None:
        return None
    made = {
        "result": [],
        "score": min(max(1.0 - query.reason.blended, 0.0), 1.0),
        "model_version": model_version,
    }
    if not show or query.reason.predicted is None:
        return made
    shown = {**made, "result": label_config.answer(query.reason.predicted, query.reason.confidence)}
    return shown if _holds(config, shown) else made


def add(server: Server, project: int, predictions: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Add predictions to existing tasks (``task``), a bounded number for each step of the iterator.

    Raises:
        UnclearError: nobody can say whether they were added.
        AnnotatorError: the server left some out.
    """
    path = f"api/projects/{project}/import/predictions"
    for start in range(0, len(predictions), AT_ONCE):
        yield
        chunk = list(predictions[start : start + AT_ONCE])
        created = server.send("POST", path, {}, chunk).json["created"]
        if created != len(chunk):
            raise AnnotatorError(
                f"{server.url}: project {project} took {created} of {len(chunk)} scores, without a reason. "
                "Look at its label config in Label Studio's settings."
            )


def _holds(config: str, shown: Mapping[str, Any]) -> bool:
    errors = _interface(config).validate_prediction(dict(shown), return_errors=True)
    return not errors


@lru_cache(maxsize=1)
def _interface(config: str) -> Any:
    from label_studio_sdk.label_interface.interface import LabelInterface

    return LabelInterface(config)
