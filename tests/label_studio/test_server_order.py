"""The server's own queue gives the most uncertain task first, whether or not people see the model's answer."""

from __future__ import annotations

import pytest

from star_al.types import Item
from support.label_studio_campaign import OPTIONS, World, queries
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio


def _served(world: World, person: Person | None = None) -> list[str]:
    asked: list[str] = []

    def choose(task: dict[str, object]) -> str:
        data = task["data"]
        assert isinstance(data, dict)
        asked.append(data["star_uid"])
        return "pos"

    (person or world.owner).label_all(world.project, choose)
    return asked


@pytest.mark.parametrize("show", [False, True])
def test_most_uncertain_first(label_studio: LabelStudio, show: bool) -> None:
    world, asked = World(label_studio, show_prediction=show), queries(6)
    shuffled = [asked[number] for number in (3, 0, 5, 1, 4, 2)]
    world.ensure(shuffled)
    assert _served(world) == [query.query_id for query in asked]


def test_two_people_in_turn_get_the_most_uncertain_of_the_rest(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(8)
    world.ensure(asked)
    other = Person(label_studio.url, label_studio.new_user("in-turn@example.org"))
    served = []
    for person in (world.owner, other, other, world.owner, other, world.owner, other, world.owner):
        task = person.next_task(world.project)
        assert task is not None
        served.append(task["data"]["star_uid"])
        person.answer(task["id"], "pos")
    assert served == [query.query_id for query in asked]


def test_with_overlap_a_person_first_gets_what_somebody_has_answered(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, overlap=2), queries(6, wanted=2)
    world.ensure(asked)
    other = Person(label_studio.url, label_studio.new_user("overlap@example.org"))
    for _ in range(3):
        task = world.owner.next_task(world.project)
        assert task is not None
        world.owner.answer(task["id"], "pos")
    served = _served(world, other)
    assert set(served[:3]) == {query.query_id for query in asked[:3]}
    assert served[3:] == [query.query_id for query in asked[3:]]


def test_what_was_left_open_is_ordered_with_the_new_round(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    old, new = queries(4, 1), queries(4, 2, start=10)
    world.ensure(old)
    world.restart()
    world.ensure(old + new)
    served = _served(world)
    assert served[:2] in (["q-000", "q-010"], ["q-010", "q-000"])
    assert [key for key in served if key < "q-010"] == [query.query_id for query in old]
    assert [key for key in served if key >= "q-010"] == [query.query_id for query in new]


def test_predictions_hold_an_answer_only_if_it_is_to_be_shown(label_studio: LabelStudio) -> None:
    for show in (False, True):
        world = World(label_studio, show_prediction=show)
        world.ensure(queries(2))
        found = [task["predictions"] for task in world.tasks()]
        assert [len(predictions) for predictions in found] == [1, 1]
        assert [predictions[0]["score"] for predictions in found] == [0.0, 0.5]
        shown = [predictions[0]["result"] for predictions in found]
        if not show:
            assert shown == [[], []]
            continue
        assert shown[0][0]["value"] == {"choices": ["pos"]}
        assert shown[0][0]["score"] == 0.75


def test_a_multiple_choice_answer_can_be_shown(label_studio: LabelStudio) -> None:
    world = World(label_studio, OPTIONS, show_prediction=True)
    (query,) = queries(1)
    reason = type(query.reason)("why", blended=0.4, predicted="B", confidence=0.6)
    world.items["i"] = Item("i", "Which?", options=("one", "two"))
    world.ensure([type(query)("q", "i", 1, query.purpose, 1, reason)])
    (task,) = world.tasks()
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["B"]}


def test_queries_without_scores_are_served_too(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(3)
    reason = type(asked[0].reason)("drawn at random")
    plain = [type(query)(query.query_id, query.item_id, 0, query.purpose, 1, reason) for query in asked]
    world.ensure(plain)
    assert sorted(_served(world)) == [query.query_id for query in asked]
