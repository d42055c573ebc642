"""Tasks on the server: what they contain, and how they are listed, imported and deleted.

A task carries its query's id as ``star_uid``, both in its data and in ``meta``, which can be listed without
the texts. ``meta`` also names the campaign.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from star_al.annotators.label_studio.client import Client, UnclearError
from star_al.annotators.label_studio.controls import OPTIONS, TEXT
from star_al.common.paging import pages

QUERY_KEY, CAMPAIGN_KEY, SENT_KEY = "star_uid", "star_al", "star_sent"
"""Where a task carries the id of its query (``data`` and ``meta``), its campaign's key and a hash of what was sent
(both ``meta``)."""

PAGE = 1000
"""Tasks in one page of a listing; 1,000 without texts take 0.2 s."""

IDS_PER_REQUEST = 250
"""Ids in the address of one request; some proxies refuse longer addresses."""

DELETED_PER_REQUEST = 500

CHUNK_TASKS, CHUNK_BYTES = 250, 2_000_000
"""Limits of one import, so that it ends well within the time limit; a larger task goes alone."""

Payload = Mapping[str, Any]
"""A task as it is imported."""


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as the server lists it.

    Attributes:
        task_id: Its number on the server.
        query_id: The query it belongs to; None for a task that is not from a campaign.
        created_at: Tells it from an earlier task of the same number: SQLite reuses numbers.
        n_annotations: Its annotations, including skips.
        n_labels: Its annotations without the skips.
        n_answers: The people whose annotations can be used; second ones of a person and refused ones are not counted.
        overlap: How many annotations it may have.
        campaign_key: The campaign that made it; None if it does not say.
        sent: A hash of the content it was created with; None if it does not say.
        content: A hash of its content now; None if that was not listed.
    """

    task_id: int
    query_id: str | None
    created_at: str
    n_annotations: int = 0
    n_labels: int = 0
    n_answers: int = 0
    overlap: int = 1
    campaign_key: str | None = None
    sent: str | None = None
    content: str | None = None


def list_tasks(client: Client, project_id: int) -> list[ListedTask]:
    """All tasks of a project, without looking at their annotations."""
    listed = [_listed_task(raw) for raw in _pages(client, project_id, [], _TASK_FIELDS)]
    unnamed = [task.task_id for task in listed if task.query_id is None]
    query_ids = {
        raw["id"]: _text(raw.get("data"), QUERY_KEY)
        for ids in pages(unnamed, IDS_PER_REQUEST)
        for raw in _pages(client, project_id, [], "id,data", ids)
    }
    return [replace(task, query_id=task.query_id or query_ids.get(task.task_id)) for task in listed]


def list_annotated(
    client: Client, project_id: int, since: datetime | None = None
) -> list[tuple[ListedTask, Sequence[object]]]:
    """Tasks that have annotations, with these as raw JSON.

    Args:
        client: The server.
        project_id: The project.
        since: Only tasks that changed at or after this time on the server's clock, with their content; None: all,
            without it.
    """
    # The filter is on the annotations themselves: a task's own counts and time stamp are written after them,
    # and never if the server is stopped in between.
    conditions = [_filter("annotations_ids", "empty", "List", False)]
    if since is not None:
        conditions.append(_filter("updated_at", "greater_or_equal", "Datetime", _time_stamp(since)))
    include = _ANNOTATED_FIELDS if since is None else f"{_ANNOTATED_FIELDS},data"
    listed = _pages(client, project_id, conditions, include, fields="all")
    return [(_listed_task(raw), _annotations(raw)) for raw in listed]


def read_contents(client: Client, project_id: int, task_ids: Sequence[int]) -> dict[int, str]:
    """Hashes of the content that tasks have now, by task id."""
    return {
        raw["id"]: content_hash(raw.get("data"))
        for ids in pages(task_ids, IDS_PER_REQUEST)
        for raw in _pages(client, project_id, [], "id,data", ids)
    }


def content_hash(data: object) -> str:
    """A hash of what people see of a task's data: its text and, after a dot, its options."""
    data = data if isinstance(data, Mapping) else {}
    options = data.get(OPTIONS)
    return _hash(data.get(TEXT)) + ("" if options is None else f".{_hash(options)}")


def shows_text(content: str, text: str) -> bool:
    """Return whether content of this hash has this text, whatever its options are."""
    return content.partition(".")[0] == _hash(text)


def tasks_without_predictions(client: Client, project_id: int, model_version: str) -> set[int]:
    """Ids of the tasks that have no prediction of this model version."""
    lacking = _filter("predictions_model_versions", "not_contains", "List", [model_version])
    return {raw["id"] for raw in _pages(client, project_id, [lacking], "id")}


def import_chunks(payloads: Iterable[Payload]) -> Iterator[list[Payload]]:
    """Payloads in the order given, in chunks of limited number and size."""
    chunk: list[Payload] = []
    size = 0
    for payload in payloads:
        n_bytes = len(json.dumps(payload, ensure_ascii=False).encode())
        if chunk and (len(chunk) == CHUNK_TASKS or size + n_bytes > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(payload)
        size += n_bytes
    if chunk:
        yield chunk


def import_tasks(client: Client, project_id: int, payloads: Sequence[Payload]) -> list[int]:
    """Create tasks and return their ids in the same order.

    Raises:
        UnclearError: They may or may not have been created.
    """
    path = f"api/projects/{project_id}/import"
    reply = client.send("POST", path, {"return_task_ids": True}, list(payloads)).json
    ids = reply.get("task_ids") if isinstance(reply, Mapping) else None
    if not isinstance(ids, list) or len(ids) != len(payloads):  # an Enterprise server imports asynchronously
        raise UnclearError(f"POST {path}: the reply does not name the tasks created", time.monotonic())
    return ids


def delete_untouched(client: Client, project_id: int, task_ids: Sequence[int]) -> set[int]:
    """Delete those of the tasks that have no annotation, skip, draft or lock; return the ids that are gone.

    The server locks a task for the person it gives it to. It applies the condition itself, but it selects
    first and deletes afterwards: an annotation that somebody submits within that tenth of a second without a
    lock, from the list of tasks, may be confirmed and still be lost (measured: 3 of 100).
    """
    untouched = [
        _filter("annotations_ids", "empty", "List", True),
        _filter("draft_exists", "equal", "Boolean", False),
        _filter("locks", "empty", "List", True),
    ]
    gone: set[int] = set()
    for chunk in pages(task_ids, DELETED_PER_REQUEST):
        body = {**_filters(untouched), "selectedItems": {"all": False, "included": chunk}}
        client.send("POST", "api/dm/actions", {"id": "delete_tasks", "project": project_id}, body)
        left = {
            raw["id"]
            for ids in pages(chunk, IDS_PER_REQUEST)
            for raw in _pages(client, project_id, [], "id", ids)
        }
        gone.update(set(chunk) - left)
    return gone


def set_overlap(client: Client, task_id: int, overlap: int, *, done: bool) -> None:
    """Set how many annotations one task may have, and whether it is labelled."""
    client.send("PATCH", f"api/tasks/{task_id}/", {}, {"overlap": overlap, "is_labeled": done})


_TASK_FIELDS = "id,meta,created_at,overlap"
_ANNOTATED_FIELDS = f"{_TASK_FIELDS},annotations,result,was_cancelled,completed_by,lead_time"
"""The server applies this list to tasks and, by the same names, to the annotations in them."""


def _listed_task(raw: Mapping[str, Any]) -> ListedTask:
    meta, annotations = raw.get("meta"), _annotations(raw)
    return ListedTask(
        task_id=raw["id"],
        query_id=_text(meta, QUERY_KEY),
        created_at=raw["created_at"],
        n_annotations=len(annotations),
        n_labels=sum(not (isinstance(each, Mapping) and each.get("was_cancelled")) for each in annotations),
        overlap=raw.get("overlap") or 1,
        campaign_key=_text(meta, CAMPAIGN_KEY),
        sent=_text(meta, SENT_KEY),
        content=content_hash(raw["data"]) if "data" in raw else None,
    )


def _annotations(raw: Mapping[str, Any]) -> Sequence[object]:
    annotations = raw.get("annotations")
    return annotations if isinstance(annotations, list) else ()


def _text(fields: object, key: str) -> str | None:
    """A text of a task's ``data`` or ``meta``, which any user of the server can fill with anything."""
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, str) else None


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


def _pages(
    client: Client,
    project_id: int,
    conditions: Sequence[Mapping[str, Any]],
    include: str,
    task_ids: Sequence[int] | None = None,
    *,
    fields: str = "task_only",
) -> Iterator[Mapping[str, Any]]:
    """Tasks by ascending id. Each page starts after the last id, so deletions in between shift nothing."""
    last = 0
    while True:
        query = _filters([*conditions, _filter("id", "greater", "Number", last)])
        if task_ids is not None:
            query["selectedItems"] = {"all": False, "included": list(task_ids)}
        reply = client.get(
            "api/tasks/",
            project=project_id,
            page=1,
            page_size=PAGE,
            fields=fields,
            include=include,
            resolve_uri=False,
            query=json.dumps(query),
        ).json
        yield from reply["tasks"]
        if len(reply["tasks"]) >= reply["total"]:
            return
        last = max(raw["id"] for raw in reply["tasks"])


def _filter(column: str, operator: str, kind: str, value: object) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _filters(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"filters": {"conjunction": "and", "items": list(conditions)}}


def _time_stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
