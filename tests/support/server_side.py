"""Label Studio behind the proxy: what is on the server, and a person who labels there meanwhile."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

KEY = "star_uid"  # where a task carries its query's id
Json = dict[str, Any]


class ServerSide:
    """All projects of one title, read and changed directly on the server with a legacy token."""

    def __init__(self, url: str, token: str, title: str) -> None:
        self.title = title
        self._controls: dict[int, tuple[str, str]] = {}
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Token {token}"}, timeout=30.0, follow_redirects=True
        )

    def projects(self) -> list[Json]:
        found = self._get("/api/projects/", title=self.title, page_size=100)["results"]
        return [project for project in found if project["title"] == self.title]

    def tasks(self) -> list[Json]:
        """Every task with its annotations, by id."""
        found: list[Json] = []
        for project in self.projects():
            reply = self._get("/api/tasks/", project=project["id"], fields="all", page=1, page_size=10_000)
            found += reply["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def by_key(self) -> dict[str, list[Json]]:
        """Tasks by the query they name, without those that name none."""
        found: dict[str, list[Json]] = {}
        for task in self.tasks():
            if KEY in task["data"]:
                found.setdefault(task["data"][KEY], []).append(task)
        return found

    def answer(self, task: Json, label: str | None, unique_id: str | None = None) -> int | None:
        """Submit a label or, for None, a skip; return the annotation's id, or None if it was submitted before."""
        control, target = self._control(task)
        body = {
            "result": [] if label is None else [_choice(control, target, label)],
            "was_cancelled": label is None,
            "lead_time": 2.0,
            "unique_id": unique_id or str(uuid.uuid4()),
        }
        reply = self._client.post(f"/api/tasks/{task['id']}/annotations/", json=body)
        if reply.status_code in (404, 409):  # the task went in the meantime; or it is a repeat
            return None
        reply.raise_for_status()
        return int(reply.json()["id"])

    def answer_badly(self, task: Json, value: object) -> bool:
        """Submit an answer with this value; return whether the server took it."""
        control, target = self._control(task)
        region = {"from_name": control, "to_name": target, "type": "choices", "value": value}
        body = {"result": [region], "was_cancelled": False, "lead_time": 1.0, "unique_id": str(uuid.uuid4())}
        return self._client.post(f"/api/tasks/{task['id']}/annotations/", json=body).is_success

    def change(self, annotation_id: int, task: Json, label: str) -> None:
        """Replace the label of an annotation."""
        result = [_choice(*self._control(task), label)]
        reply = self._client.patch(f"/api/annotations/{annotation_id}/", json={"result": result})
        reply.raise_for_status()

    def delete_task(self, task: Json) -> None:
        self._client.delete(f"/api/tasks/{task['id']}/").raise_for_status()

    def close(self) -> None:
        self._client.close()

    def _control(self, task: Json) -> tuple[str, str]:
        """Names of the control that takes the label, and of its object."""
        project = task["project"]
        if project not in self._controls:
            config = self._get(f"/api/projects/{project}/")["label_config"]
            choices = ElementTree.fromstring(config).find(".//Choices")
            assert choices is not None, config
            self._controls[project] = (choices.attrib["name"], choices.attrib["toName"])
        return self._controls[project]

    def _get(self, path: str, **parameters: Any) -> Json:
        reply = self._client.get(path, params=parameters)
        reply.raise_for_status()
        found: Json = reply.json()
        return found


def _choice(control: str, target: str, label: str) -> Json:
    return {"from_name": control, "to_name": target, "type": "choices", "value": {"choices": [label]}}


MALFORMED: tuple[object, ...] = (
    {"choices": 5},
    {"choices": [["sport"]]},
    {"choices": {"sport": 1}},
    {"text": ["sport"]},
    [],
)
"""Values of answers that hold no label. The server takes them from anybody."""


def is_usable(annotation: Mapping[str, Any]) -> bool:
    """True for a skip or an answer in the form that the labelling page sends."""
    if annotation["was_cancelled"] or not annotation["result"]:
        return True
    value = annotation["result"][0]["value"]
    return not any(value == each for each in MALFORMED)


def answer_of(annotation: Mapping[str, Any]) -> str | None:
    """The label of an annotation from the server; None for a skip."""
    if annotation["was_cancelled"] or not annotation["result"]:
        return None
    return str(annotation["result"][0]["value"]["choices"][0])


class Person(threading.Thread):
    """Labels tasks until stopped: mostly labels, some skips, some corrections.

    The first answer depends on the query alone, so that two tasks of one query get the same. ``deletes`` is
    how many blank tasks the person throws away, ``malformed`` how many answers hold no label. ``given`` holds
    the ids of the annotations that the server confirmed; they must be there at the end.
    """

    def __init__(
        self,
        side: ServerSide,
        labels: Sequence[str],
        seed: int,
        *,
        deletes: int = 0,
        malformed: int = 0,
        pace: float = 0.3,
    ) -> None:
        super().__init__(daemon=True, name=f"person-{seed}")
        self.given: set[int] = set()
        self.deleted = 0
        self._side, self._labels, self._pace, self._to_delete = side, labels, pace, deletes
        self.misanswered = 0
        self._to_misanswer = malformed
        self._random = random.Random(seed)
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(self._pace * self._random.uniform(0.5, 1.5)):
            try:
                self._look_once()
            except httpx.HTTPError:  # the server is restarted, or the task has just gone
                continue

    def stop(self) -> None:
        self._enough.set()
        self.join(60)
        self._side.close()

    def _look_once(self) -> None:
        tasks = [task for task in self._side.tasks() if KEY in task["data"]]
        blank = [task for task in tasks if not any(map(is_usable, task["annotations"]))]
        self._random.shuffle(blank)
        if blank and self._to_misanswer:
            value = self._random.choice(MALFORMED)
            self._to_misanswer -= 1
            self.misanswered += self._side.answer_badly(self._random.choice(blank), value)
        if blank and not blank[-1]["annotations"] and self._to_delete and self._random.random() < 0.5:
            self._to_delete -= 1
            self._side.delete_task(blank.pop())
            self.deleted += 1
        for task in blank[: self._random.randint(2, 6)]:
            annotation = self._side.answer(task, self._first_answer(task), str(_uuid(task)))
            if annotation is not None:
                self.given.add(annotation)
        answered = [task for task in tasks if any(map(_is_label, task["annotations"]))]
        if answered and self._random.random() < 0.1:
            self._think_again(self._random.choice(answered))

    def _first_answer(self, task: Json) -> str | None:
        number = int(hashlib.sha256(task["data"][KEY].encode()).hexdigest(), 16)
        return None if number % 11 == 0 else self._labels[number % len(self._labels)]

    def _think_again(self, task: Json) -> None:
        annotation = next(each for each in task["annotations"] if _is_label(each))
        other = self._random.choice([each for each in self._labels if each != answer_of(annotation)])
        self._side.change(int(annotation["id"]), task, other)


def _is_label(annotation: Mapping[str, Any]) -> bool:
    return is_usable(annotation) and answer_of(annotation) is not None


def _uuid(task: Json) -> uuid.UUID:
    """A unique id for the first answer to a task; the server may reuse the number of a deleted task."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{task['data'][KEY]} {task['id']} {task['created_at']}")
