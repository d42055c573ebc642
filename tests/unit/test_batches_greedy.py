"""The greedy choice under constraints, near duplicates, class balance, and the invariants of every rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_al.acquire.badge import Badge
from star_al.acquire.balance import Balance
from star_al.acquire.batch_bald import BatchBald
from star_al.acquire.cluster_margin import ClusterMargin, pool_clusters
from star_al.acquire.embeddings import centred_directions, unit_vectors
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import BoolArray, GreedyRule, InOrder, first_best, greedy_batch
from star_al.acquire.herding import herding
from star_al.acquire.idds import Idds
from star_al.acquire.k_centre import KCentre
from star_al.acquire.near_duplicates import NearDuplicates
from star_al.acquire.search import Search
from star_al.acquire.uncertainty_herding import uncertainty_herding
from star_al.types import FloatArray

STRATEGIES = (
    "in_order",
    "batchbald",
    "badge",
    "k_centre",
    "facility_location",
    "herding",
    "uncertainty_herding",
    "cluster_margin",
    "search",
    "idds",
)
RANDOM, CONSTANT, COPIES = "random", "constant", "copies"


def rule(kind: str, n: int, data: str, seed: int = 0) -> GreedyRule:
    """Make a rule on n candidates that differ, are all equal, or are partly equal."""
    random = np.random.default_rng(5)
    logits_N_K_C, hidden_N_d = random.normal(0, 2, (n, 16, 3)), random.standard_normal((n, 6))
    if data != RANDOM:
        source = np.zeros(n, dtype=int) if data == CONSTANT else np.arange(n) % 3
        logits_N_K_C, hidden_N_d = logits_N_K_C[source], hidden_N_d[source]
    log_probs_N_K_C = logits_N_K_C - np.logaddexp.reduce(logits_N_K_C, axis=-1, keepdims=True)
    hidden32_N_d = hidden_N_d.astype(np.float32)
    points_N_d = centred_directions(hidden32_N_d, np.zeros(6))
    units_N_d = unit_vectors(hidden32_N_d)
    probs_N_C = np.exp(log_probs_N_K_C).mean(axis=1)
    makes: dict[str, Callable[[], GreedyRule]] = {
        "in_order": InOrder,
        "batchbald": lambda: BatchBald(log_probs_N_K_C, np.random.default_rng(seed), 64),
        "badge": lambda: Badge(probs_N_C, hidden32_N_d, np.random.default_rng(seed)),
        "k_centre": lambda: KCentre(points_N_d, points_N_d[:0]),
        "facility_location": lambda: FacilityLocation(points_N_d, np.ones(n), points_N_d[:0]),
        "herding": lambda: herding(units_N_d, units_N_d[:0]),
        "uncertainty_herding": lambda: uncertainty_herding(units_N_d, np.ones(n), units_N_d[:0]),
        "cluster_margin": lambda: ClusterMargin(pool_clusters(units_N_d, units_N_d)),
        "idds": lambda: Idds(units_N_d, units_N_d[:0]),
        "search": lambda: Search(units_N_d, units_N_d[:1], units_N_d[:0]),
    }
    return makes[kind]()


def positions(kind: str, n: int, k: int, data: str = RANDOM, seed: int = 0) -> list[int]:
    return [pick.position for pick in greedy_batch(rule(kind, n, data, seed), [], n, k)]


@pytest.mark.parametrize("data", [RANDOM, CONSTANT, COPIES])
@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_batch_has_no_item_twice_begins_with_every_smaller_one_and_follows_its_seed(
    kind: str, data: str
) -> None:
    whole = positions(kind, 25, 40, data, seed=3)
    assert sorted(whole) == list(range(25))
    for k in (0, 1, 7, 24):
        assert positions(kind, 25, k, data, seed=3) == whole[:k]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_equal_candidates_are_taken_by_rank(kind: str) -> None:
    assert positions(kind, 12, 12, CONSTANT) == list(range(12))


@pytest.mark.parametrize("kind", ["batchbald", "badge", "k_centre"])
def test_one_of_each_kind_of_copy_comes_first(kind: str) -> None:
    assert {position % 3 for position in positions(kind, 12, 3, COPIES)} == {0, 1, 2}


@pytest.mark.parametrize("kind", STRATEGIES)
def test_only_what_is_allowed_is_picked(kind: str) -> None:
    for data in (RANDOM, CONSTANT, COPIES):
        one = rule(kind, 20, data)
        for position in (3, 11, 4):
            allowed = np.zeros(20, dtype=bool)
            allowed[position] = True
            assert one.pick(allowed) == position
            one.add(position)


def test_badge_alone_depends_on_its_seed() -> None:
    assert positions("badge", 25, 10, seed=1) != positions("badge", 25, 10, seed=2)


def test_a_negative_batch_and_gains_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="batch of -1"):
        greedy_batch(InOrder(), [], 3, -1)
    with pytest.raises(ValueError, match="1 of 2 gains are NaN"):
        first_best(np.array([np.nan, 1.0]), np.ones(2, dtype=bool))
    with pytest.raises(ValueError, match="not finite"):
        Badge(np.array([[np.nan, 1.0]]), np.ones((1, 2), dtype=np.float32), np.random.default_rng(0))
    with pytest.raises(ValueError, match="2 predictions, 1 embeddings"):
        Badge(np.ones((2, 2)), np.ones((1, 2), dtype=np.float32), np.random.default_rng(0))


def test_first_best_takes_the_best_ranked_of_equals() -> None:
    gains = np.array([0.1, 0.5, 0.5, 0.4999999])
    everything = np.ones(4, dtype=bool)
    assert first_best(gains, everything) == 1
    assert first_best(gains, np.array([True, False, True, True])) == 2
    assert first_best(gains[::-1], everything, tolerance=1e-6) == 0
    assert first_best(np.full(3, np.inf), np.array([False, True, True])) == 1


# -- constraints ---------------------------------------------------------------------------------------


class Even:
    """A preference for even positions."""

    note_if_ignored = "odd"

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        return np.asarray(np.arange(len(allowed_M)) % 2 == 0)

    def add(self, position: int) -> None:
        pass


class Low(Even):
    """A preference for positions below 3."""

    note_if_ignored = "not low"

    def prefers(self, allowed_M: BoolArray) -> BoolArray:
        return np.arange(len(allowed_M)) < 3


def test_constraints_give_way_rather_than_leave_the_batch_short_the_later_ones_first() -> None:
    picks = greedy_batch(InOrder(), [Even(), Low()], 6, 6)
    assert [pick.position for pick in picks] == [0, 2, 4, 1, 3, 5]
    assert [pick.notes for pick in picks] == [
        (),
        (),
        ("not low",),
        ("odd",),
        ("odd", "not low"),
        ("odd", "not low"),
    ]


@settings(max_examples=60, deadline=None)
@given(
    predicted=st.lists(st.integers(0, 3), min_size=1, max_size=20),
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_the_label_that_was_given_least_has_its_turn(predicted: list[int], counts: list[int]) -> None:
    given_so_far = np.array(counts)
    picks = greedy_batch(
        InOrder(), [Balance(np.array(predicted), given_so_far)], len(predicted), len(predicted)
    )
    assert given_so_far.tolist() == counts  # the caller's
    left = list(range(len(predicted)))
    for pick in picks:
        least = min(counts[predicted[position]] for position in left)
        assert pick.position == next(p for p in left if counts[predicted[p]] == least)
        assert pick.notes == ()
        counts[predicted[pick.position]] += 1
        left.remove(pick.position)


TEXTS = [
    "The bank raised its interest rates by a quarter point on Monday, the third rise this year.",
    "The bank raised its interest rates by a quarter point on Tuesday, the third rise this year.",
    "A striker scored twice in the cup final and his team won after extra time.",
    "THE BANK RAISED ITS INTEREST RATES BY A QUARTER POINT ON MONDAY, THE THIRD RISE THIS YEAR.",
    "今天银行把利率提高了四分之一个百分点，这是今年的第三次。",
    "今天银行把利率提高了四分之一个百分点，这是今年的第二次。",
    "ok",
]


def likeness(one: str, other: str) -> float:
    """Cosine of the counts of five-letter sequences within words, computed without a library."""

    def counts(text: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for word in text.lower().split():
            padded = f" {word} "
            for start in range(max(1, len(padded) - 4)):
                piece = padded[start : start + 5]
                found[piece] = found.get(piece, 0) + 1
        return found

    a, b = counts(one), counts(other)
    product = sum(n * b.get(piece, 0) for piece, n in a.items())
    return float(product / np.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values())))


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9, 1.0])
def test_near_duplicates_are_those_whose_letters_are_alike(threshold: float) -> None:
    picks = greedy_batch(InOrder(), [NearDuplicates(TEXTS, [], threshold)], len(TEXTS), len(TEXTS))
    kept: list[int] = []
    for position, text in enumerate(TEXTS):
        if all(likeness(text, TEXTS[earlier]) < threshold - 1e-9 for earlier in kept):
            kept.append(position)
    assert [pick.position for pick in picks if not pick.notes] == kept
    assert [pick.position for pick in picks] == kept + [p for p in range(len(TEXTS)) if p not in kept]
    assert 3 in {pick.position for pick in picks if pick.notes}  # only its letter case differs
    assert {0, 2, 4, 6} <= set(kept)


def test_texts_asked_before_count_and_a_copy_is_taken_only_when_nothing_else_is_left() -> None:
    constraint = NearDuplicates(TEXTS[:3], [TEXTS[3]] * 600, 0.8)
    picks = greedy_batch(InOrder(), [constraint], 3, 3)
    assert [pick.position for pick in picks] == [2, 0, 1]
    assert [bool(pick.notes) for pick in picks] == [False, True, True]
    assert "nearly the same" in picks[1].notes[0]


def test_a_strategy_goes_on_from_what_the_constraints_let_it_have() -> None:
    points: FloatArray = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    free = greedy_batch(KCentre(points, points[:0]), [], 4, 2)
    bound = greedy_batch(KCentre(points, points[:0]), [Low()], 4, 3)
    assert [pick.position for pick in free] == [0, 3]
    assert [pick.position for pick in bound] == [0, 1, 2]
