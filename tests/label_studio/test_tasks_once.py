"""Each query is one task: pushed once, repaired, restored, withdrawn."""

from __future__ import annotations

import pytest

from star_al.errors import AnnotatorError, LeaseLostError
from support.label_studio_campaign import World, ours, queries
from support.label_studio_server import LabelStudio


def test_each_query_becomes_one_task_however_often_it_is_ensured(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(5)
    first = world.ensure(asked)
    assert world.ensure(asked) == first
    world.restart()
    assert world.ensure(asked) == first
    world.known.clear()  # killed before the tasks were saved
    world.restart()
    assert world.ensure(asked) == first
    assert world.keys() == [query.query_id for query in asked]
    assert (first.restored, first.dropped) == ((), ())


def test_new_queries_join_those_that_are_there(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(3))
    ensured = world.ensure(queries(3) + queries(2, 2, start=3))
    assert len({task.task for task in ensured.tasks}) == 5
    assert len(world.tasks()) == 5


def _again(world: World, task: str, n: int = 1) -> list[int]:
    """What a lost reply leaves: the same task once more."""
    there = world.owner.call("get", f"/api/tasks/{task}/")
    copies = [{"data": there["data"], "meta": there["meta"]}] * n
    path = f"/api/projects/{world.project}/import?return_task_ids=true"
    return [int(task) for task in world.owner.call("post", path, json=copies)["task_ids"]]


def test_blank_extras_go_at_the_next_poll(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    before = {task["id"] for task in world.tasks()}
    _again(world, world.task_of(asked[0]), 2)
    world.poll()
    assert {task["id"] for task in world.tasks()} == before


def test_an_extra_that_only_its_data_names_goes_too(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    data = {"text": "again", "star_uid": asked[0].query_id}
    world.owner.call("post", f"/api/projects/{world.project}/import", json=[{"data": data}])
    world.poll()
    assert world.keys() == [query.query_id for query in asked]


def test_the_annotated_one_of_several_stays_and_counts(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    (extra,) = _again(world, world.task_of(asked[0]))
    world.owner.answer(extra, "pos")
    poll = world.poll()
    assert [(each.query_id, each.value) for each in poll.annotations] == [(asked[0].query_id, "pos")]
    assert world.keys() == [query.query_id for query in asked]
    world.ensure(asked)
    assert world.task_of(asked[0]) == str(extra)


def test_annotated_extras_stay_and_their_answers_are_the_query_s(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    (extra,) = _again(world, world.task_of(asked[0]))
    world.owner.answer(world.task_of(asked[0]), "pos")
    world.owner.answer(extra, "neg")
    poll = world.poll()
    assert {each.query_id for each in poll.annotations} == {asked[0].query_id}
    assert sorted(str(each.value) for each in poll.annotations) == ["neg", "pos"]
    assert len(world.tasks()) == 2


def test_a_closed_query_that_was_answered_elsewhere_is_said_to_live_there(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    (extra,) = _again(world, world.task_of(asked[0]))
    world.owner.answer(extra, "pos")
    world.poll()
    ensured = world.ensure(asked[1:])
    assert world.task_of(asked[0]) == str(extra)
    assert world.ensure(asked[1:]).tasks == ensured.tasks[:1]


def test_an_extra_that_somebody_has_begun_is_not_deleted(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    (extra,) = _again(world, world.task_of(asked[0]))
    world.owner.draft(extra, "pos")
    world.poll()
    assert len(world.tasks()) == 2


def test_a_late_task_of_a_withdrawn_query_goes(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    task = world.owner.call("get", f"/api/tasks/{world.task_of(asked[2])}/")
    assert world.annotator.withdraw(asked[2:], ours) == (asked[2].query_id,)
    late = [{"data": task["data"], "meta": task["meta"]}]
    world.owner.call("post", f"/api/projects/{world.project}/import", json=late)
    world.poll()
    assert world.keys() == [query.query_id for query in asked[:2]]


def test_what_somebody_has_touched_is_not_withdrawn(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(5)
    world.ensure(asked)
    world.owner.answer(world.task_of(asked[0]), "pos")
    world.owner.skip(world.task_of(asked[1]))
    world.owner.draft(world.task_of(asked[2]), "neg")
    assert world.annotator.withdraw(asked[:4], ours) == (asked[3].query_id,)
    assert world.keys() == [query.query_id for query in asked if query is not asked[3]]
    assert world.poll().gone == ()


def test_what_somebody_has_open_is_not_withdrawn(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    served = world.owner.next_task(world.project)
    assert served is not None
    gone = world.annotator.withdraw(asked, ours)
    assert served["data"]["star_uid"] not in gone and len(gone) == 2
    world.owner.answer(served["id"], "pos")
    assert [each.value for each in world.poll().annotations] == ["pos"]


def test_deleted_tasks_are_noticed_and_restored(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    world.owner.delete_task(world.task_of(asked[1]))
    assert world.poll().gone == (asked[1].query_id,)
    assert world.ensure(asked).restored == (asked[1].query_id,)
    assert world.keys() == [query.query_id for query in asked]
    assert world.poll().gone == ()


def test_deleted_tasks_are_dropped_by_rule(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, deleted="drop"), queries(3)
    world.ensure(asked)
    world.owner.delete_task(world.task_of(asked[1]))
    world.restart()
    ensured = world.ensure(asked)
    assert ensured.dropped == (asked[1].query_id,)
    assert world.keys() == [asked[0].query_id, asked[2].query_id]


def test_answers_of_a_deleted_task_are_kept(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    world.owner.answer(world.task_of(asked[0]), "pos")
    world.ensure(asked)  # has met the answer, but nobody has asked for it yet
    world.owner.delete_task(world.task_of(asked[0]))
    poll = world.poll()
    assert [(each.value, each.withdrawn) for each in poll.annotations] == [("pos", False)]
    assert poll.gone == (asked[0].query_id,)


def test_a_deleted_project_is_made_again(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    deleted = world.project
    world.owner.call("delete", f"/api/projects/{deleted}/")
    assert set(world.poll().gone) == {query.query_id for query in asked}
    ensured = world.ensure(asked)
    assert set(ensured.restored) == {query.query_id for query in asked}
    assert world.project != deleted
    assert world.keys() == [query.query_id for query in asked]


def test_a_deleted_project_is_an_error_by_rule(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, deleted="drop"), queries(2)
    world.ensure(asked)
    world.owner.call("delete", f"/api/projects/{world.project}/")
    world.restart()
    with pytest.raises(AnnotatorError, match="deleted: restore"):
        world.ensure(asked)


def test_nothing_is_changed_once_the_campaign_is_another_s(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)

    def lost() -> None:
        raise LeaseLostError("another controller runs the campaign")

    with pytest.raises(LeaseLostError):
        world.annotator.ensure(asked + queries(2, 2, start=2), list(world.known.values()), lost)
    assert world.keys() == [query.query_id for query in asked]
    _again(world, world.task_of(asked[0]))
    with pytest.raises(LeaseLostError):
        world.annotator.poll(None, lost)
    assert len(world.tasks()) == 3


def test_a_task_asks_as_many_people_as_its_query_wants(label_studio: LabelStudio) -> None:
    world = World(label_studio, overlap=2)
    usual, one = queries(1, wanted=2), queries(1, 1, start=1, wanted=1)
    world.ensure(usual + one)
    assert [task["overlap"] for task in world.tasks()] == [2, 1]
    world.owner.answer(world.task_of(one[0]), "pos")
    world.owner.answer(world.task_of(usual[0]), "pos")
    assert [task["is_labeled"] for task in world.tasks()] == [False, True]


def test_tasks_that_another_campaign_made_are_let_alone(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    copied = {"data": {"text": "copied", "star_uid": "x"}, "meta": {"star_uid": "x", "star_al": "other"}}
    world.owner.call("post", f"/api/projects/{world.project}/import", json=[copied])
    world.poll()
    assert len(world.tasks()) == 2
