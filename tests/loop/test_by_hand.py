"""A campaign is paused, and a round closed, by hand while it runs; a replay stays true."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.annotators.api import ApiAnnotator
from star_al.loop import Loop, Outcome
from star_al.replay import replay_round
from star_al.types import HELD_OUT, Annotation, Event, Query, Role, RoundState
from support.world import World

ASKED = Event("close-round", "by hand")


class People:
    """Answers some of the open queries of a world, by hand."""

    def __init__(self, world: World) -> None:
        self.world, self.annotator = world, ApiAnnotator()

    def run(self) -> Outcome:
        parts = self.world.parts().leased(self.world.lease(), self.annotator, lambda waiting: False)
        return Loop(parts).run()

    def open(self) -> list[Query]:
        return self.world.store.open_queries(self.world.campaign_id)

    def answer(self, n: int) -> list[str]:
        chosen = self.open()[:n]
        for query in chosen:
            label = self.world.item(query).fields["label"]
            self.annotator.hand_in(Annotation(f"{query.query_id}:me", query.query_id, label, annotator="me"))
        return [query.item_id for query in chosen]

    def close(self, index: int) -> None:
        self.world.store.close_round(self.world.campaign_id, index, ASKED)


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(World(tmp_path))


def past_held_out(people: People) -> None:
    """Answer all audit and calibration texts, up to the first batch."""
    assert people.run().kind == "waiting"
    people.answer(14)
    assert people.run().kind == "waiting"
    assert people.world.round(0).state is RoundState.PUSHED


def test_a_closed_round_goes_on_and_its_open_texts_may_be_asked_again(people: People) -> None:
    past_held_out(people)
    store, campaign_id = people.world.store, people.world.campaign_id
    batch = [query.item_id for query in people.open()]
    answered = people.answer(1)
    people.close(0)
    assert people.run().kind == "waiting"
    first, second = store.rounds(campaign_id)
    assert first.state is RoundState.COLLECTED and second.labels == 1
    assert set(store.labels(campaign_id, Role.POOL)) == set(answered)
    assert set(batch) - set(answered) <= set(store.pool_ids(campaign_id, 1))
    assert [query.round_index for query in people.open()] == [1] * 4, "round 1 waits; it was not closed"


def test_a_closed_round_is_replayed_with_all_that_it_chose(people: People) -> None:
    past_held_out(people)
    batch = tuple(query.item_id for query in people.open())
    people.answer(2)
    people.close(0)
    people.run()
    replayed = replay_round(people.world.round_parts(0))
    assert replayed.same_batch and replayed.stored == batch


def test_a_text_with_an_answer_but_not_enough_stays_open(tmp_path: Path) -> None:
    people = People(World(tmp_path, labelling__overlap=2))
    store, campaign_id = people.world.store, people.world.campaign_id
    assert people.run().kind == "waiting"
    first = people.answer(1)
    people.close(HELD_OUT)
    assert people.run().kind == "waiting"
    queries = store.queries(campaign_id, 0)
    assert [query.item_id for query in queries if query.purpose is not Role.POOL] == first


def test_closing_the_held_out_labels_is_not_undone_by_a_crash(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert people.run().kind == "waiting"
    audit = people.answer(3)
    people.close(HELD_OUT)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(people.world.store, "start_round", crash)
        with pytest.raises(KeyboardInterrupt):
            people.run()
    assert people.open() == []
    people.run()
    held_out = [query for query in people.world.asked(Role.AUDIT)] + people.world.asked(Role.CALIBRATION)
    assert [query.item_id for query in held_out] == audit
    evaluation = people.world.store.evaluations(people.world.campaign_id, 0)[0]
    assert evaluation.n == 3


def test_a_closed_round_is_closed_once_wherever_the_program_dies(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    past_held_out(people)
    answered = people.answer(1)
    people.close(0)
    store = people.world.store
    for method in ("withdraw_queries", "commit_step"):

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(store, method, crash)
            with pytest.raises(KeyboardInterrupt):
                people.run()
    people.run()
    assert set(store.labels(people.world.campaign_id, Role.POOL)) == set(answered)
    assert replay_round(people.world.round_parts(0)).same_batch


def test_a_paused_campaign_does_nothing_until_it_is_resumed(people: People) -> None:
    store, campaign_id = people.world.store, people.world.campaign_id
    store.pause(campaign_id, True, Event("pause", "by hand"))
    outcome = people.run()
    assert outcome.kind == "held" and outcome.reason.startswith("since 20")
    assert people.open() == [] and store.rounds(campaign_id) == []
    store.pause(campaign_id, False, Event("resume", "by hand"))
    assert people.run().kind == "waiting" and people.open()


def test_a_running_campaign_stops_before_its_next_step(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    past_held_out(people)
    people.answer(4)
    store, campaign_id = people.world.store, people.world.campaign_id
    commit = store.commit_step

    def pausing(*args: object, **kwargs: object) -> None:
        commit(*args, **kwargs)  # type: ignore[arg-type]
        if people.world.round(len(store.rounds(campaign_id)) - 1).state is RoundState.FITTED:
            store.pause(campaign_id, True, Event("pause", "by hand"))

    monkeypatch.setattr(store, "commit_step", pausing)
    assert people.run().kind == "held"
    assert people.world.round(1).state is RoundState.FITTED
    monkeypatch.undo()
    store.pause(campaign_id, False, Event("resume", "by hand"))
    assert people.run().kind == "waiting"
    assert people.world.round(1).state is RoundState.PUSHED


def test_a_run_that_waits_for_people_notices_the_pause(people: People) -> None:
    past_held_out(people)
    store, campaign_id = people.world.store, people.world.campaign_id

    def pause_while_waiting(waiting: object) -> bool:
        store.pause(campaign_id, True, Event("pause", "by hand"))
        return True

    parts = people.world.parts().leased(people.world.lease(), people.annotator, pause_while_waiting)
    assert Loop(parts).run().kind == "held"
    assert len(people.open()) == 4, "what was asked stays"
