"""Normalisation over the pool, the weight schedule, and the blend of two uncertainties."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from star_al.acquire.blend import blend, normalise, scheduled_weight

Method = Literal["minmax", "rank"]
METHODS: tuple[Method, ...] = ("minmax", "rank")
SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def test_minmax_is_linear_and_rank_shares_the_mean_rank_of_ties() -> None:
    scores = np.array([3.0, 1.0, 2.0, 2.0, 11.0])
    np.testing.assert_allclose(normalise(scores, "minmax"), [0.2, 0.0, 0.1, 0.1, 1.0])
    np.testing.assert_allclose(normalise(scores, "rank"), [0.75, 0.0, 0.375, 0.375, 1.0])


@settings(max_examples=40, deadline=None)
@given(scores=SCORES)
def test_rank_equals_scipy_average_ranks(scores: list[float]) -> None:
    ranks = (rankdata(scores, method="average") - 1) / max(len(scores) - 1, 1)
    expected = ranks if len(set(scores)) > 1 else np.zeros(len(scores))
    np.testing.assert_allclose(normalise(np.array(scores), "rank"), expected)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None)
@given(scores=SCORES)
def test_normalising_stays_in_the_unit_interval_and_keeps_the_order(
    method: Method, scores: list[float]
) -> None:
    normal = normalise(np.array(scores), method)
    assert ((normal >= 0) & (normal <= 1)).all()
    assert (np.diff(normal[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scores", [[], [5.0], [2.0, 2.0, 2.0]])
def test_constant_scores_become_zero(method: Method, scores: list[float]) -> None:
    assert normalise(np.array(scores), method).tolist() == [0.0] * len(scores)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(method: Method, bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        normalise(np.array([0.0, bad, 1.0]), method)


def test_the_schedule_is_the_papers() -> None:
    weights = [scheduled_weight("schedule", t, 0.5) for t in range(13)]
    assert weights[0] is None
    assert weights[1:] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9])


def test_constant_and_off_weights_hold_from_the_first_trained_round_on() -> None:
    assert [scheduled_weight("constant", t, 0.35) for t in range(3)] == [None, 0.35, 0.35]
    assert [scheduled_weight("off", t, 0.35) for t in range(3)] == [None, 1.0, 1.0]


def test_the_blend_weighs_normalised_terms_so_that_large_raw_values_do_not_drown_the_base() -> None:
    adapted, base = np.array([0.0, 50.0, 100.0]), np.array([0.2, 0.1, 0.0])
    np.testing.assert_allclose(blend(adapted, base, 0.25, "minmax"), [0.75, 0.5, 0.25])


def test_a_term_without_weight_may_be_missing() -> None:
    scores = np.array([1.0, 3.0, 2.0])
    for weight in (None, 0.0):
        assert blend(None, scores, weight, "minmax").tolist() == [0.0, 1.0, 0.5]
    assert blend(scores, None, 1.0, "minmax").tolist() == [0.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("adapted", "base", "weight", "message"),
    [
        (None, [1.0], 0.5, "needs adapted"),
        ([1.0], None, 0.5, "needs base"),
        ([1.0], None, None, "needs base"),
        ([1.0], [1.0], 1.5, "not in"),
        ([1.0], [1.0], float("nan"), "not in"),
        ([1.0, 2.0], [1.0], 0.5, "cannot be blended"),
    ],
)
def test_a_blend_that_cannot_be_made_is_refused(
    adapted: list[float] | None, base: list[float] | None, weight: float | None, message: str
) -> None:
    arrays = [None if scores is None else np.array(scores) for scores in (adapted, base)]
    with pytest.raises(ValueError, match=message):
        blend(arrays[0], arrays[1], weight, "minmax")


@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1), weight=st.floats(0, 1))
def test_a_blend_lies_in_the_unit_interval(pairs: list[tuple[float, float]], weight: float) -> None:
    adapted, base = np.array(pairs).T
    for method in METHODS:
        blended = blend(adapted, base, weight, method)
        assert ((blended >= 0) & (blended <= 1)).all()
