"""Tasks on the server: what they hold, how they are listed, imported and deleted.

A task carries its query's id as ``star_uid``, in its data and again in ``meta``, which can be listed without
the texts. ``meta`` also names the campaign.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from star_al.annotators.label_studio.client import Server, UnclearError

UID, CAMPAIGN = "star_uid", "star_al"

PAGE = 1000
"""Tasks a listing returns at once; 1,000 without texts take 0.2 s."""

IDS = 250
"""Ids in one request's address; more would be too long for some proxies."""

DELETED_AT_ONCE = 500

CHUNK_TASKS, CHUNK_BYTES = 250, 2_000_000
"""An import's size, so that it ends well within the time limit; a larger task goes alone."""

Payload = Mapping[str, Any]
"""A task as it is imported."""


@dataclass(frozen=True, slots=True)
class Row:
    """A task as listed. ``key`` is its query, null for a foreign one.

    ``made_at`` tells it from an earlier task of the same number: SQLite gives numbers again. ``campaign`` is
    whose campaign made it, null if it does not tell. ``answers`` counts skips, too, ``labels`` does not.
    """

    task: int
    key: str | None
    made_at: str
    answers: int = 0
    labels: int = 0
    overlap: int = 1
    campaign: str | None = None


def listing(server: Server, project: int) -> list[Row]:
    """All tasks of a project, as if they had no annotations."""
    rows = [_row(raw) for raw in _pages(server, project, [], _ROW)]
    nameless = [row.task for row in rows if row.key is None]
    keys = {
        raw["id"]: raw["data"].get(UID)
        for ids in _chunks(nameless, IDS)
        for raw in _pages(server, project, [], "id,data", ids)
    }
    return [replace(row, key=row.key or keys.get(row.task)) for row in rows]


def answered(server: Server, project: int, since: datetime | None = None) -> list[tuple[Row, list[Any]]]:
    """Tasks with their annotations as raw JSON, if they have any and changed since a moment (null: ever).

    The moment is on the server's clock. The annotations themselves are asked for: a task's own counts and
    time stamp are written after them, and never if the server is stopped in between.
    """
    items = [_filter("annotations_ids", "empty", "List", False)]
    if since is not None:
        items.append(_filter("updated_at", "greater_or_equal", "Datetime", _stamp(since)))
    listed = _pages(server, project, items, _ANSWERED, fields="all")
    return [(_row(raw), raw["annotations"]) for raw in listed]


def without_version(server: Server, project: int, version: str) -> set[int]:
    """Ids of the tasks that have no prediction of this model version."""
    lacking = _filter("predictions_model_versions", "not_contains", "List", [version])
    return {raw["id"] for raw in _pages(server, project, [lacking], "id")}


def chunks(payloads: Iterable[Payload]) -> Iterator[list[Payload]]:
    """Payloads in the order given, in chunks of bounded number and size."""
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


def import_chunk(server: Server, project: int, payloads: Sequence[Payload]) -> list[int]:
    """Make tasks; their ids in the same order.

    Raises:
        UnclearError: nobody can say whether they were made.
    """
    path = f"api/projects/{project}/import"
    reply = server.send("POST", path, {"return_task_ids": True}, list(payloads)).json
    ids = reply.get("task_ids") if isinstance(reply, Mapping) else None
    if not isinstance(ids, list) or len(ids) != len(payloads):  # an Enterprise server imports in its own time
        raise UnclearError(f"POST {path}: it does not name the tasks it made", time.monotonic())
    return ids


def delete_blank(server: Server, project: int, ids: Sequence[int]) -> set[int]:
    """Delete those of the tasks that nobody has touched: without annotation, skip, draft or lock; ids now gone.

    The server locks a task for whom it gives it to. It applies the condition itself, but chooses, then
    deletes: an answer that somebody gives without a lock, from the list of tasks, within that tenth of a
    second may be confirmed and lost all the same (3 of 100 when measured).
    """
    blank = [
        _filter("annotations_ids", "empty", "List", True),
        _filter("draft_exists", "equal", "Boolean", False),
        _filter("locks", "empty", "List", True),
    ]
    gone: set[int] = set()
    for chunk in _chunks(ids, DELETED_AT_ONCE):
        body = {**_filters(blank), "selectedItems": {"all": False, "included": chunk}}
        server.send("POST", "api/dm/actions", {"id": "delete_tasks", "project": project}, body)
        left = {raw["id"] for part in _chunks(chunk, IDS) for raw in _pages(server, project, [], "id", part)}
        gone.update(set(chunk) - left)
    return gone


def set_overlap(server: Server, row: Row, wanted: int) -> None:
    """How many people this one task is for."""
    body = {"overlap": wanted, "is_labeled": row.labels >= wanted}
    server.send("PATCH", f"api/tasks/{row.task}/", {}, body)


# of a task and, by the same names, of the annotations in it
_ROW = "id,meta,created_at,overlap"
_ANSWERED = f"{_ROW},annotations,result,was_cancelled,completed_by,lead_time"


def _row(raw: Mapping[str, Any]) -> Row:
    meta = raw.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    annotations = raw.get("annotations") or ()
    return Row(
        task=raw["id"],
        key=meta.get(UID),
        made_at=raw["created_at"],
        answers=len(annotations),
        labels=sum(not each["was_cancelled"] for each in annotations),
        overlap=raw.get("overlap") or 1,
        campaign=meta.get(CAMPAIGN),
    )


def _pages(
    server: Server,
    project: int,
    items: Sequence[Mapping[str, Any]],
    include: str,
    ids: Sequence[int] | None = None,
    *,
    fields: str = "task_only",
) -> Iterator[Mapping[str, Any]]:
    """Tasks by ascending id. Each page starts after the last id, so that deletions in between shift nothing."""
    last = 0
    while True:
        query = _filters([*items, _filter("id", "greater", "Number", last)])
        if ids is not None:
            query["selectedItems"] = {"all": False, "included": list(ids)}
        reply = server.get(
            "api/tasks/",
            project=project,
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


def _filters(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"filters": {"conjunction": "and", "items": list(items)}}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _chunks(ids: Sequence[int], size: int) -> Iterator[list[int]]:
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))
