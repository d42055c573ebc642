"""Figures of open answers equal naive references, and values, targets and right answers follow from a row's columns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from star_al.acquire.measures import uncertainties
from star_al.config.spec import task_spec
from star_al.stats.answered import Answered, aurc, auroc_of_right, mean_grade, share_without_answer
from star_al.task import make_task
from star_al.task.columns import is_open, is_right, predicted_value, target_column, values_of
from star_al.types import FloatArray, Item, JsonValue, Predictions

rng = np.random.default_rng(0)
ITEM = Item("i", "text")
NUMBERS = make_task(task_spec({"kind": "text", "answer": {"read_as": "number"}}))
NEWS = make_task(task_spec({"kind": "classification", "labels": ["sport", "tech"]}))


def answered(
    confidence_N: FloatArray, right_N: NDArray[np.bool_], grades_N: FloatArray | None = None
) -> Answered:
    n = len(right_N)
    grades_N = right_N.astype(float) if grades_N is None else grades_N
    return Answered([ITEM] * n, ["a"] * n, ["b"] * n, grades_N, right_N, confidence_N)


def test_auroc_is_scikit_learns() -> None:
    confidence_N, right_N = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.4
    assert auroc_of_right(answered(confidence_N, right_N)) == pytest.approx(
        roc_auc_score(right_N, confidence_N)
    )
    assert auroc_of_right(answered(confidence_N, np.ones(60, dtype=bool))) is None


def test_aurc_is_the_mean_over_all_orders_of_ties() -> None:
    confidence = [0.9, 0.5, 0.5, 0.5, 0.1]
    right = [True, False, True, True, False]
    areas = []
    for order in itertools.permutations(range(5)):
        if [confidence[n] for n in order] == sorted(confidence, reverse=True):
            errors = [not right[n] for n in order]
            areas.append(sum(Fraction(sum(errors[:n]), n) for n in range(1, 6)) / 5)
    expected = float(sum(areas) / len(areas))
    assert aurc(answered(np.array(confidence), np.array(right))) == pytest.approx(expected)


def test_a_mean_grade_is_told_where_grades_are_graded() -> None:
    right_N = np.array([True, False])
    assert mean_grade(answered(np.ones(2), right_N)) is None
    assert mean_grade(answered(np.ones(2), right_N, np.array([0.75, 0.25]))) == 0.5


def test_the_share_without_an_answer_counts_none() -> None:
    found = Answered(
        [ITEM] * 4, ["a", None, None, "b"], ["a"] * 4, np.zeros(4), np.zeros(4, bool), np.ones(4)
    )
    assert share_without_answer(found) == 0.5


OPEN: tuple[JsonValue, ...] = ("12", None, "7", None)
"""Two answers, what holds no answer, and any other answer."""


@pytest.mark.parametrize(
    ("probs", "predicted"),
    [
        ([0.2, 0.1, 0.1, 0.6], "12"),  # any other answer is no prediction
        ([0.1, 0.5, 0.2, 0.2], None),
        ([0.1, 0.1, 0.5, 0.3], "7"),
    ],
)
def test_the_prediction_is_the_likeliest_answer_that_was_found(
    probs: list[float], predicted: JsonValue
) -> None:
    assert predicted_value(NUMBERS, ITEM, np.log(probs), OPEN) == predicted


def test_the_target_is_the_first_same_answer_or_else_the_last_column() -> None:
    assert [target_column(NUMBERS, ITEM, gold, OPEN) for gold in ("so it is 7.0", "12", "3")] == [2, 0, 3]
    assert target_column(NUMBERS, ITEM, ["3", "7"], OPEN) == 2


def test_an_answer_is_right_by_the_kinds_grade() -> None:
    assert is_right(NUMBERS, ITEM, "7", "it is 7") is True
    assert is_right(NUMBERS, ITEM, "7", ["8", "7"]) is True
    assert is_right(NUMBERS, ITEM, None, "7") is False
    assert is_right(NEWS, ITEM, "tech", "tech") is True
    assert is_right(NEWS, ITEM, "tech", "a label of earlier days") is None


def test_closed_tasks_have_the_columns_of_their_labels() -> None:
    assert is_open(NUMBERS) and not is_open(NEWS)
    assert values_of(NEWS, ITEM, ()) == ("sport", "tech")
    assert predicted_value(NEWS, ITEM, np.log([0.2, 0.8]), ()) == "tech"
    assert target_column(NEWS, ITEM, "Tech", ()) == 1


def test_measures_come_from_signals_or_columns_and_ties_are_broken_by_nll() -> None:
    log_probs = np.log(np.full((3, 2, 2), 0.5))
    log_probs[2] = np.log([0.9, 0.1])
    signals = {
        "nll": np.array([0.1, 0.4, 9.0]),
        "p(a)": np.array([0.5, 0.9, 1.0]),
        "p(b)": np.array([0.5, 0.5, 0.0]),
    }
    found = Predictions(("x", "y", "z"), log_probs, (("a", None),) * 3, open_ended=True, signals=signals)
    np.testing.assert_array_equal(uncertainties(found, "nll"), signals["nll"])
    scores_N = uncertainties(found, "entropy")
    assert scores_N[1] > scores_N[0] > scores_N[2]
    np.testing.assert_allclose(scores_N[:2], np.log(2), atol=1e-6)
    told = replace(found, signals={**signals, "bald": np.array([0.0, 0.0, 0.5])})
    scores_N = uncertainties(told, "bald")
    assert scores_N[2] > scores_N[1] > scores_N[0]
    np.testing.assert_allclose(scores_N, [0.0, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(uncertainties(found, "label_margin_mean"), [1.0, 0.6, 0.0])
    np.testing.assert_allclose(uncertainties(found, "label_margin_max"), [1.0, 1.0, 0.0])
