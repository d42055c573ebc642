"""What ``star_al.ports.Store`` promises of rounds, their steps and their base predictions, on every store."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    Histogram,
    JsonValue,
    Label,
    RoundCollection,
    RoundDecision,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    ScoreRow,
    ShortlistRecord,
    StepResults,
)
from support.records import (
    ADAPTER,
    EVENT,
    FUNNY,
    a_round,
    abc,
    base_prediction,
    campaign,
    evaluation,
    held,
    label,
    query,
    source,
)
from support.stored import adapter, ranking


def test_a_round_comes_back_as_it_was_committed(store: Store) -> None:
    campaign_id, lease = abc(store)
    started = a_round()
    store.start_round(lease, started, [])
    assert store.rounds(campaign_id) == [started]
    full = dataclasses.replace(
        started,
        state=RoundState.COLLECTED,
        seed=2**63 - 1,
        seconds={"fit": 1.25, "score": 0.5},
        labels=3,
        labels_bought=5,
        fit=RoundFit("abc", {"torch": "2.13", "device": None}, ADAPTER.sha256, 3, 4, "ab"),
        evaluation=RoundEvaluation(1.7, 0.3, FUNNY, {"a": 1, "b": 0}, 0.99),
        decision=RoundDecision(3, 0.5, 0.9, "the budget is spent", "stable"),
        scores_sha256="def",
        selection=RoundSelection(
            4,
            1 / 3,
            "measured",
            ((0.0, 0.5), (0.5, 0.75)),
            {"blended": Histogram((0.0, 0.5, 1.0), (3, 4))},
            0.25,
            ShortlistRecord(pool=90, scored=9, drawn=3, batch=4, depth=4, missed=1 / 3, missed_high=12),
        ),
        collection=RoundCollection(2, 1, -1 / 3),
    )
    store.commit_step(lease, full, EVENT, StepResults(adapters=[ADAPTER]))
    assert store.rounds(campaign_id) == [full]
    assert adapter(store, ADAPTER.sha256) == ADAPTER
    assert adapter(store, "unknown") is None


def test_starting_a_round_again_leaves_it_as_it_is(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "pos"), Label("b", "neg"))
    labels = store.labels(campaign_id)
    store.start_round(lease, a_round(seed=1), [labels["a"]])
    store.start_round(lease, a_round(seed=2), [labels["b"]])
    assert [one.seed for one in store.rounds(campaign_id)] == [1]
    assert store.training_labels(campaign_id, 0) == [labels["a"]]


def test_the_snapshot_does_not_follow_later_corrections(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("b", "neg"), Label("a", "pos"))
    snapshot = store.labels(campaign_id)
    store.start_round(lease, a_round(), list(reversed(snapshot.values())))
    label(store, lease, Label("a", "neg"))
    assert store.training_labels(campaign_id, 0) == [snapshot["a"], snapshot["b"]]
    assert store.labels(campaign_id)["a"].value == "neg"
    assert store.training_labels(campaign_id, 1) == []


def test_each_round_has_its_own_snapshot(store: Store) -> None:
    campaign_id, lease = abc(store)
    label(store, lease, Label("a", "tech"), Label("b", "sport"))
    first = list(store.labels(campaign_id).values())
    store.start_round(lease, a_round(0), [])
    store.start_round(lease, a_round(1), first)
    store.start_round(lease, a_round(2), first)
    label(store, lease, Label("a", "sport"), Label("c", "tech"))
    second = list(store.labels(campaign_id).values())
    store.start_round(lease, a_round(3), second)
    store.start_round(lease, a_round(4), second[1:])
    store.start_round(lease, a_round(5), first)  # what an earlier round trained on may come back
    store.start_round(lease, a_round(5), second)  # it exists, and stays as it is
    snapshots = [store.training_labels(campaign_id, index) for index in range(6)]
    assert snapshots == [[], first, first, second, second[1:], first]


def test_a_round_trains_on_stored_labels_only(store: Store) -> None:
    campaign_id, lease = abc(store)
    with pytest.raises(StoreError):
        store.start_round(lease, a_round(), [Label("a", "pos", 1)])
    assert store.rounds(campaign_id) == []


def test_a_step_of_a_round_that_was_not_started_writes_nothing(store: Store) -> None:
    campaign_id, lease = abc(store)
    with pytest.raises(StoreError, match="round 4"):
        store.commit_step(lease, a_round(4), EVENT, StepResults(adapters=[ADAPTER], queries=[query("a", 4)]))
    assert (store.events(campaign_id), store.queries(campaign_id), adapter(store, ADAPTER.sha256)) == (
        [],
        [],
        None,
    )


def test_a_step_is_all_or_nothing(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    with pytest.raises(StoreError, match="'z'"):
        store.commit_step(
            lease,
            a_round(state=RoundState.SELECTED, selection=RoundSelection(1)),
            EVENT,
            StepResults(adapters=[ADAPTER], evaluations=[evaluation()], queries=[query("z")]),
        )
    assert store.rounds(campaign_id) == [a_round()]
    assert store.evaluations(campaign_id, 0) == []
    assert (store.events(campaign_id), adapter(store, ADAPTER.sha256)) == ([], None)


def test_a_step_replaces_what_its_round_had_and_leaves_what_it_does_not_make(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    other = [ScoreRow("c", 1, 0.1, 0.2, 0.3)]
    store.commit_step(lease, a_round(1), EVENT, StepResults(evaluations=[evaluation()], ranking=other))
    first = [
        evaluation(),
        evaluation("base", macro_f1=None, recall={}, confusion_C_C=(), figures={"aurc": 0.1}),
    ]
    rows = [ScoreRow("b", 2, None, None, 0.1), ScoreRow("a", 1, 0.7, 0.8, 0.9, 0.6, 0.2, 16, 0.4)]
    store.commit_step(lease, a_round(), EVENT, StepResults(evaluations=first, ranking=rows))
    assert store.evaluations(campaign_id, 0) == first
    assert ranking(store, campaign_id, 0) == [rows[1], rows[0]]
    again = [evaluation(scaling="temperature", accuracy=0.8), evaluation("base", "contextual", bins=())]
    for _ in range(2):
        store.commit_step(lease, a_round(), EVENT, StepResults(evaluations=again, ranking=rows[1:]))
    store.commit_step(lease, a_round(state=RoundState.PUSHED), EVENT)
    assert store.evaluations(campaign_id, 0) == again
    assert ranking(store, campaign_id, 0) == rows[1:]
    assert store.evaluations(campaign_id, 1) == [evaluation()]
    assert ranking(store, campaign_id, 1) == other
    assert not store.evaluations(campaign_id, 2) and not ranking(store, campaign_id, 2)


def test_base_predictions_are_shared_by_campaigns_and_kept_bit_for_bit(store: Store) -> None:
    one, two = (campaign(store, [source("a")], name=name) for name in ("one", "two"))
    exact = base_prediction("a", 0.1)
    ragged = dataclasses.replace(
        base_prediction("b"), log_probs_C=np.array([np.log(1 / 3), -1e-300, -np.inf]), log_prior_C=None
    )
    values: tuple[JsonValue, ...] = ("1,000 €", ["a", "b"], [], None)
    open_ended = dataclasses.replace(
        base_prediction("c"), log_probs_C=np.log([0.1, 0.2, 0.3, 0.4]), answers=values, uncertainty=0.1 + 0.2
    )
    store.save_base_predictions(held(store, one), "key", [exact, ragged, open_ended])
    store.save_base_predictions(held(store, two), "key", [base_prediction("a", 0.9)])
    found = store.base_predictions("key", ["b", "a", "c", "d"])
    assert set(found) == {"a", "b", "c"}
    assert (found["a"].answers, found["a"].uncertainty) == ((), None)
    assert (found["c"].answers, found["c"].uncertainty) == (values, 0.1 + 0.2)
    for stored, given in ((found["a"], exact), (found["b"], ragged)):
        assert stored.log_probs_C.dtype == np.float64
        np.testing.assert_array_equal(stored.log_probs_C, given.log_probs_C, strict=True)
    np.testing.assert_array_equal(found["a"].log_prior_C, exact.log_prior_C)
    assert found["b"].log_prior_C is None
    assert store.base_predictions("other key", ["a"]) == {}
