"""Annotators that follow a script: they take tasks from the server's own queue and answer through its API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import requests


class Person:
    """One user of a server, by legacy token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {token}"

    def next_task(self, project: int | str) -> dict[str, Any] | None:
        """The task that the server gives this user now; None if there is none left."""
        reply = self._session.get(f"{self.url}/api/projects/{project}/next", timeout=60)
        if reply.status_code == 404:
            return None
        reply.raise_for_status()
        task: dict[str, Any] = reply.json()
        return task

    def answer(self, task: int | str, value: str | None, lead_time: float = 2.5) -> int:
        """Submit an answer, an empty one for None; return its id."""
        body = {"result": _result(value), "lead_time": lead_time, "unique_id": str(uuid.uuid4())}
        return int(self.call("post", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def skip(self, task: int | str) -> int:
        """Skip a task; return the annotation's id."""
        body = {"result": [], "was_cancelled": True}
        return int(self.call("post", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def change(self, annotation: int, value: str | None) -> None:
        """Edit an answer; one that was a skip becomes an answer."""
        body = {"result": _result(value), "was_cancelled": False}
        self.call("patch", f"/api/annotations/{annotation}/", json=body)

    def take_back(self, annotation: int) -> None:
        """Delete an answer."""
        self.call("delete", f"/api/annotations/{annotation}/")

    def draft(self, task: int | str, value: str) -> None:
        """Begin an answer without submitting it."""
        self.call("post", f"/api/tasks/{task}/drafts", json={"result": _result(value), "lead_time": 1.0})

    def delete_task(self, task: int | str) -> None:
        """Delete a task, as any user can."""
        self.call("delete", f"/api/tasks/{task}/")

    def label_all(
        self, project: int | str, choose: Callable[[dict[str, Any]], str | None], at_most: int = 1000
    ) -> list[int]:
        """Answer what the server gives, skipping a task if ``choose`` returns None; return the task ids in order."""
        done: list[int] = []
        while len(done) < at_most and (task := self.next_task(project)) is not None:
            value = choose(task)
            if value is None:
                self.skip(task["id"])
            else:
                self.answer(task["id"], value)
            done.append(task["id"])
        return done

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Send any request; return its JSON, or None if it has none."""
        reply = self._session.request(method, self.url + path, timeout=60, **arguments)
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text[:500]}"
        return reply.json() if reply.content else None


def _result(value: str | None) -> list[dict[str, Any]]:
    if value is None:
        return []
    choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [value]}}
    return [choice]
