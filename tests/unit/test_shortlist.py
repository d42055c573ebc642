"""Shortlists: what is scored again, and how much that misses."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_al.acquire.ranking import top_k
from star_al.acquire.shortlist import Missed, missed, shortlist, texts_to_score, upper_bound
from star_al.report.round_charts import shortlist_sentence
from star_al.stats.shortlist_words import shortlist_in_words
from star_al.types import Round, RoundSelection, RoundState, ShortlistRecord

IDS = tuple(f"i{n:03d}" for n in range(60))


@given(st.integers(1, 80), st.floats(0, 0.9), st.integers(0, 10), st.integers(0, 2**32))
def test_it_has_the_top_all_new_items_and_a_random_rest(
    size: int, random_share: float, new: int, seed: int
) -> None:
    scores_N = np.random.default_rng(seed).random(len(IDS))
    scores_N[:new] = np.nan
    found = shortlist(IDS, scores_N, size, random_share, seed)
    assert list(found.item_ids) == sorted(set(found.item_ids))
    assert set(IDS[:new]) <= set(found.item_ids)
    if size >= len(IDS) - new:
        assert found.item_ids == IDS and not found.drawn
        return
    assert len(found.item_ids) == size + new
    ranked = set(found.item_ids) - found.drawn - set(IDS[:new])
    assert ranked == set(top_k(scores_N[new:], IDS[new:], size - len(found.drawn)))
    assert len(found.drawn) == int(np.ceil(random_share * size))


def test_the_draw_depends_on_ids_alone_and_every_left_out_item_is_as_likely() -> None:
    scores_N = np.arange(60, dtype=np.float64)
    one, other = (shortlist(IDS, scores_N * factor, 20, 0.5, 3) for factor in (1.0, 7.0))
    assert one == other
    times = np.zeros(50)
    for seed in range(400):
        for item_id in shortlist(IDS, scores_N, 20, 0.5, seed).drawn:
            times[IDS.index(item_id)] += 1
    assert abs(times / 400 - 0.2).max() < 0.08


def test_the_shortlist_is_never_shorter_than_what_the_batch_is_chosen_from() -> None:
    assert texts_to_score(1000, 0.1, None, 25, 0.1) == 100
    assert texts_to_score(1000, 0.1, None, 250, 0.5) == 500
    assert texts_to_score(1000, 0.1, 300, 25, 0.1) == 300
    assert texts_to_score(100, 0.1, 300, 25, 0.1) == 100


def test_the_estimate_is_unbiased_and_the_bound_holds() -> None:
    """Stale scores rank the pool; of the true ones, some beat the border from outside the shortlist."""
    random = np.random.default_rng(0)
    true_N = random.random(200)
    stale_N = true_N + random.normal(scale=0.5, size=200)
    ids = tuple(f"{n:04d}" for n in range(200))
    estimates, covered = [], 0
    for seed in range(1500):
        found = shortlist(ids, stale_N, 60, 0.5, seed)
        drawn_M = np.array([item_id in found.drawn for item_id in found.item_ids])
        scores_M = np.array([true_N[int(item_id)] for item_id in found.item_ids])
        border = np.sort(scores_M[~drawn_M])[-10]
        left = np.array([true_N[int(item_id)] for item_id in set(ids) - set(found.item_ids)])
        truth = int((left > border).sum())
        told = missed(scores_M, drawn_M, 170, 10)
        assert told is not None
        estimates.append(told.estimate - truth)
        covered += truth <= told.high
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(1500)
    assert np.std(estimates) > 1
    assert covered / 1500 >= 0.94


def test_nothing_is_told_without_a_draw_and_nothing_missed_of_a_whole_pool() -> None:
    assert missed(np.arange(5, dtype=np.float64), np.zeros(5, dtype=bool), 20, 2) is None
    assert missed(np.arange(5, dtype=np.float64), np.arange(5) > 2, 2, 2) == Missed(0.0, 0)


def test_the_border_is_where_the_choice_of_a_batch_ends() -> None:
    scores_M, drawn_M = np.arange(10, dtype=np.float64), np.array([row in (0, 4, 7) for row in range(10)])
    for depth, hits in ((0, 0), (1, 0), (3, 1), (7, 2)):  # ranked are 9, 8, 6, 5, 3, 2, 1
        told = missed(scores_M, drawn_M, 30, depth)
        assert told is not None and told.estimate == pytest.approx(9 * hits)


@pytest.mark.parametrize(("hits", "n", "population"), [(0, 10, 40), (2, 10, 40), (9, 10, 40), (10, 10, 40)])
def test_the_bound_is_exact(hits: int, n: int, population: int) -> None:
    def at_most(of: int) -> float:
        ways = sum(comb(of, h) * comb(population - of, n - h) for h in range(hits + 1))
        return ways / comb(population, n)

    possible = range(hits, population - (n - hits) + 1)
    assert upper_bound(hits, n, population) == max(of for of in possible if at_most(of) > 0.05)


def test_words_say_what_was_scored_and_what_that_may_have_missed() -> None:
    record = ShortlistRecord(
        pool=9000, scored=900, drawn=90, batch=25, depth=25, missed=92.1, missed_high=310
    )
    assert shortlist_in_words(record) == (
        "900 of 9,000 texts were scored, 90 of them drawn at random; of 8,100 texts that were not scored, about 92 "
        "(at most 310, with 95 % confidence) would score higher than number 25 of the shortlist"
    )
    blind = replace(record, drawn=0, missed=None, missed_high=None)
    assert "is unknown, as none was drawn at random" in shortlist_in_words(blind)
    deep = shortlist_in_words(replace(record, depth=750))
    assert deep.endswith("number 750 of the shortlist, the last that the batch of 25 is chosen from")
    nothing = replace(record, batch=0, depth=0, missed=0.0, missed_high=0)
    assert shortlist_in_words(nothing).endswith(
        "none of 8,100 texts that were not scored was missed, as no text was chosen by its score"
    )
    rounds = [
        Round(index, RoundState.SELECTED, 0, {}, selection=RoundSelection(25, shortlist=of_round))
        for index, of_round in enumerate((None, record))
    ]
    assert shortlist_sentence(rounds).startswith("In round 1, 900 of 9,000 texts were scored")
    assert shortlist_sentence(rounds[:1]) == ""
