"""A multiple-choice campaign with different numbers of options runs through the whole loop."""

from __future__ import annotations

import random
from pathlib import Path

from star_al.app.predictor import Predictor
from star_al.types import Role
from support import stored
from support.campaigns import FILLERS, write_campaign, write_jsonl
from support.world import World


def make_questions(n: int) -> list[dict[str, object]]:
    """Return questions with two to four options; the question names the right one."""
    random_ = random.Random(1)
    rows: list[dict[str, object]] = []
    for number in range(n):
        options = random_.sample(FILLERS, random_.randint(2, 4))
        gold = random_.randrange(len(options))
        rows.append({"text": f"which is {options[gold]} {number}", "options": options, "label": "ABCD"[gold]})
    return rows


def test_options_of_unequal_number_are_asked_labelled_and_measured(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_questions(50))
    write_campaign(
        tmp_path, data={"path": "pool.jsonl", "options": "options"}, task={"kind": "multiple_choice"}
    )
    world = World(tmp_path)
    outcome = world.run()
    assert outcome.kind == "stopped"
    labels = world.store.labels(world.campaign_id)
    items = world.store.items(world.campaign_id, sorted(labels))
    assert {len(item.options) for item in items} == {2, 3, 4}
    for item in items:
        assert labels[item.item_id].value == item.fields["label"]
        assert str(labels[item.item_id].value) in "ABCD"[: len(item.options)]
    evaluation = world.store.evaluations(world.campaign_id, 2)[0]
    assert evaluation.n == len(world.store.labels(world.campaign_id, Role.AUDIT))
    assert set(evaluation.recall) <= {"A", "B", "C", "D"}
    top = stored.ranking(world.store, world.campaign_id, 2)
    assert all(
        row.adapted_uncertainty is not None and 0 <= row.adapted_uncertainty <= 1 + 1e-9 for row in top
    )


def test_a_head_ranks_questions_with_options(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_questions(50))
    write_campaign(
        tmp_path,
        data={"path": "pool.jsonl", "options": "options"},
        task={"kind": "multiple_choice"},
        acquisition__scorer="head",
    )
    world = World(tmp_path)
    assert Predictor(world.parts()).model.note.startswith("head by the similarity of options")
    assert world.run().kind == "stopped"
    assert {one.head_sha256 is None for one in world.store.rounds(world.campaign_id)[1:]} == {False}
