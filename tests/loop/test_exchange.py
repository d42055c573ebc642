"""Late, corrected and unreadable answers; lost artefacts; another base model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from star_al.annotators.oracle import Oracle
from star_al.errors import ModelError
from star_al.loop import Loop, Outcome
from star_al.ports import StillOurs
from star_al.types import Annotation, Ensured, ExternalTask, JsonValue, Poll, Query, QueryState, Role
from support.stored import label_versions
from support.world import World


class People:
    """The oracle's answers, and corrections and answers that a test adds."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.instead: dict[str, JsonValue] = {}  # item id → another answer
        self.later: list[Annotation] = []

    place = None

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        return self.oracle.ensure(queries, known, still_ours)

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        return self.oracle.withdraw(queries, still_ours)

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        poll = self.oracle.poll(cursor, still_ours)
        items = {query.query_id: query.item_id for query in self.oracle_queries()}
        answers = [
            replace(each, value=self.instead[items[each.query_id]])
            if items.get(each.query_id) in self.instead
            else each
            for each in poll.annotations
        ]
        now = {each.external_id: each for each in (*answers, *self.later)}  # as they stand in the tool
        return Poll(tuple(now.values()), poll.cursor)

    def oracle_queries(self) -> list[Query]:
        return self.world.store.queries(self.world.campaign_id)

    world: World


def run(world: World, people: People, max_rounds: int | None = None) -> Outcome:
    people.world = world
    return Loop(replace(world.leased_parts(), annotator=people)).run(max_rounds)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def people(world: World) -> People:
    return People(world.oracle())


def test_a_corrected_answer_becomes_a_new_version_and_leaves_the_old_snapshot(
    world: World, people: People
) -> None:
    run(world, people, max_rounds=2)
    query = world.asked()[0]
    before = world.store.labels(world.campaign_id)[query.item_id]
    other = "tech" if before.value != "tech" else "sport"
    people.later = [Annotation(f"oracle-{query.query_id}", query.query_id, other)]
    run(world, people, max_rounds=1)
    versions = label_versions(world.store, world.campaign_id, query.item_id)
    assert [(label.version, label.value) for label in versions] == [(1, before.value), (2, other)]
    trained = {label.item_id: label.value for label in world.store.training_labels(world.campaign_id, 1)}
    assert trained[query.item_id] == before.value


def test_a_late_answer_to_a_skipped_query_counts(tmp_path: Path) -> None:
    world = World(tmp_path, annotator={"kind": "oracle", "gold": "label", "skips": 0.5})
    people = People(world.oracle())
    run(world, people, max_rounds=2)
    query = next(query for query in world.asked() if query.state is QueryState.SKIPPED)
    people.later = [Annotation("late", query.query_id, world.item(query).fields["label"])]
    run(world, people, max_rounds=1)
    assert query.item_id in world.store.labels(world.campaign_id, Role.POOL)


def test_an_answer_outside_the_label_set_is_reported_once_counts_as_a_skip_and_may_be_corrected(
    world: World, people: People
) -> None:
    run(world, people, max_rounds=1)
    people.instead = dict.fromkeys(world.store.pool_ids(world.campaign_id, 1), "cricket")
    assert run(world, people, max_rounds=1).kind == "paused"
    asked = world.store.queries(world.campaign_id, 1)
    assert {query.state for query in asked} == {QueryState.SKIPPED}
    people.instead = {query.item_id: world.item(query).fields["label"] for query in asked[1:]}
    people.instead[asked[0].item_id] = "cricket"
    run(world, people, max_rounds=1)
    told = [event.message for event in world.store.events(world.campaign_id) if "cricket" in event.message]
    assert len(told) == len(asked) and all("counts as a skip" in message for message in told)
    assert sorted(query.state for query in world.store.queries(world.campaign_id, 1)) == [
        *[QueryState.LABELLED] * (len(asked) - 1),
        QueryState.SKIPPED,
    ]


@pytest.mark.parametrize("lost", ["adapters", "scores"])
def test_a_lost_artefact_of_an_unfinished_round_is_made_again(
    lost: str, world: World, people: People, tmp_path: Path
) -> None:
    unbroken = World(tmp_path / "unbroken")
    unbroken.run()
    run(world, people, max_rounds=1)
    loop = Loop(world.leased_parts())
    round_ = loop._start_round(1)
    for step in (loop.fit, loop.evaluate, loop.decide, loop.score):
        round_ = step(round_)
    shutil.rmtree(world.file.artefact_folder / lost)
    run(world, people)
    asked = [[query.item_id for query in each.asked()] for each in (world, unbroken)]
    assert asked[0] == asked[1]


def test_a_campaign_does_not_go_on_with_another_base_model(
    world: World, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world, people, max_rounds=1)
    monkeypatch.setattr(type(world.learner), "base_key", "another")
    with pytest.raises(ModelError, match="differs from that of round 0"):
        run(world, people)
