"""Where written answers are graded, confidence is the probability of a right answer, from evaluation to export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from star_al.app.predicting import predict_rows
from star_al.app.predictor import Predictor
from star_al.app.reporting import gather
from star_al.report.page import campaign_page
from star_al.stats.metrics import ece, reliability_bins
from star_al.task.columns import is_right
from star_al.types import HeldOutPrediction, PlattScaling, Role
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World

SPOKEN = {"sport": "they played a game", "business": "they made a trade", "tech": "a chip"}
LAST = 2
"""The newest round."""


def graded_world(folder: Path, **changes: Any) -> World:
    """A campaign whose answers are graded by their words; those of sport and business are half alike."""
    rows = [{**row, "label": SPOKEN[row["label"]]} for row in make_rows(180)]
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "pool.jsonl", rows)
    settings = {
        "task": {"kind": "text", "metric": "rouge_l", "right_at": 0.9, "draws": 3},
        "acquisition__measure": "entropy",
        "evaluation": {"kind": "audit", "size": 50, "calibration": 40, "stop_set": 10},
        "stopping__max_rounds": 2,
    }
    write_campaign(folder, **{**settings, **changes})
    return World(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A campaign that has ended."""
    made = graded_world(tmp_path_factory.mktemp("graded"))
    assert made.run().kind == "stopped"
    return made


def platt_of(world: World, index: int) -> PlattScaling:
    evaluation = world.round(index).evaluation
    assert evaluation is not None and evaluation.platt is not None
    return evaluation.platt


def naive_confidence(platt: PlattScaling, one: HeldOutPrediction) -> float:
    p = float(np.exp(one.log_probs_C[:-1].max()))
    features = platt.nll * one.signals["nll"] + platt.length * one.signals["length"]
    return float(expit(platt.intercept + features + platt.log_odds * logit(p)))


def test_calibration_and_trust_are_measured_by_the_fitted_confidence(world: World) -> None:
    labels = world.store.labels(world.campaign_id, Role.AUDIT)
    kept = [one for one in world.store.held_out(world.campaign_id, LAST) if one.item_id in labels]
    items = world.store.items(world.campaign_id, [one.item_id for one in kept])
    right_N = np.array(
        [
            is_right(
                world.parts().task,
                item,
                one.answers[int(one.log_probs_C[:-1].argmax())],
                labels[one.item_id].value,
            )
            for item, one in zip(items, kept, strict=True)
        ]
    )
    sure_N = np.array([naive_confidence(platt_of(world, LAST), one) for one in kept])
    found = {(one.model, one.scaling): one for one in world.store.evaluations(world.campaign_id, LAST)}
    scaled, raw = found["adapted", "temperature"], found["adapted", "raw"]
    assert scaled.ece == pytest.approx(ece(reliability_bins(sure_N, right_N))) and scaled.ece != raw.ece
    pairs = [(a > b) + (a == b) / 2 for a in sure_N[right_N] for b in sure_N[~right_N]]
    assert scaled.figures["auroc"] == pytest.approx(np.mean(pairs))
    assert scaled.accuracy == raw.accuracy == right_N.mean()


def test_the_fit_is_told_with_the_temperature(world: World) -> None:
    evaluation = world.round(LAST).evaluation
    assert evaluation is not None
    assert "fitted on 40 calibration labels" in evaluation.temperature_note
    assert "fitted on 40 graded answers" in evaluation.temperature_note
    start = world.round(0).evaluation  # the base model tells nothing but probabilities
    assert start is not None and start.platt is None
    assert "scaled probability of the answer, of which alone" in start.temperature_note


def test_predictions_and_the_report_have_the_same_confidence(world: World) -> None:
    kept = {one.item_id: one for one in world.store.held_out(world.campaign_id, LAST)}
    snapshot = gather(world.store, world.campaign)
    labels = world.store.labels(world.campaign_id, Role.AUDIT)
    expected = sorted(naive_confidence(platt_of(world, LAST), kept[item_id]) for item_id in labels)
    assert sorted(one.confidence for one in snapshot.answers) == pytest.approx(expected)
    html = campaign_page(snapshot)
    assert "fitted to right answers" in html and "probability of a right answer" in html

    items = world.store.items(world.campaign_id, sorted(labels))
    found = Predictor(world.parts()).answers(items, lambda n: None)
    assert sorted(one.confidence for one in found) == pytest.approx(expected)
    rows = [{"text": item.text, "id": item.item_id} for item in items]
    written = predict_rows(world.parts(), rows, world.progress)
    assert [row["confidence"] for row in written] == [one.confidence for one in found]


def test_a_round_of_an_earlier_version_keeps_the_scaled_probability(world: World, tmp_path: Path) -> None:
    old = graded_world(tmp_path)
    old.run()
    last = old.round(LAST)
    assert last.evaluation is not None and last.evaluation.platt is not None
    state = old.store._campaigns[old.campaign_id]
    state.rounds[LAST] = replace(last, evaluation=replace(last.evaluation, platt=None))
    items = old.store.items(old.campaign_id, sorted(old.store.labels(old.campaign_id, Role.AUDIT)))
    newer, older = Predictor(world.parts()), Predictor(old.parts())
    for one in older.answers(items, lambda n: None):
        assert one.right is None and one.confidence == max(one.probabilities_C[:-1])
    assert newer.key != older.key


def test_with_too_few_labels_the_temperature_alone_is_fitted(tmp_path: Path) -> None:
    few = graded_world(tmp_path, evaluation={"kind": "audit", "size": 8, "calibration": 12, "stop_set": 4})
    few.run()
    evaluation = few.round(LAST).evaluation
    assert evaluation is not None and evaluation.platt is None
    assert "takes 20 graded answers" in evaluation.temperature_note


def test_answers_that_are_right_or_wrong_are_left_to_the_temperature(tmp_path: Path) -> None:
    exact = graded_world(tmp_path, task={"kind": "text", "draws": 3})
    exact.run()
    evaluation = exact.round(LAST).evaluation
    assert evaluation is not None and evaluation.platt is None and "graded" not in evaluation.temperature_note
