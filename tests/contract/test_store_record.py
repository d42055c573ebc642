"""What ``star_al.ports.Store`` promises of the record of a campaign: log, history and studies."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from star_al.ports import Store
from star_al.types import (
    Event,
    HeldOutPrediction,
    PlattScaling,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    StepResults,
    Study,
    StudyRun,
)
from support.records import (
    EVENT,
    FUNNY,
    a_round,
    abc,
    evaluation,
    query,
)


def test_the_log_is_kept_in_order(store: Store) -> None:
    campaign_id, lease = abc(store)
    moment = datetime(2024, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    store.add_event(lease, EVENT)
    store.add_event(lease, Event("fit", FUNNY, created_at=moment))
    first, second = store.events(campaign_id)
    assert first.created_at is not None
    assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=1)
    assert dataclasses.replace(first, created_at=None) == EVENT
    assert second == Event("fit", FUNNY, created_at=moment)


HISTORY = [
    "round",
    "state",
    "labels",
    "labels_bought",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "macro_f1",
    "nll",
    "brier",
    "ece",
    "base_accuracy",
    "base_nll",
    "base_ece",
    "temperature",
    "base_temperature",
    "blend_weight",
    "pool_size",
    "asked",
    "skipped",
    "disputed",
    "agreement",
    "stop_agreement",
    "sequence_low",
    "sequence_high",
    "shadow_labels",
    "shadow_accuracy",
    "head_accuracy",
    "head_accuracy_low",
    "head_accuracy_high",
    "head_macro_f1",
    "head_nll",
    "head_ece",
    "taught_texts",
    "taught_weight",
    "delivered_head_weight",
    "delivered_adapted_weight",
    "delivered_accuracy",
    "delivered_nll",
    "delivered_ece",
    "stop_advice",
    "seconds",
    "stop_reason",
]


def test_history_shows_the_scaled_adapted_and_the_calibrated_base(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    raw = [evaluation(nll=0.9), evaluation("base", nll=1.9)]
    store.commit_step(
        lease, a_round(0, seconds={"fit": 1.5, "score": 2.0}, labels=4), EVENT, StepResults(evaluations=raw)
    )
    scaled = [evaluation(scaling="temperature", nll=0.5), evaluation("base", "contextual", nll=1.5)]
    unseen = evaluation("base", "temperature", nll=9.0)
    full = a_round(
        1,
        state=RoundState.COLLECTED,
        evaluation=RoundEvaluation(1.8, 1.1, "fitted"),
        decision=RoundDecision(3, stop_reason="done"),
        selection=RoundSelection(4, 0.5),
        collection=RoundCollection(2, 1, 0.25),
    )
    store.commit_step(lease, full, EVENT, StepResults(evaluations=[*raw, *scaled, unseen]))
    first, second = store.history(campaign_id)
    assert list(first) == HISTORY
    assert (first["nll"], first["base_nll"], first["seconds"], first["labels"]) == (0.9, 1.9, 3.5, 4)
    assert (second["nll"], second["base_nll"], second["seconds"]) == (0.5, 1.5, 0.0)
    assert (second["round"], second["state"], second["temperature"]) == (1, "collected", 1.8)
    assert (second["stop_reason"], second["pool_size"]) == ("done", 3)
    assert (second["asked"], second["blend_weight"]) == (4, 0.5)
    assert (first["asked"], first["blend_weight"], first["pool_size"]) == (0, None, None)
    assert (second["skipped"], second["disputed"], second["agreement"]) == (2, 1, 0.25)
    assert (first["skipped"], first["disputed"], first["agreement"]) == (0, 0, None)
    assert (second["accuracy"], second["accuracy_low"], second["accuracy_high"]) == (0.7, 0.4, 0.9)


def test_history_of_a_round_without_evaluation_has_no_metrics(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    (row,) = store.history(campaign_id)
    assert row["state"] == "started"
    assert {row[name] for name in ("accuracy", "nll", "ece", "base_accuracy", "temperature")} == {None}


def test_a_round_keeps_what_proves_its_worth(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(0), [])
    fit = RoundFit(
        "abc", head_sha256="cd", shadow_labels=4, shadow_sha256="ab", taught_texts=9, taught_weight=0.5
    )
    measured = RoundEvaluation(
        1.8,
        1.1,
        "fitted",
        adapted_temperature=0.9,
        delivered_head_weight=0.75,
        delivered_adapted_weight=0.0,
        delivered_note="the head alone",
        platt=PlattScaling(intercept=0.5, nll=-1 / 3, log_odds=0.25, length=-0.0625),
    )
    decision = RoundDecision(3, 0.5, 0.9, stop_advice="stable")
    decided = a_round(0, fit=fit, evaluation=measured, decision=decision)
    shadow, head = evaluation("shadow", nll=0.7), evaluation("head", nll=0.6)
    scaled = evaluation("head", "temperature", nll=0.4)
    delivered = evaluation("delivered", nll=0.3)
    results = StepResults(evaluations=[evaluation(), delivered, head, scaled, shadow])
    store.commit_step(lease, decided, EVENT, results)
    assert store.rounds(campaign_id) == [decided]
    assert store.evaluations(campaign_id, 0)[1:] == [delivered, head, scaled, shadow]
    [row] = store.history(campaign_id)
    assert (row["head_accuracy"], row["head_nll"], row["head_ece"]) == (scaled.accuracy, 0.4, scaled.ece)
    assert row["shadow_accuracy"] == shadow.accuracy
    assert [row[name] for name in ("taught_texts", "taught_weight")] == [9, 0.5]
    assert [row[f"delivered_{name}"] for name in ("head_weight", "adapted_weight", "nll")] == [0.75, 0.0, 0.3]
    assert [row[name] for name in ("sequence_low", "shadow_labels", "stop_advice")] == [0.5, 4, "stable"]


def test_held_out_predictions_take_the_place_of_earlier_ones(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(0), [])
    log_probs = np.log([0.25, 0.75])
    first = [HeldOutPrediction(name, "adapted", log_probs, 0.5) for name in ("a", "b")]
    store.commit_step(lease, a_round(0), EVENT, StepResults(held_out=first))
    second = [
        HeldOutPrediction("b", "head", log_probs[::-1]),
        HeldOutPrediction(
            "c", "adapted", log_probs, 1.5, ("a\nlong “text”", None), {"nll": 0.1, "p(a)": 1.0}
        ),
    ]
    store.commit_step(lease, a_round(0), EVENT, StepResults(held_out=second))
    store.commit_step(lease, a_round(0), EVENT)
    found = store.held_out(campaign_id, 0)
    assert [(one.item_id, one.model, one.uncertainty) for one in found] == [
        ("c", "adapted", 1.5),
        ("b", "head", None),
    ]
    np.testing.assert_array_equal(found[1].log_probs_C, log_probs[::-1])
    assert found[0].answers == ("a\nlong “text”", None) and found[0].signals == {"nll": 0.1, "p(a)": 1.0}
    assert found[1].answers == () and found[1].signals == {}
    assert store.held_out(campaign_id, 1) == []


def test_a_control_query_is_marked_as_one(store: Store) -> None:
    campaign_id, lease = abc(store)
    queries = [query("a", control=True), query("b", rank=2)]
    store.start_round(lease, a_round(0), [])
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=queries))
    assert [one.control for one in store.queries(campaign_id)] == [True, False]


def test_a_study_grows_and_keeps_its_config(store: Store) -> None:
    assert store.study("s") is None
    first = Study("s", {"seed": 1}, (StudyRun("random", 0, "s.random.0"),))
    assert store.save_study(first) == first
    more = (StudyRun("star", 0, "s.star.0"), StudyRun("random", 1, "s.random.1"), *first.runs)
    grown = store.save_study(Study("s", {"seed": 1}, more))
    assert [(run.strategy, run.seed) for run in grown.runs] == [("random", 0), ("random", 1), ("star", 0)]
    assert store.save_study(Study("s", {"seed": 2}, ())).config == {"seed": 1}
    assert store.study("s") == grown
