"""Every answer comes back: new, changed, skipped, taken back; whoever gave it."""

from __future__ import annotations

from star_al.types import Annotation, Item
from support.label_studio_campaign import OPTIONS, World, queries
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio


def _short(annotation: Annotation) -> tuple[object, ...]:
    return annotation.query_id, annotation.value, annotation.skipped, annotation.withdrawn


def _polled(world: World) -> list[tuple[object, ...]]:
    return sorted(map(_short, world.poll().annotations), key=str)


def test_an_answer_through_its_life(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    assert _polled(world) == []
    answer = world.owner.answer(world.task_of(asked[0]), "pos")
    assert _polled(world) == [("q-000", "pos", False, False)]
    assert _polled(world) == []
    world.owner.change(answer, "neg")
    assert _polled(world) == [("q-000", "neg", False, False)]
    world.owner.take_back(answer)
    assert _polled(world) == [("q-000", "neg", False, True)]
    world.owner.answer(world.task_of(asked[0]), "pos")
    assert _polled(world) == [("q-000", "pos", False, False)]


def test_who_answered_when_and_how_long_it_took(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    number = world.owner.answer(world.task_of(asked[0]), "pos", lead_time=12.5)
    (annotation,) = world.poll().annotations
    assert (annotation.annotator, annotation.lead_time) == (label_studio.user, 12.5)
    assert annotation.created_at is not None
    assert annotation.external_id == f"{number}@{annotation.created_at.isoformat()}"


def test_skips_empty_answers_and_unsure_count_as_skips(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, unsure="Not sure"), queries(4)
    world.ensure(asked)
    skip = world.owner.skip(world.task_of(asked[0]))
    world.owner.answer(world.task_of(asked[1]), None)
    world.owner.answer(world.task_of(asked[2]), "Not sure")
    assert _polled(world) == [
        ("q-000", None, True, False),
        ("q-001", None, True, False),
        ("q-002", "Not sure", True, False),
    ]
    world.owner.change(skip, "pos")
    assert _polled(world) == [("q-000", "pos", False, False)]


def test_a_draft_is_no_answer_and_an_unknown_label_is_refused(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    world.owner.draft(world.task_of(asked[0]), "pos")
    world.owner.answer(world.task_of(asked[1]), "neither")
    poll = world.poll()
    assert poll.annotations == ()
    assert "'neither' is not a label of the campaign" in poll.notes[0]


def test_several_people_answer_one_task(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, overlap=2), queries(1, wanted=2)
    world.ensure(asked)
    other = Person(label_studio.url, label_studio.new_user("second@example.org"))
    world.owner.answer(world.task_of(asked[0]), "pos")
    other.answer(world.task_of(asked[0]), "neg")
    found = {each.annotator: each.value for each in world.poll().annotations}
    assert found == {label_studio.user: "pos", "second@example.org": "neg"}


def test_a_fresh_process_gets_everything_again_closed_queries_too(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    world.owner.answer(world.task_of(asked[0]), "pos")
    first = world.poll()
    world.restart()
    world.cursor = first.cursor  # of another process
    world.ensure(asked[1:])
    assert world.poll().annotations == first.annotations
    edited = world.owner.answer(world.task_of(asked[0]), "neg")
    assert [each.value for each in world.poll().annotations] == ["neg"]
    world.owner.change(edited, "pos")
    assert [each.value for each in world.poll().annotations] == ["pos"]


def test_a_lost_poll_can_be_asked_again(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    start = world.poll().cursor
    world.owner.answer(world.task_of(asked[0]), "pos")
    world.poll()
    world.cursor = start
    assert _polled(world) == [("q-000", "pos", False, False)]


def test_answers_to_foreign_tasks_are_not_ours(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    path = f"/api/projects/{world.project}/import?return_task_ids=true"
    (foreign,) = world.owner.call("post", path, json=[{"data": {"text": "mine"}}])["task_ids"]
    world.owner.answer(foreign, "pos")
    assert _polled(world) == []
    assert len(world.tasks()) == 2
    world.owner.answer(world.task_of(asked[0]), "pos")
    assert _polled(world) == [("q-000", "pos", False, False)]


def test_a_multiple_choice_answer_is_its_letter(label_studio: LabelStudio) -> None:
    world = World(label_studio, OPTIONS, unsure="None of them")
    (query,) = queries(1)
    world.items["i"] = Item("i", "Which?", options=("costs $5", "<b>x</b>", "😀"))
    asked = [type(query)("q", "i", 1, query.purpose, 1, query.reason)]
    world.ensure(asked)
    (task,) = world.tasks()
    assert [choice["alias"] for choice in task["data"]["options"]] == ["A", "B", "C", "None of them"]
    world.owner.answer(world.task_of(asked[0]), "C")
    assert _polled(world) == [("q", "C", False, False)]


def test_a_task_with_the_number_of_a_deleted_one_is_another(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    deleted = world.task_of(asked[0])
    world.owner.answer(deleted, "pos")
    assert _polled(world) == [("q-000", "pos", False, False)]
    world.owner.delete_task(deleted)
    world.ensure(asked)
    assert world.task_of(asked[0]) == deleted, "this server gives no number again; nothing is tested"
    world.owner.answer(world.task_of(asked[0]), "neg")
    assert _polled(world) == [("q-000", "neg", False, False)]


def test_labels_of_a_lost_database_stay_told_apart(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked)
    world.owner.answer(world.task_of(asked[0]), "pos")
    (old,) = world.poll().annotations
    login = (label_studio.user, label_studio.password, label_studio.token)
    label_studio.lose_database()
    assert (label_studio.user, label_studio.password, label_studio.token) == login
    assert label_studio.call("get", "/api/projects/")["results"] == []
    other = World(label_studio)  # somebody else's project gets the number that ours had
    other.ensure(queries(1))
    assert set(world.poll().gone) == {"q-000", "q-001"}
    ensured = world.ensure(asked)
    assert set(ensured.restored) == {"q-000", "q-001"}
    assert world.project != other.project
    world.owner.answer(world.task_of(asked[0]), "neg")
    (new,) = world.poll().annotations
    assert (old.value, new.value) == ("pos", "neg")
    assert old.external_id != new.external_id
    assert len(other.tasks()) == 1
