"""Labels and texts that a config, a request or a page could stumble over."""

from __future__ import annotations

from dataclasses import replace

from star_al.config.spec import task_spec
from star_al.types import Item
from support.label_studio_campaign import OPTIONS, World, queries
from support.label_studio_server import LabelStudio

LABELS = ['a "quoted" <b>', "it's, well", "😀 glad", "1st & last", "$text", "5 < 6 > 4", "back\\slash"]


def test_every_label_comes_back_as_it_was(label_studio: LabelStudio) -> None:
    task = task_spec({"kind": "classification", "labels": LABELS})
    world = World(label_studio, task, question="What's <this>? & $text", show_prediction=True)
    asked = queries(len(LABELS))
    asked = [
        replace(query, reason=replace(query.reason, predicted=label))
        for query, label in zip(asked, LABELS, strict=True)
    ]
    world.ensure(asked)
    for query, label in zip(asked, LABELS, strict=True):
        world.owner.answer(world.task_of(query), label)
    found = {each.query_id: each.value for each in world.poll().annotations}
    assert found == {query.query_id: label for query, label in zip(asked, LABELS, strict=True)}
    shown = [task["predictions"][0]["result"][0]["value"]["choices"][0] for task in world.tasks()]
    assert shown == LABELS
    world.restart()
    world.ensure(asked)  # the server keeps the config as it was written
    assert "test campaign" in world.annotator.examine_project()


def test_texts_arrive_as_they_are(label_studio: LabelStudio) -> None:
    texts = [
        "<script>alert(1)</script> & <b>bold</b>",
        "costs $5, or $text, or {{text}}",
        "line\n\n\tindented\r\nend 😀 \u202e",
        "s3://bucket/key",
        "a" * 1_000_000,
    ]
    world = World(label_studio, show_reason=True)
    asked = queries(len(texts))
    world.items = {query.item_id: Item(query.item_id, text) for query, text in zip(asked, texts, strict=True)}
    world.ensure(asked)
    data = {task["data"]["star_uid"]: task["data"] for task in world.tasks()}
    assert [data[query.query_id]["text"] for query in asked] == texts
    assert data["q-000"]["why"] == "reason 0"


def test_what_cannot_be_sent_is_replaced(label_studio: LabelStudio) -> None:
    world = World(label_studio, OPTIONS)
    (query,) = queries(1)
    text, options = "nul \x00 and half \ud83d", ("a\x00", "b")
    world.items[query.item_id] = Item(query.item_id, text, options)
    world.ensure([query])
    (task,) = world.tasks()
    assert task["data"]["text"] == "nul \ufffd and half \ufffd"
    assert task["data"]["options"][0]["value"] == "A. a\ufffd"
