"""Answers that cannot be used are refused one by one, and told; the run goes on with the others."""

from __future__ import annotations

from typing import Any

import pytest

from star_al.types import Item, Poll
from support.label_studio_campaign import World, queries
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio

RIGHT = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["pos"]}}
MALFORMED = [
    [RIGHT | {"value": {"choices": 5}}],
    [RIGHT | {"value": []}],
    [RIGHT | {"value": {"choices": ["po\x00s"]}}],
    [RIGHT | {"value": {"choices": [["pos"]]}}],
    [RIGHT | {"value": {"choices": ["pos", "neg"]}}],
    [{"value": {"choices": ["pos"]}}],
    [{"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": ["pos"]}}],
    ["pos"],
    "pos",
    {"choices": "pos"},
    5,
]


def _submit(person: Person, task: str, result: Any) -> None:
    person.call("post", f"/api/tasks/{task}/annotations/", json={"result": result, "lead_time": 1.0})


def _values(poll: Poll) -> dict[str, object]:
    return {each.query_id: each.value for each in poll.annotations}


def test_one_malformed_answer_is_told_and_the_others_arrive(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(len(MALFORMED) + 1)
    world.ensure(asked)
    for query, result in zip(asked, MALFORMED, strict=False):
        path = f"/api/tasks/{world.task_of(query)}/annotations/"
        label_studio.ask("post", path, json={"result": result})  # some are stored although the answer is 500
    there = {str(task["id"]) for task in world.tasks() if task["annotations"]}
    accepted = [query for query in asked if world.task_of(query) in there]
    assert len(accepted) >= 6, "the server takes fewer kinds than it did"
    world.owner.answer(world.task_of(asked[-1]), "pos")
    for _ in range(2):  # in this process and in the next one
        poll = world.poll()
        assert _values(poll) == {asked[-1].query_id: "pos"}
        assert len(poll.notes) == len(accepted)
        for query, note in zip(accepted, poll.notes, strict=True):
            task = world.task_of(query)
            assert note.startswith(f"the answer by {label_studio.user} to task {task} does not count: ")
            assert note.endswith(f"correct or delete it ({world.annotator.place}?task={task})")
        assert poll.gone == ()
        world.restart()
        world.ensure(asked)
    (annotation,) = world.owner.call("get", f"/api/tasks/{world.task_of(accepted[0])}/")["annotations"]
    world.owner.change(annotation["id"], "neg")
    poll = world.poll()
    assert _values(poll)[accepted[0].query_id] == "neg" and len(poll.notes) == len(accepted) - 1


def test_an_answer_that_becomes_malformed_leaves_the_earlier_one(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    number = world.owner.answer(world.task_of(asked[0]), "pos")
    assert [each.value for each in world.poll().annotations] == ["pos"]
    malformed = [RIGHT | {"value": {"choices": 5}}]
    world.owner.call("patch", f"/api/annotations/{number}/", json={"result": malformed})
    poll = world.poll()
    assert poll.annotations == () and len(poll.notes) == 1
    world.restart()
    world.ensure(asked)
    assert world.poll().complete == {}, "the store would take it as deleted"


def test_a_task_whose_keys_are_no_texts_is_not_ours(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    odd = [
        {"data": {"text": "a", "star_uid": {"x": 1}}, "meta": {"star_uid": [], "star_al": 3}},
        {"data": {"text": "b"}, "meta": "no object"},
    ]
    for payload in odd:
        reply = label_studio.ask(
            "post", f"/api/projects/{world.project}/import?return_task_ids=true", json=[payload]
        )
        if reply.is_success:
            world.owner.answer(reply.json()["task_ids"][0], "pos")
    world.owner.answer(world.task_of(asked[0]), "neg")
    world.restart()
    world.ensure(asked)
    assert _values(world.poll()) == {"q-000": "neg"}


def test_an_answer_to_a_text_that_was_changed_does_not_count(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    world.ensure(asked)
    world.owner.answer(world.task_of(asked[0]), "pos")
    assert _values(world.poll()) == {"q-000": "pos"}

    def set_text(number: int, text: str) -> None:
        path = f"/api/tasks/{world.task_of(asked[number])}/"
        data = world.owner.call("get", path)["data"]
        world.owner.call("patch", path, json={"data": data | {"text": text}})

    set_text(0, "after its answer")
    set_text(1, "before its answer")
    world.owner.answer(world.task_of(asked[1]), "pos")
    world.owner.answer(world.task_of(asked[2]), "neg")
    for _ in range(2):
        poll = world.poll()
        assert "q-001" not in _values(poll) and _values(poll)["q-002"] == "neg"
        (note,) = (note for note in poll.notes if f"task {world.task_of(asked[1])} " in note)
        assert note.startswith("the text of task ") and "answers given since do not count" in note
        assert not {"q-000", "q-001"} & poll.complete.keys()
        world.restart()
        world.ensure(asked)
    set_text(1, "text 1")
    poll = world.poll()
    assert _values(poll)["q-001"] == "pos"
    assert not any(f"task {world.task_of(asked[1])} " in note for note in poll.notes)


def test_the_changed_text_of_a_task_of_an_earlier_version_is_noticed(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.items["i-001"] = Item("i-001", "odd \ud800 text\x00")
    world.ensure(asked)
    for query in asked:
        path = f"/api/tasks/{world.task_of(query)}/"
        meta = world.owner.call("get", path)["meta"]
        world.owner.call("patch", path, json={"meta": {key: meta[key] for key in meta if key != "star_sent"}})
    path = f"/api/tasks/{world.task_of(asked[0])}/"
    data = world.owner.call("get", path)["data"]
    world.owner.call("patch", path, json={"data": data | {"text": "changed"}})
    for query in asked:
        world.owner.answer(world.task_of(query), "pos")
    world.restart()
    world.ensure(asked)
    poll = world.poll()
    assert _values(poll) == {"q-001": "pos"} and len(poll.notes) == 1


def test_two_answers_of_one_person_leave_the_task_to_another_person(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, overlap=2), queries(1, wanted=2)
    world.ensure(asked)
    task = world.task_of(asked[0])
    other = Person(label_studio.url, label_studio.new_user("twice@example.org"))
    for label in ("pos", "neg"):
        world.owner.answer(task, label)
    assert other.next_task(world.project) is None, "the server counts people by itself; nothing is tested"
    world.poll()
    given = other.next_task(world.project)
    assert given is not None and str(given["id"]) == task
    other.answer(task, "neg")
    assert {(each.annotator, each.value) for each in world.poll().annotations} == {
        ("twice@example.org", "neg")
    }
    assert other.next_task(world.project) is None
    world.poll()
    (there,) = world.tasks()
    assert there["is_labeled"]


def test_a_refused_answer_leaves_the_task_to_another_person(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    task = world.task_of(asked[0])
    _submit(world.owner, task, [RIGHT | {"value": {"choices": ["third"]}}])
    world.poll()
    other = Person(label_studio.url, label_studio.new_user("refused@example.org"))
    given = other.next_task(world.project)
    assert given is not None and str(given["id"]) == task


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ('choice="single-radio"', 'choice="multiple"', "its Choices let people choose several labels"),
        ("</Choices>", '<Choice value="third"/></Choices>', "also offers 'third', which is not a label"),
    ],
)
def test_a_label_config_that_somebody_changes_while_a_run_waits_is_told(
    label_studio: LabelStudio, old: str, new: str, note: str
) -> None:
    world, asked = World(label_studio), queries(1)
    world.ensure(asked)
    assert world.poll().notes == ()
    path = f"/api/projects/{world.project}/"
    config = world.owner.call("get", path)["label_config"]
    assert old in config
    world.owner.call("patch", path, json={"label_config": config.replace(old, new)})
    (told,) = world.poll().notes
    assert note in told and f"project {world.project}" in told
