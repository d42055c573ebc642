"""How answers close rounds: overlap, skips, disputes, shares, time limits, the buffer, new labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_al.common.patience import Patience
from star_al.config.changes import added_labels, changed_fields
from star_al.config.file import load_campaign
from star_al.config.writing import with_values
from star_al.errors import AwayError, ModelError
from star_al.loop import Loop, Outcome
from star_al.ports import StillOurs
from star_al.replay import replay_round
from star_al.task import closed
from star_al.types import Ensured, Poll, Query, QueryState, Role, RoundState
from support.people import People
from support.world import World

NO_HELD_OUT = {"kind": "none", "calibration": 0, "stop_set": 5}


def make(folder: Path, **changes: Any) -> tuple[World, People]:
    """Make a campaign whose annotators follow a test: batches of 4, no held-out items."""
    world = World(folder, **{"evaluation": NO_HELD_OUT, **changes})
    return world, People(world.load_items)


def run(world: World, people: People, max_rounds: int | None = 1) -> Outcome:
    parts = replace(world.leased_parts(), annotator=people, wait=people.wait)
    return Loop(parts).run(max_rounds)


def batch(world: World, round_index: int, *, buffer: bool = False) -> list[Query]:
    return [q for q in world.store.queries(world.campaign_id, round_index) if q.buffer == buffer]


def states(queries: list[Query]) -> list[str]:
    return [query.state.value for query in queries]


def test_waiting_says_how_far_the_round_is_and_where(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    people.script = [lambda: people.answer_all("ann", first=3), lambda: people.answer_all("bo")]
    assert run(world, people).kind == "paused"
    assert [(w.closed, w.asked, dict(w.answers)) for w in people.waits] == [(0, 4, {}), (3, 4, {"ann": 3})]
    assert people.waits[0].place == "http://tool/1"


def test_a_run_that_does_not_wait_ends_and_goes_on_later(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    outcome = run(world, people)
    assert (outcome.kind, outcome.round_index) == ("waiting", 0)
    assert "0 of 4" in outcome.reason
    people.answer_all("ann")
    assert run(world, people).kind == "paused"
    assert len(people.made) == 4


def test_overlap_asks_several_people_and_stores_how_far_they_agree(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"overlap": 2})
    people.script = [lambda: people.answer_all("ann"), lambda: people.answer_all("bo")]
    run(world, people)
    assert [query.wanted for query in batch(world, 0)] == [2] * 4
    assert people.waits[1].closed == 0  # one answer each is not enough
    (round_,) = world.store.rounds(world.campaign_id)
    found = round_.collection
    assert found is not None and found.agreement == pytest.approx(1.0)
    assert (found.skipped, found.disputed) == (0, 0)


def disagree(people: People, query: Query) -> None:
    wrong = next(name for name in ("sport", "business", "tech") if name != people.gold(query))
    people.answer("bo", query, wrong)


def test_a_disputed_item_is_shown_to_another_person(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"overlap": 2, "disputed": "ask_another"})

    def first_two() -> None:
        people.answer_all("ann")
        disagree(people, batch(world, 0)[0])
        people.answer_all("bo")

    people.script = [first_two, lambda: people.answer("cy", batch_with_attempt(world, 2))]
    assert run(world, people).kind == "paused"
    assert [(waiting.disputed, waiting.unlabelled) for waiting in people.waits] == [(0, 0), (1, 0)]
    second = batch_with_attempt(world, 2)
    (first,) = (q for q in world.asked() if q.item_id == second.item_id and q.attempt == 1)
    assert (first.disputed, first.state) == (True, QueryState.SKIPPED)
    assert (second.wanted, second.state, second.round_index) == (1, QueryState.LABELLED, 0)
    label = world.store.labels(world.campaign_id)[first.item_id]
    assert label.value == people.gold(first)
    (round_,) = world.store.rounds(world.campaign_id)
    found = round_.collection
    assert found is not None
    assert (found.skipped, found.disputed) == (0, 0)  # it got its label in the end
    assert found.agreement is not None and 0 < found.agreement < 1


def batch_with_attempt(world: World, attempt: int) -> Query:
    return next(query for query in world.asked() if query.attempt == attempt)


def test_a_dispute_that_is_dropped_is_counted(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"overlap": 2, "disputed": "drop"})

    def both() -> None:
        people.answer_all("ann")
        disagree(people, batch(world, 0)[0])
        people.answer_all("bo")

    people.script = [both]
    run(world, people)
    (round_,) = world.store.rounds(world.campaign_id)
    assert round_.collection is not None
    assert (round_.collection.skipped, round_.collection.disputed) == (1, 1)
    assert len(world.store.labels(world.campaign_id, Role.POOL)) == 3
    waiting = world.store.waiting(world.campaign_id, 0, (Role.POOL,))
    assert (waiting.closed, waiting.unlabelled, waiting.disputed) == (4, 1, 1)


def test_people_who_disagree_on_held_out_texts_only_do_not_agree(tmp_path: Path) -> None:
    audit = {"kind": "audit", "size": 4, "calibration": 0, "stop_set": 5}
    world, people = make(tmp_path, evaluation=audit, labelling={"overlap": 2, "disputed": "drop"})

    def both() -> None:
        people.answer_all("ann")
        held_out = next((query for query in people.tasks.values() if query.purpose is Role.AUDIT), None)
        if held_out is not None and f"bo-{held_out.query_id}" not in people.annotations:
            disagree(people, held_out)
        people.answer_all("bo")

    people.script = [both, both]
    run(world, people)
    (round_,) = world.store.rounds(world.campaign_id)
    assert round_.collection is not None and round_.collection.disputed == 0
    assert round_.collection.agreement is not None and round_.collection.agreement < 1


def test_attempts_end(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"skipped": "ask_again", "max_attempts": 2})

    def skip_the_first() -> None:
        people.answer("ann", batch(world, 0)[0], skip=True)
        people.answer_all("ann")

    people.script = [skip_the_first, lambda: people.answer("ann", batch_with_attempt(world, 2), skip=True)]
    assert run(world, people).kind == "paused"
    assert max(query.attempt for query in world.asked()) == 2
    (round_,) = world.store.rounds(world.campaign_id)
    assert round_.selection is not None and round_.collection is not None
    assert (round_.selection.asked, round_.collection.skipped, round_.collection.disputed) == (4, 1, 0)


def test_a_skip_may_leave_the_task_to_another_person(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"skipped": "ask_another"})

    def skip_the_first() -> None:
        people.answer("ann", batch(world, 0)[0], skip=True)
        people.answer_all("ann")

    people.script = [skip_the_first, lambda: people.answer("bo", batch(world, 0)[0])]
    assert run(world, people).kind == "paused"
    assert people.waits[1].closed == 3
    assert states(batch(world, 0)) == ["labelled"] * 4


def test_a_round_closes_at_its_share_and_late_answers_count_in_the_next(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"close_share": 0.5})
    people.script = [lambda: people.answer_all("ann", first=2)]
    run(world, people)
    assert states(batch(world, 0)).count("open") == 2
    people.answer_all("bo")
    people.script = [lambda: people.answer_all("ann", first=2, of_round=1)]
    assert run(world, people).kind == "paused"
    rounds = world.store.rounds(world.campaign_id)
    assert [(round_.labels, round_.state) for round_ in rounds] == [
        (0, RoundState.COLLECTED),
        (4, RoundState.COLLECTED),
    ]
    labels = world.store.labels(world.campaign_id)
    assert sum(label.round_index == 0 for label in labels.values()) == 4


def test_a_round_closes_when_its_time_is_over(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"close_after_hours": 1e-9})
    assert run(world, people).kind == "paused"
    assert states(batch(world, 0)) == ["open"] * 4
    assert any("The labelling period is over: 0 of 4" in line for line in world.progress.said)


def test_a_deleted_task_is_made_again_and_reported(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    run(world, people)
    people.delete(batch(world, 0)[0].query_id)
    people.script = [lambda: people.answer_all("ann")]
    assert run(world, people).kind == "paused"
    assert any("Recreated 1 deleted task" in line for line in world.progress.said)


def test_an_answer_taken_back_between_two_runs_gives_way_to_the_next(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    people.script = [lambda: people.answer_all("ann")]
    run(world, people)
    query = batch(world, 0)[0]
    label = world.store.labels(world.campaign_id)[query.item_id]
    people.take_back("ann", query)
    people.script = [lambda: people.answer_all("ann", of_round=1)]
    run(world, people)
    assert world.store.labels(world.campaign_id)[query.item_id] == label  # nobody else has answered
    other = "tech" if label.value != "tech" else "sport"
    people.answer("bo", query, other)
    people.script = [lambda: people.answer_all("ann", of_round=2)]
    run(world, people)
    assert world.store.labels(world.campaign_id)[query.item_id].value == other


def test_an_answer_whose_task_was_deleted_and_made_again_still_counts(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"overlap": 2})
    people.script = [lambda: people.answer_all("ann")]
    assert run(world, people).kind == "waiting"
    query = batch(world, 0)[0]
    people.delete(query.query_id)
    people.script = [lambda: people.answer_all("bo")]
    run(world, people)
    assert people.made.count(query.query_id) == 2
    answers = world.store.annotations(world.campaign_id, [query.query_id])
    assert {(each.annotator, each.withdrawn) for each in answers} == {("ann", False), ("bo", False)}
    assert query.item_id in world.store.labels(world.campaign_id)


def test_an_unreachable_tool_is_waited_for_and_reported_once(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    poll, polls = people.poll, []

    def sometimes(cursor: str | None, still_ours: StillOurs) -> Poll:
        polls.append(cursor)
        if len(polls) in (2, 3):
            raise AwayError("the tool cannot be reached.")
        return poll(cursor, still_ours)

    people.poll = sometimes  # type: ignore[method-assign]
    people.script = [lambda: None, lambda: None, lambda: None, lambda: people.answer_all("ann")]
    assert run(world, people).kind == "paused"
    assert sum("cannot be reached. Waiting until it is back." in line for line in world.progress.said) == 1
    people.poll = lambda *_: (_ for _ in ()).throw(AwayError("away"))  # type: ignore[method-assign]
    with pytest.raises(AwayError):
        run(world, people)


def test_a_tool_that_is_away_at_the_push_is_waited_for_unless_the_run_does_not_wait(tmp_path: Path) -> None:
    world, people = make(tmp_path)
    ensure, calls = people.ensure, []

    def away_twice(*arguments: Any) -> Ensured:
        calls.append(1)
        if len(calls) < 3:
            raise AwayError("the tool cannot be reached.")
        return ensure(*arguments)

    people.ensure = away_twice  # type: ignore[method-assign, assignment]
    with pytest.raises(AwayError):
        run(world, people)
    assert len(calls) == 1
    calls.clear()
    people.script = [lambda: people.answer_all("ann")]
    said: list[str] = []
    parts = replace(world.leased_parts(), annotator=people, wait=people.wait)
    parts = replace(parts, patience=Patience(waits=True, say=said.append))
    assert Loop(parts).run(1).kind == "paused"
    assert said == ["the tool cannot be reached. Waiting until it is back."]
    assert len(people.made) == 4


def test_a_query_that_could_not_be_asked_again_is_asked_when_the_tool_is_back(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"skipped": "ask_again"})
    ensure = people.ensure

    def skip_one() -> None:
        people.answer("ann", batch(world, 0)[0], skip=True)
        people.ensure = away_once  # type: ignore[method-assign, assignment]

    def away_once(*_: Any) -> Ensured:
        people.ensure = ensure  # type: ignore[method-assign]
        raise AwayError("the tool cannot be reached.")

    people.script = [skip_one, lambda: None, lambda: people.answer_all("bo")]
    assert run(world, people).kind == "paused"
    assert batch_with_attempt(world, 2).query_id in people.tasks


def test_the_audit_set_does_not_close_at_a_share(tmp_path: Path) -> None:
    world, people = make(
        tmp_path, evaluation={"kind": "audit", "size": 8, "calibration": 0}, labelling={"close_share": 0.5}
    )
    people.script = [lambda: people.answer_all("ann", first=7)]
    assert run(world, people).kind == "waiting"
    assert not world.store.rounds(world.campaign_id)


def test_a_share_is_not_rounded_up_by_the_last_bit(tmp_path: Path) -> None:
    world, people = make(tmp_path, acquisition={"batch_size": 25}, labelling={"close_share": 0.28})
    people.script = [lambda: people.answer_all("ann", first=7)]
    assert run(world, people).kind == "paused"  # 0.28 * 25 is 7.000000000000001


# -- the buffer ----------------------------------------------------------------------------------------


def buffered(folder: Path) -> tuple[World, People]:
    return make(folder, labelling={"buffer": 3})


def test_the_buffer_does_not_change_the_batch_and_no_round_waits_for_it(tmp_path: Path) -> None:
    world, people = buffered(tmp_path / "with")
    people.script = [lambda: people.answer_all("ann", first=4)] * 2
    assert run(world, people, max_rounds=2).kind == "paused"
    plain, others = make(tmp_path / "without")
    others.script = [lambda: others.answer_all("ann")] * 2
    run(plain, others, max_rounds=2)
    first, second = ([q.item_id for q in batch(each, 0)] for each in (world, plain))
    assert first == second
    selection = world.store.rounds(world.campaign_id)[0].selection
    assert selection is not None and selection.asked == 4
    assert [q.rank for q in batch(world, 1)] == [1, 2, 3, 4]


def test_an_untouched_buffer_is_withdrawn_and_its_items_may_be_asked_later(tmp_path: Path) -> None:
    world, people = buffered(tmp_path)
    people.script = [lambda: people.answer_all("ann", first=4)] * 2
    run(world, people, max_rounds=1)
    spare = {query.item_id for query in batch(world, 0, buffer=True)}
    assert len(spare) == 3
    run(world, people, max_rounds=1)
    assert batch(world, 0, buffer=True) == []
    asked_now = {query.item_id for query in batch(world, 1)}
    assert len(batch(world, 1, buffer=True)) == 3
    not_asked = spare - asked_now - {q.item_id for q in batch(world, 1, buffer=True)}
    assert not_asked <= set(world.store.pool_ids(world.campaign_id, 2))
    live = {query.item_id for query in people.tasks.values()}
    assert not (not_asked & live)


def test_what_people_did_in_the_buffer_while_the_model_trained_counts(tmp_path: Path) -> None:
    world, people = buffered(tmp_path)
    people.script = [lambda: people.answer_all("ann", first=4)]
    run(world, people)
    done = batch(world, 0, buffer=True)[0]
    original = Loop.score

    def score_while_somebody_labels(loop: Loop, round_: Any) -> Any:
        people.answer("bo", done)
        return original(loop, round_)

    people.script = [lambda: people.answer_all("ann", first=4, of_round=1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "score", score_while_somebody_labels)
        assert run(world, people).kind == "paused"
    assert people.made.count(done.query_id) == 1  # never asked twice
    assert world.store.labels(world.campaign_id)[done.item_id].value == people.gold(done)
    (now,) = [query for query in world.asked() if query.query_id == done.query_id]
    assert (now.state, now.round_index) == (QueryState.LABELLED, 1)


def test_a_round_with_a_buffer_replays_to_the_same_batch(tmp_path: Path) -> None:
    world, people = buffered(tmp_path)
    people.script = [lambda: people.answer_all("ann", first=5)] * 3
    run(world, people, max_rounds=3)
    for round_ in world.store.rounds(world.campaign_id):
        assert replay_round(world.parts().for_round(round_)).same_batch, round_.index


def test_a_campaign_that_stops_withdraws_its_buffer(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"buffer": 3}, stopping={"max_rounds": 1})
    people.script = [lambda: people.answer_all("ann", first=4)] * 2
    assert run(world, people, max_rounds=None).kind == "stopped"
    assert world.store.open_queries(world.campaign_id) == []
    assert set(people.tasks) == {query.query_id for query in world.asked()}


def test_batch_and_buffer_stay_within_the_label_budget(tmp_path: Path) -> None:
    world, people = make(tmp_path, labelling={"buffer": 3}, stopping={"max_labels": 6})
    people.script = [lambda: people.answer_all("ann")] * 3
    assert run(world, people, max_rounds=None).kind == "stopped"
    assert len(world.store.labels(world.campaign_id)) == 6


# -- labels that join in mid-campaign ------------------------------------------------------------------


def with_labels(world: World, folder: Path, *labels: str) -> World:
    """The same campaign with other labels in its file."""
    path = folder / "campaign.yaml"
    text = path.read_text()
    path.write_text(with_values(text, {"task.labels": list(labels)}))
    world.file = load_campaign(path)
    assert text != path.read_text()
    return world


def test_labels_may_join_at_the_end_and_nothing_else(tmp_path: Path) -> None:
    world, _ = make(tmp_path)
    stored = world.file.spec.model_dump(mode="json")
    grown = with_labels(world, tmp_path, "sport", "business", "tech", "arts").file.spec
    assert changed_fields(stored, grown, trained=True) == []
    assert added_labels(stored, grown) == ("arts",)
    for other in (["sport", "tech"], ["arts", "sport", "business", "tech"], ["sport", "business", "arts"]):
        changed = with_labels(world, tmp_path, *other).file.spec
        assert changed_fields(stored, changed, trained=True) == ["task.labels"]


@pytest.mark.parametrize("step", ["fit", "evaluate", "decide", "score", "select", "push"])
def test_labels_that_join_within_a_round_are_trained_on(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, people = make(tmp_path)
    people.script = [lambda: people.answer_all("ann")]
    run(world, people)
    original = getattr(Loop, step)

    def stop_after(loop: Loop, round_: Any) -> Any:
        original(loop, round_)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, step, stop_after)
        with pytest.raises(KeyboardInterrupt):
            run(world, people)
    with_labels(world, tmp_path, "sport", "business", "tech", "arts")
    world.learner = type(world.learner)(closed(world.parts().task))
    monkeypatch.setattr(type(world.learner), "base_key", "numpy-base of four labels")
    people.script = [lambda: people.answer_all("ann")] * 2
    assert run(world, people, max_rounds=2).kind == "paused"
    rounds = world.store.rounds(world.campaign_id)
    assert len(rounds[-1].config["task"]["labels"]) == 4  # type: ignore[index, arg-type, call-overload]
    assert states(batch(world, 1)) == ["labelled"] * 4


def test_other_weights_are_refused_even_when_labels_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, people = make(tmp_path)
    people.script = [lambda: people.answer_all("ann")]
    versions = type(world.learner).versions
    monkeypatch.setattr(type(world.learner), "versions", lambda self: {**versions(self), "weights": "a"})
    run(world, people)
    monkeypatch.setattr(type(world.learner), "versions", lambda self: {**versions(self), "weights": "b"})
    with_labels(world, tmp_path, "sport", "business", "tech", "arts")
    with pytest.raises(ModelError, match="differs from that of round 0"):
        run(world, people)
