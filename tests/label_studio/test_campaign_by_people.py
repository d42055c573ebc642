"""Whole campaigns by `star-al run` and people at a real Label Studio, who answer through its API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.app.stores import find_started, open_store
from star_al.config.file import load_campaign
from star_al.ports import Store
from star_al.types import Campaign, QueryState, Role
from support.campaigns import WORDS, write_campaign
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio
from support.zygote import Zygote

TOKEN = "STAR_AL_TEST_TOKEN"


@pytest.fixture
def campaign_file(
    label_studio: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A campaign file for people at the test server."""
    monkeypatch.setenv(TOKEN, label_studio.token)
    annotator = {"kind": "label_studio", "url": label_studio.url, "token_env": TOKEN}

    def write(**changes: Any) -> Path:
        return write_campaign(
            tmp_path,
            name=f"people-{tmp_path.name}",
            annotator=annotator,
            evaluation={"kind": "audit", "size": 3, "calibration": 2, "stop_set": 5},
            acquisition={"batch_size": 3},
            **{"stopping": {"max_rounds": 3}, **changes},
        )

    return write


class Desk(threading.Thread):
    """A person who labels what the server gives, from when ``comes_in`` is true until told to go home."""

    def __init__(
        self,
        server: LabelStudio,
        config: Path,
        token: str,
        choose: Callable[[str], str | None],
        comes_in: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(daemon=True)
        self._person, self._server = Person(server.url, token), server
        self._title, self._choose = load_campaign(config).spec.name, choose
        self._comes_in = comes_in
        self._home = threading.Event()
        self.done: list[int] = []

    def run(self) -> None:
        project: int | None = None
        while not self._home.wait(0.2):
            if not self._comes_in():
                continue
            project = project or self._server.project_of(self._title)
            if project is not None:
                self._label(project)

    def _label(self, project: int) -> None:
        try:
            self.done += self._person.label_all(project, lambda task: self._choose(task["data"]["text"]))
        except AssertionError as exc:
            if "No Task matches" not in str(exc):  # withdrawn between the look and the lock
                raise

    def __enter__(self) -> Desk:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._home.set()
        self.join(30)


def truth(config: Path) -> dict[str, str]:
    """The right label of each text."""
    rows = (config.parent / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["text"]: row["label"] for row in map(json.loads, rows)}


def open_campaign(config: Path) -> tuple[Store, Campaign]:
    file = load_campaign(config)
    campaign = find_started(file)
    assert campaign is not None
    return open_store(file), campaign


def run_to_the_end(zygote: Zygote, config: Path, *options: str) -> None:
    done = zygote.run("run", str(config), *options)
    assert done.returncode == 0, done.output


def live_tasks(server: LabelStudio, store: Store, campaign: Campaign) -> list[dict[str, Any]]:
    projects = {task.project for task in store.tasks(campaign.campaign_id)}
    (project,) = projects
    found: list[dict[str, Any]] = server.call(
        "get", f"/api/tasks/?project={project}&page_size=1000&fields=all"
    )["tasks"]
    return found


@pytest.mark.parametrize("options", [(), ("--webhook",)], ids=["polled", "webhook"])
def test_three_rounds_by_one_person(
    options: tuple[str, ...],
    label_studio: LabelStudio,
    zygote: Zygote,
    campaign_file: Callable[..., Path],
) -> None:
    config = campaign_file(labelling={"buffer": 3})
    right = truth(config)
    with Desk(label_studio, config, label_studio.token, lambda text: right[text]):
        run_to_the_end(zygote, config, *options)
    store, campaign = open_campaign(config)
    rounds = store.rounds(campaign.campaign_id)
    assert [round_.state.value for round_ in rounds] == ["collected"] * 3 + ["stopped"]
    labels = store.labels(campaign.campaign_id)
    items = store.items(campaign.campaign_id, list(labels))
    assert all(labels[item.item_id].value == right[item.text] for item in items)
    queries = store.queries(campaign.campaign_id)
    assert sum(query.purpose is not Role.POOL for query in queries) == 5
    assert sum(query.purpose is Role.POOL and not query.buffer for query in queries) == 9
    answers = store.annotations(campaign.campaign_id)
    assert {each.annotator for each in answers} == {label_studio.user}
    assert all(each.lead_time == 2.5 for each in answers)
    keys = [task["data"]["star_uid"] for task in live_tasks(label_studio, store, campaign)]
    assert sorted(keys) == sorted(query.query_id for query in queries)
    assert [each.selection and each.selection.asked for each in rounds] == [3, 3, 3, None]
    store.close()
    again = zygote.run("replay", str(config), "--round", "2")
    assert again.returncode == 0, again.output


def test_two_people_on_each_task_and_a_third_where_they_disagree(
    label_studio: LabelStudio, zygote: Zygote, campaign_file: Callable[..., Path]
) -> None:
    config = campaign_file(labelling={"overlap": 2, "disputed": "ask_another"}, stopping={"max_rounds": 2})
    right = truth(config)
    names = list(WORDS)

    def contrary(text: str) -> str:
        """The label after the right one."""
        return names[(names.index(right[text]) + 1) % len(names)]

    tokens = [label_studio.new_user(f"{name}-{config.parent.name}@example.org") for name in ("bo", "cy")]
    with (
        Desk(label_studio, config, label_studio.token, lambda text: right[text]) as first,
        Desk(label_studio, config, tokens[0], contrary) as second,
        # Who is third must not come first: else two who agree may answer all.
        Desk(
            label_studio, config, tokens[1], lambda text: right[text], lambda: len(second.done) > 2
        ) as third,
    ):
        run_to_the_end(zygote, config)
    assert all(len(desk.done) > 2 for desk in (first, second, third))
    store, campaign = open_campaign(config)
    queries = store.queries(campaign.campaign_id)
    assert {query.wanted for query in queries if query.attempt == 1} == {2}
    disputed = [query for query in queries if query.disputed]
    assert disputed, "nobody ever disagreed"
    again = [query for query in queries if query.attempt > 1]
    assert {query.item_id for query in again} == {query.item_id for query in disputed}
    assert not [query for query in queries if query.state is QueryState.OPEN]
    answers = store.annotations(campaign.campaign_id)
    assert len({(each.query_id, each.annotator) for each in answers}) == len(answers)
    collections = [each.collection for each in store.rounds(campaign.campaign_id)[:2]]
    assert min(each.agreement for each in collections if each and each.agreement is not None) < 1
    store.close()
