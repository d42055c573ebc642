"""Campaigns whose answers are written run through the whole loop, with what the answers were at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from star_al.app.predicting import predict_rows
from star_al.artefacts.score_file import read_answers, read_predictions, read_scores, read_signals
from star_al.replay import replay_round
from star_al.types import Role
from support import stored
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World

SPOKEN = {
    "sport": "The words are of games. Answer: sport",
    "business": "They tell of <b>money</b>.\nAnswer: “business & trade”",
    "tech": "Answer: tech",
}
"""What people write for each label of the made-up sentences."""
VALUES = {"sport": "sport", "business": "“business & trade”", "tech": "tech"}
TASK = {"kind": "text", "answer": {"pattern": "Answer: (.+)"}, "draws": 3}


def write_world(folder: Path, **changes: Any) -> World:
    """A campaign in which the learner draws answers."""
    rows = [{**row, "label": SPOKEN[row["label"]]} for row in make_rows(60)]
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "pool.jsonl", rows)
    write_campaign(folder, **{"task": TASK, "acquisition__measure": "entropy", **changes})
    return World(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A campaign that has ended."""
    made = write_world(tmp_path_factory.mktemp("open"))
    assert made.run().kind == "stopped"
    return made


def test_labels_are_kept_as_people_wrote_them(world: World) -> None:
    labels = world.store.labels(world.campaign_id)
    for item in world.store.items(world.campaign_id, sorted(labels)):
        assert labels[item.item_id].value == item.fields["label"]
    assert {str(label.value) for label in labels.values()} == set(SPOKEN.values())


def test_the_score_file_says_what_the_columns_stand_for(world: World) -> None:
    round_ = world.round(2)
    path = world.parts().artefacts.score_file(round_.scores_sha256 or "")
    item_ids, scores = read_scores(path)
    opened = read_answers([path], item_ids)
    assert opened is not None and set(opened.signals) >= {"nll", "token_entropy", "ess"}
    log_probs_N_K_C = read_predictions([path], item_ids)
    for values, log_probs_K_C in zip(opened.answers, log_probs_N_K_C, strict=True):
        assert values[-1] is None and set(values[:-1]) <= set(VALUES.values())
        assert np.isfinite(log_probs_K_C[:, : len(values)]).all()
        assert np.isneginf(log_probs_K_C[:, len(values) :]).all()
    assert scores.adapted_uncertainty is not None


def test_the_parts_of_the_entropy_are_told_where_there_are_enough_draws(world: World) -> None:
    path = world.parts().artefacts.score_file(world.round(2).scores_sha256 or "")
    item_ids, scores = read_scores(path)
    few_N = read_signals(path)["ess"] < 2 * 3 * (1 - 1e-9)
    assert few_N.any() and not few_N.all()
    assert scores.epistemic is not None and scores.aleatoric is not None
    np.testing.assert_array_equal(np.isnan(scores.epistemic), few_N)
    np.testing.assert_array_equal(np.isnan(scores.aleatoric), few_N)
    few = {item_id for item_id, is_few in zip(item_ids, few_N, strict=True) if is_few}
    rows = stored.ranking(world.store, world.campaign_id, 2)
    assert {row.item_id for row in rows if row.epistemic is None} == few
    for query in world.asked():
        if query.round_index == 2 and query.reason.adapted_uncertainty is not None:
            assert (query.reason.epistemic is None) == (query.item_id in few)
            assert ("epistemic part" in query.reason.text) == (query.item_id not in few)


def test_queries_name_the_predicted_answer_and_its_probability(world: World) -> None:
    asked = [query for query in world.asked() if query.round_index == 2]
    assert asked and {query.reason.predicted for query in asked} <= set(VALUES.values())
    assert all(0.0 < (query.reason.confidence or 0.0) <= 1.0 for query in asked)


def test_right_and_wrong_follow_from_the_answers_to_held_out_items(world: World) -> None:
    found = {(one.model, one.scaling): one for one in world.store.evaluations(world.campaign_id, 2)}
    labels = world.store.labels(world.campaign_id, Role.AUDIT)
    golds = {
        item.item_id: VALUES[_label_of(str(labels[item.item_id].value))]
        for item in world.store.items(world.campaign_id, sorted(labels))
    }
    kept = [
        one
        for one in world.store.held_out(world.campaign_id, 2)
        if one.model == "adapted" and one.item_id in golds
    ]
    assert len(kept) == len(golds) and all(one.signals["nll"] >= 0 for one in kept)
    right = [one.answers[int(one.log_probs_C[:-1].argmax())] == golds[one.item_id] for one in kept]
    assert found["adapted", "raw"].accuracy == np.mean(right) > found["base", "raw"].accuracy
    nll = []
    for one in kept:
        gold = golds[one.item_id]
        column = one.answers.index(gold) if gold in one.answers else len(one.answers) - 1
        nll.append(-one.log_probs_C[column])
    assert found["adapted", "raw"].nll == pytest.approx(np.mean(nll))
    assert (
        found["base", "raw"].figures["without_answer"]
        > 0
        == found["adapted", "raw"].figures["without_answer"]
    )
    assert found["adapted", "raw"].macro_f1 is None and not found["adapted", "raw"].confusion_C_C
    assert found["adapted", "temperature"].nll != found["adapted", "raw"].nll


def test_the_stop_set_keeps_values_and_compares_them(world: World) -> None:
    evaluation = world.round(2).evaluation
    assert evaluation is not None and len(evaluation.stop_set) == 10
    assert set(evaluation.stop_set.values()) <= set(VALUES.values())
    before = world.round(1).evaluation
    assert before is not None
    share = np.mean([before.stop_set[item_id] == value for item_id, value in evaluation.stop_set.items()])
    assert evaluation.stop_agreement == share


def test_a_round_is_replayed_to_the_same_batch(world: World) -> None:
    for index in (1, 2):
        replay = replay_round(world.round_parts(index))
        assert replay.same_batch and replay.same_adapter


@pytest.mark.parametrize(
    "measure", ["nll", "token_entropy", "token_bald", "sequence_entropy", "bald", "margin"]
)
def test_every_measure_ranks_the_pool(measure: str, tmp_path: Path) -> None:
    world = write_world(tmp_path, acquisition__measure=measure, stopping__max_rounds=2)
    world.run()
    path = world.parts().artefacts.score_file(world.round(1).scores_sha256 or "")
    item_ids, scores = read_scores(path)
    opened = read_answers([path], item_ids)
    assert opened is not None and scores.adapted_uncertainty is not None
    if measure in opened.signals:
        np.testing.assert_array_equal(scores.adapted_uncertainty, opened.signals[measure])
    assert len(np.unique(scores.adapted_uncertainty)) > 1
    kept = world.store.held_out(world.campaign_id, 1)
    assert all(one.uncertainty is not None for one in kept if one.model == "adapted")
    samples = 1 if measure in ("nll", "token_entropy") else 2  # the likeliest answer needs no sample
    assert read_predictions([path], item_ids).shape[1] == samples


@pytest.mark.parametrize("blend", [{"kind": "schedule"}, {"kind": "prequential"}, {"kind": "measured"}])
def test_the_blend_takes_what_the_base_model_tells_of_its_own_answer(blend: Any, tmp_path: Path) -> None:
    world = write_world(tmp_path, acquisition__blend=blend)
    world.run()
    rows = stored.ranking(world.store, world.campaign_id, 2)
    predictions = world.store.base_predictions(world.learner.base_key, [row.item_id for row in rows])
    assert [row.base_uncertainty for row in rows] == [predictions[row.item_id].uncertainty for row in rows]
    assert (selection := world.round(2).selection) is not None and selection.blend_weight is not None
    if blend["kind"] == "prequential":
        assert "learned from" in (selection.blend_note or "")
    replay = replay_round(world.round_parts(2))
    assert replay.same_batch


def test_a_cold_start_ranks_by_the_base_model(tmp_path: Path) -> None:
    batch = {"kind": "top_k", "near_duplicates": None}
    world = write_world(tmp_path, acquisition__cold_start="base_uncertainty", acquisition__batch=batch)
    world.run(1)
    first = [query for query in world.asked() if query.round_index == 0]
    told = world.store.base_predictions(world.learner.base_key, world.store.pool_ids(world.campaign_id, 0))
    by_uncertainty = sorted(told.values(), key=lambda one: -(one.uncertainty or 0.0))
    assert [query.item_id for query in first] == [one.item_id for one in by_uncertainty[: len(first)]]


def test_a_list_of_references_is_right_if_one_is(world: World, tmp_path: Path) -> None:
    with_one = world.store.evaluations(world.campaign_id, 3)
    rows = [{**row, "label": [SPOKEN[row["label"]], "Answer: news"]} for row in make_rows(60)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    write_campaign(tmp_path, task=TASK, acquisition__measure="entropy")
    world = World(tmp_path)
    world.run()
    labels = world.store.labels(world.campaign_id, Role.AUDIT)
    assert all(isinstance(label.value, list) and len(label.value) == 2 for label in labels.values())
    with_two = world.store.evaluations(world.campaign_id, 3)
    assert [one.accuracy for one in with_two] == [one.accuracy for one in with_one]
    assert with_one[0].accuracy > 0


def _label_of(spoken: str) -> str:
    return next(label for label, text in SPOKEN.items() if text == spoken)


def test_the_rows_of_the_pool_are_as_they_were_written(world: World) -> None:
    rows = [json.loads(line) for line in (world.file.path.parent / "pool.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == set(SPOKEN.values())


def test_predictions_are_written_with_confidence_and_alternatives(world: World) -> None:
    rows = predict_rows(world.parts(), [{"text": "the team lost the cup", "id": "x"}], world.progress)
    assert list(rows[0]) == [
        *(
            "text",
            "id",
            "predicted",
            "confidence",
            "total_uncertainty",
            "aleatoric",
            "epistemic",
            "alternatives",
        )
    ]
    assert rows[0]["predicted"] in VALUES.values()
    alternatives = cast(list[dict[str, Any]], rows[0]["alternatives"])
    listed = [float(cast(float, rows[0]["confidence"])), *(one["probability"] for one in alternatives)]
    assert listed == sorted(listed, reverse=True) and sum(listed) < 1
    assert rows[0]["predicted"] not in [one["answer"] for one in alternatives]


def test_the_base_model_predicts_before_anything_is_trained(tmp_path: Path) -> None:
    new = write_world(tmp_path)
    [row] = predict_rows(new.parts(), [{"text": "some words", "id": "x"}], new.progress)
    assert row["predicted"] in ("sport", None) and row["alternatives"] == []
