"""Choosing a batch: order, ties, independence of input order, and the distribution of power sampling."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_al.acquire.ranking import random_order, rank_order, top_k
from star_al.types import FloatArray
from support.power_sampling import power_sample

Select = Callable[[FloatArray, Sequence[str], int], tuple[str, ...]]


def power(scores_N: FloatArray, item_ids: Sequence[str], k: int) -> tuple[str, ...]:
    return power_sample(scores_N, item_ids, k, 1.0, np.random.default_rng(11))


SELECTIONS: tuple[Select, ...] = (top_k, power)
POOLS = st.dictionaries(st.text("abAB19é", max_size=3), st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12)


@settings(max_examples=50, deadline=None)
@given(pool=POOLS)
def test_rank_order_is_by_falling_score_then_rising_id(pool: dict[str, float]) -> None:
    item_ids = list(pool)
    expected = sorted(item_ids, key=lambda item_id: (-pool[item_id], item_id))
    assert [item_ids[i] for i in rank_order(np.array(list(pool.values())), item_ids)] == expected


@pytest.mark.parametrize("select", SELECTIONS)
@settings(max_examples=50, deadline=None)
@given(pool=POOLS, k=st.integers(0, 15), data=st.data())
def test_the_batch_does_not_depend_on_the_order_of_the_pool(
    select: Select, pool: dict[str, float], k: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(list(pool)))
    batch = select(np.array(list(pool.values())), list(pool), k)
    assert select(np.array([pool[item_id] for item_id in shuffled]), shuffled, k) == batch
    assert len(set(batch)) == len(batch) == min(k, len(pool))


@pytest.mark.parametrize("select", SELECTIONS)
@settings(max_examples=50, deadline=None)
@given(pool=POOLS, k=st.integers(0, 15))
def test_a_batch_is_in_ask_order_the_most_uncertain_first(
    select: Select, pool: dict[str, float], k: int
) -> None:
    batch = select(np.array(list(pool.values())), list(pool), k)
    assert list(batch) == sorted(batch, key=lambda item_id: (-pool[item_id], item_id))


def test_top_k_takes_the_highest_scores() -> None:
    assert top_k(np.array([0.1, 0.9, 0.5, 0.9]), ["d", "c", "b", "a"], 3) == ("a", "c", "b")


@pytest.mark.parametrize("select", SELECTIONS)
def test_a_batch_larger_than_the_pool_is_the_whole_pool(select: Select) -> None:
    assert select(np.array([0.0, 1.0, 0.5]), ["a", "b", "c"], 10) == ("b", "c", "a")
    assert select(np.array([]), [], 10) == ()


@pytest.mark.parametrize("select", SELECTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused_naming_the_item(select: Select, bad: float) -> None:
    with pytest.raises(ValueError, match="score of b is not finite"):
        select(np.array([0.0, bad, 0.5]), ["a", "b", "c"], 1)


@pytest.mark.parametrize("select", SELECTIONS)
def test_scores_that_do_not_fit_the_ids_and_negative_batches_are_refused(select: Select) -> None:
    with pytest.raises(ValueError, match="2 ids"):
        select(np.array([0.5]), ["a", "b"], 1)
    with pytest.raises(ValueError, match="batch of -1"):
        select(np.array([0.5]), ["a"], -1)


@pytest.mark.parametrize(("score", "beta"), [(-0.1, 1.0), (0.1, 0.0), (0.1, float("nan"))])
def test_power_sampling_refuses_negative_scores_and_beta_not_above_zero(score: float, beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta|at least 0"):
        power_sample(np.array([score]), ["a"], 1, beta, np.random.default_rng(0))


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_power_sampling_draws_with_probability_proportional_to_score_to_the_beta(beta: float) -> None:
    scores, item_ids, n = np.array([0.1, 0.2, 0.4, 0.8]), ["a", "b", "c", "d"], 4000
    rng = np.random.default_rng(5)
    counts = Counter(power_sample(scores, item_ids, 1, beta, rng)[0] for _ in range(n))
    share = np.array([counts[item_id] for item_id in item_ids]) / n
    np.testing.assert_allclose(share, scores**beta / (scores**beta).sum(), atol=0.03)  # 4 standard errors


def test_a_large_beta_makes_power_sampling_greedy() -> None:
    scores, item_ids = np.linspace(0.1, 1.0, 50, dtype=np.float64), [f"{i:02d}" for i in range(50)]
    assert power_sample(scores, item_ids, 10, 1e6, np.random.default_rng(0)) == top_k(scores, item_ids, 10)


def test_zero_scores_are_drawn_after_all_others_and_then_uniformly() -> None:
    scores, item_ids = np.array([0.0, 1e-9, 0.0, 0.0]), ["a", "b", "c", "d"]
    rng = np.random.default_rng(2)
    batches = [power_sample(scores, item_ids, 2, 1.0, rng) for _ in range(600)]
    assert all(batch[0] == "b" for batch in batches)
    counts = Counter(batch[1] for batch in batches)
    assert min(counts[item_id] for item_id in "acd") > 150  # 200 expected


def test_constant_zero_scores_still_give_a_random_batch() -> None:
    item_ids = [f"{i:03d}" for i in range(100)]
    batches = {power_sample(np.zeros(100), item_ids, 5, 1.0, np.random.default_rng(s)) for s in range(5)}
    assert len(batches) == 5


def test_random_order_is_a_permutation_by_seed_and_not_by_input_order() -> None:
    item_ids = [f"{i:03d}" for i in range(100)]
    order = random_order(item_ids, np.random.default_rng(3))
    assert sorted(order) == item_ids
    assert order == random_order(item_ids[::-1], np.random.default_rng(3))
    assert order != random_order(item_ids, np.random.default_rng(4))
    assert random_order([], np.random.default_rng(3)) == ()


@pytest.mark.parametrize("select", SELECTIONS)
def test_two_hundred_thousand_items_take_far_less_than_quadratic_time(select: Select) -> None:
    item_ids = [f"{i:06d}" for i in range(200_000)]
    scores = np.random.default_rng(0).random(200_000)
    start = time.process_time()  # of this process alone, however busy the machine is
    assert len(select(scores, item_ids, 1000)) == 1000
    assert time.process_time() - start < 5.0
