"""Each batch rule agrees with brute force, enumeration, or a naive implementation of its paper."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from star_al.acquire.badge import Badge
from star_al.acquire.batch_bald import BatchBald
from star_al.acquire.embeddings import centred_directions, unit_vectors
from star_al.acquire.epig import epig
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import GreedyRule, greedy_batch
from star_al.acquire.idds import Idds
from star_al.acquire.k_centre import KCentre
from star_al.acquire.measures import bald
from star_al.acquire.typiclust import typical_order
from star_al.types import Float32Array, FloatArray

NOBODY = np.zeros((0, 5))


def samples(n: int, k: int, c: int, seed: int, spread: float = 2.0) -> FloatArray:
    """Return log-probabilities (N, K, C) whose samples disagree."""
    logits = np.random.default_rng(seed).normal(0.0, spread, (n, k, c))
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True), dtype=np.float64)


def embeddings(n: int, d: int, seed: int) -> Float32Array:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def chosen(rule: GreedyRule, n: int, k: int) -> list[int]:
    return [pick.position for pick in greedy_batch(rule, [], n, k)]


# -- BatchBALD -----------------------------------------------------------------------------------------


def joint_information(log_probs_B_K_C: FloatArray) -> float:
    """Compute I(y_1, …, y_b; θ) by enumerating all combinations of answers."""
    batch, _, c = log_probs_B_K_C.shape
    entropy = 0.0
    for answers in itertools.product(range(c), repeat=batch):
        given_K = np.exp(sum(log_probs_B_K_C[i, :, answer] for i, answer in enumerate(answers)))
        entropy -= float(given_K.mean() * np.log(given_K.mean())) if given_K.mean() > 0 else 0.0
    probs = np.exp(log_probs_B_K_C)
    conditional = -np.where(probs > 0, probs * np.log(np.maximum(probs, 1e-300)), 0.0).sum(axis=(0, 2)).mean()
    return float(entropy - conditional)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("k", "c"), [(16, 3), (20, 2)])
def test_batch_bald_gains_are_those_of_the_exact_joint_information(k: int, c: int, seed: int) -> None:
    log_probs = samples(7, k, c, seed)
    rule, before = BatchBald(log_probs, np.random.default_rng(0)), 0.0
    batch: list[int] = []
    for _ in range(4):
        expected = [joint_information(log_probs[[*batch, i]]) - before for i in range(7)]
        np.testing.assert_allclose(rule.gains(), expected, atol=1e-9)
        batch.append(int(np.argmax([-1.0 if i in batch else gain for i, gain in enumerate(expected)])))
        before += expected[batch[-1]]
        rule.add(batch[-1])
    assert chosen(BatchBald(log_probs, np.random.default_rng(0)), 7, 4) == batch


def test_batch_bald_begins_with_the_item_of_highest_bald() -> None:
    log_probs = samples(30, 16, 4, 5)
    rule = BatchBald(log_probs, np.random.default_rng(0))
    np.testing.assert_allclose(rule.gains(), bald(log_probs), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_configurations_estimate_the_exact_gains(seed: int) -> None:
    log_probs = samples(12, 32, 3, seed, spread=1.0)
    exact = BatchBald(log_probs, np.random.default_rng(0), configurations=3**6)
    drawn = BatchBald(log_probs, np.random.default_rng(seed), configurations=512)
    few = BatchBald(log_probs, np.random.default_rng(seed), configurations=64)
    for position in range(6):
        for rule in (exact, drawn, few):
            rule.add(position)
    left = slice(6, None)
    error = np.abs(drawn.gains() - exact.gains())[left]
    assert 0 < error.max() < 0.012, "of about 0.2 nats"
    assert np.abs(few.gains() - exact.gains())[left].max() < 0.05
    assert exact.gains()[left].min() > 0.1


def test_batch_bald_does_not_ask_what_an_answer_already_says() -> None:
    """Two clones have the highest BALD; after the first, the second adds no information."""
    sure, other = np.array([0.999, 0.001]), np.array([0.001, 0.999])
    by_first = np.array([sure if k < 8 else other for k in range(16)])
    by_parity = np.array([[0.9, 0.1] if k % 2 else [0.1, 0.9] for k in range(16)])
    log_probs = np.log(np.stack([by_first, by_first, by_parity]))
    assert chosen(BatchBald(log_probs, np.random.default_rng(0)), 3, 2) == [0, 2]
    assert np.argsort(-bald(log_probs), kind="stable").tolist() == [0, 1, 2]


def test_batch_bald_is_bounded_by_the_samples_and_then_goes_by_rank() -> None:
    log_probs = samples(60, 16, 4, 1, spread=8.0)
    rule, total = BatchBald(log_probs, np.random.default_rng(0)), 0.0
    order = []
    left = np.ones(60, dtype=bool)
    for _ in range(60):
        position = rule.pick(left)
        total += rule.gains()[position]
        order.append(position)
        left[position] = False
        rule.add(position)
    assert total == pytest.approx(math.log(16), abs=0.05)
    assert order[40:] == sorted(order[40:])
    same = np.repeat(samples(5, 1, 4, 0), 16, axis=1)
    assert chosen(BatchBald(same, np.random.default_rng(0)), 5, 5) == [0, 1, 2, 3, 4]


def test_batch_bald_takes_items_with_different_numbers_of_options() -> None:
    wide, narrow = samples(4, 16, 4, 0), samples(4, 16, 2, 1)
    padded = np.pad(narrow, ((0, 0), (0, 0), (0, 2)), constant_values=-np.inf)
    for configurations in (4, 512):
        rule = BatchBald(np.concatenate([wide, padded]), np.random.default_rng(0), configurations)
        alone = BatchBald(narrow, np.random.default_rng(0), configurations)
        for position in range(2):
            rule.add(4 + position)
            alone.add(position)
        np.testing.assert_allclose(rule.gains()[4:], alone.gains(), atol=1e-12)
        assert np.isfinite(rule.gains()).all()


# -- EPIG ----------------------------------------------------------------------------------------------


def naive_epig(log_probs_N_K_C: FloatArray, targets_T_K_C: FloatArray) -> FloatArray:
    """Mean over targets of I(y; y*), summed over all pairs of answers."""
    probs, targets = np.exp(log_probs_N_K_C), np.exp(targets_T_K_C)
    scores = np.zeros(len(probs))
    for n, item in enumerate(probs):
        for target in targets:
            for y in range(item.shape[1]):
                for other in range(target.shape[1]):
                    both = (item[:, y] * target[:, other]).mean()
                    apart = item[:, y].mean() * target[:, other].mean()
                    scores[n] += both * np.log(both / apart) / len(targets) if both > 0 else 0.0
    return scores


@pytest.mark.parametrize("seed", range(3))
def test_epig_equals_a_double_loop(seed: int) -> None:
    items, targets = samples(9, 16, 4, seed), samples(6, 16, 3, seed + 10)
    expected = naive_epig(items, targets)
    np.testing.assert_allclose(epig(items, targets), expected, atol=1e-12)
    assert expected.min() > 0.01


def test_drawn_answers_rank_items_as_all_answers_do() -> None:
    items, targets = samples(40, 32, 30, 0), samples(100, 32, 30, 1)
    exact, drawn = epig(items, targets, answers=30), epig(items, targets)
    np.testing.assert_allclose(exact[:2], naive_epig(items[:2], targets), atol=1e-12)
    assert 0 < np.abs(drawn / exact - 1).max() < 0.1
    assert np.corrcoef(drawn, exact)[0, 1] > 0.98


def test_answers_are_drawn_as_often_as_they_are_probable() -> None:
    """With many equal targets, the drawn answers occur in their proportions."""
    items, target = samples(6, 16, 12, 0), samples(1, 16, 12, 1)
    exact = epig(items, target, answers=12)
    np.testing.assert_allclose(epig(items, np.repeat(target, 2000, axis=0)), exact, rtol=0.01)
    off = np.abs(epig(items, target) / exact - 1)
    assert off.max() > 0.05


def test_epig_is_at_most_bald_and_zero_for_one_sample_or_agreeing_ones() -> None:
    items, targets = samples(20, 16, 4, 0), samples(8, 16, 4, 1)
    scores = epig(items, targets)
    assert (scores > 0).all() and (scores <= bald(items) + 1e-12).all()
    np.testing.assert_allclose(epig(items[:, :1], targets[:, :1]), 0.0, atol=1e-12)
    np.testing.assert_allclose(epig(np.repeat(items[:, :1], 16, axis=1), targets), 0.0, atol=1e-12)


def test_epig_of_an_item_does_not_depend_on_the_others_nor_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    items, targets = samples(20, 16, 4, 0), samples(8, 16, 4, 1)
    whole = epig(items, targets)
    np.testing.assert_allclose(epig(items[3:7], targets), whole[3:7], atol=1e-12)
    monkeypatch.setattr("star_al.acquire.joint_information.BLOCK", 64)
    np.testing.assert_allclose(epig(items, targets), whole, atol=1e-12)


def test_epig_with_options_and_its_share_of_what_is_possible() -> None:
    narrow, targets = samples(5, 16, 2, 0), samples(8, 16, 4, 1)
    padded = np.pad(narrow, ((0, 0), (0, 0), (0, 2)), constant_values=-np.inf)
    np.testing.assert_allclose(epig(padded, targets), epig(narrow, targets), atol=1e-12)
    np.testing.assert_allclose(
        epig(padded, targets, per_option=True), epig(narrow, targets) / np.log(2), atol=1e-12
    )
    np.testing.assert_allclose(epig(targets, padded), epig(targets, narrow), atol=1e-12)


def test_epig_refuses_missing_samples_and_targets() -> None:
    items, targets = samples(3, 16, 2, 0), samples(3, 16, 2, 1)
    with pytest.raises(ValueError, match="8 samples of the items, 16 of 3 targets"):
        epig(items[:, :8], targets)
    with pytest.raises(ValueError, match="0 targets"):
        epig(items, targets[:0])
    items[1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        epig(items, targets)
    with pytest.raises(ValueError, match="NaN"):
        BatchBald(items, np.random.default_rng(0))


# -- BADGE ---------------------------------------------------------------------------------------------


def badge_by_its_paper(
    probs_M_C: FloatArray, hidden_M_d: NDArray[np.float64], k: int, seed: int
) -> list[int]:
    """k-means++ on gradient embeddings of C·d numbers, longest first, with the same random numbers."""
    errors = probs_M_C - np.eye(probs_M_C.shape[1])[probs_M_C.argmax(axis=1)]
    gradients = np.einsum("mc,md->mcd", errors, hidden_M_d).reshape(len(probs_M_C), -1)
    rng, centres = np.random.default_rng(seed), [int((gradients**2).sum(axis=1).argmax())]
    while len(centres) < k:
        squares = cdist(gradients, gradients[centres], "sqeuclidean").min(axis=1)
        squares[centres] = 0.0
        centres.append(int(np.searchsorted(squares.cumsum(), rng.random() * squares.sum(), side="right")))
    return centres


@pytest.mark.parametrize("seed", range(5))
def test_badge_is_k_means_plus_plus_on_gradient_embeddings(seed: int) -> None:
    probs, hidden = np.exp(samples(40, 1, 6, seed)[:, 0]), embeddings(40, 8, seed)
    expected = badge_by_its_paper(probs, hidden.astype(np.float64), 12, seed)
    assert chosen(Badge(probs, hidden, np.random.default_rng(seed)), 40, 12) == expected


def test_badge_draws_with_probability_proportional_to_the_squared_distance() -> None:
    probs, hidden = np.exp(samples(5, 1, 3, 1)[:, 0]), embeddings(5, 4, 1)
    errors = probs - np.eye(3)[probs.argmax(axis=1)]
    gradients = np.einsum("mc,md->mcd", errors, hidden).reshape(5, -1)
    first = int((gradients**2).sum(axis=1).argmax())
    squares = ((gradients - gradients[first]) ** 2).sum(axis=1)
    seconds = [chosen(Badge(probs, hidden, np.random.default_rng(s)), 5, 2)[1] for s in range(2000)]
    share = np.bincount(seconds, minlength=5) / 2000
    np.testing.assert_allclose(share, squares / squares.sum(), atol=0.045)  # 4 standard errors


def test_badge_takes_no_second_copy_while_there_is_anything_else() -> None:
    probs, hidden = np.exp(samples(4, 1, 3, 2)[:, 0]), embeddings(4, 4, 2)
    twice = Badge(np.repeat(probs, 2, axis=0), np.repeat(hidden, 2, axis=0), np.random.default_rng(0))
    batch = chosen(twice, 8, 8)
    assert sorted(position // 2 for position in batch[:4]) == [0, 1, 2, 3]
    left = sorted(set(range(8)) - set(batch[:4]))
    assert batch[4:] == left


# -- k-centre ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_known", [0, 3])
@pytest.mark.parametrize("seed", range(3))
def test_k_centre_equals_naive_loops(seed: int, n_known: int) -> None:
    points, known = embeddings(30, 5, seed).astype(float), embeddings(n_known, 5, seed + 10).astype(float)
    centres, batch = [*known], []
    for _ in range(10):
        nearest = [
            min((float(((point - centre) ** 2).sum()) for centre in centres), default=math.inf)
            for point in points
        ]
        batch.append(max((i for i in range(30) if i not in batch), key=lambda i: (nearest[i], -i)))
        centres.append(points[batch[-1]])
    assert chosen(KCentre(points, known), 30, 10) == batch
    assert n_known or batch[0] == 0  # the best ranked


def test_k_centre_covers_within_twice_the_best_radius() -> None:
    points = embeddings(12, 2, 4).astype(float)
    distances = cdist(points, points)
    best = min(distances[list(each)].min(axis=0).max() for each in itertools.combinations(range(12), 4))
    assert distances[chosen(KCentre(points, NOBODY[:, :2]), 12, 4)].min(axis=0).max() <= 2 * best


# -- facility location ---------------------------------------------------------------------------------


def covered(points: FloatArray, weights: FloatArray, batch: list[int], known: FloatArray) -> float:
    centres = np.concatenate([points[batch], known])
    return float(weights @ np.maximum(points @ centres.T, 0.0).max(axis=1)) if len(centres) else 0.0


@pytest.mark.parametrize("n_known", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_lazy_facility_location_equals_naive_greedy_and_is_near_the_best(seed: int, n_known: int) -> None:
    random = np.random.default_rng(seed)
    points = centred_directions(embeddings(14, 4, seed), np.zeros(4))
    known = centred_directions(embeddings(n_known, 4, seed + 10), np.zeros(4))
    weights = random.random(14)
    batch: list[int] = []
    for _ in range(4):
        values = [-1.0 if i in batch else covered(points, weights, [*batch, i], known) for i in range(14)]
        batch.append(int(np.argmax(values)))
    assert chosen(FacilityLocation(points, weights, known), 14, 4) == batch
    start = covered(points, weights, [], known)
    best = max(covered(points, weights, list(b), known) for b in itertools.combinations(range(14), 4))
    assert covered(points, weights, batch, known) - start >= (1 - 1 / math.e) * (best - start)


def test_facility_location_looks_at_few_similarities_again(monkeypatch: pytest.MonkeyPatch) -> None:
    points, looked_at = centred_directions(embeddings(300, 8, 0), np.zeros(8)), 0
    rule = FacilityLocation(points, np.ones(300), NOBODY)
    clip = np.clip

    def counted(rows: FloatArray, *args: Any, **kwargs: Any) -> FloatArray:
        nonlocal looked_at
        looked_at += len(rows)
        clipped: FloatArray = clip(rows, *args, **kwargs)
        return clipped

    monkeypatch.setattr(np, "clip", counted)
    chosen(rule, 300, 30)
    assert 300 <= looked_at < 300 * 30 / 3


def test_facility_location_refuses_weights_that_mean_nothing() -> None:
    points = centred_directions(embeddings(3, 4, 0), np.zeros(4))
    for weights in ([-1.0, 0.0, 1.0], [np.nan, 0.0, 1.0]):
        with pytest.raises(ValueError, match="weights"):
            FacilityLocation(points, np.array(weights), NOBODY[:, :4])


# -- TypiClust -----------------------------------------------------------------------------------------


def test_the_most_typical_of_each_group_come_first_and_larger_groups_before_smaller() -> None:
    random = np.random.default_rng(0)
    sizes, centres = (40, 25, 10), np.eye(3) * 20
    points = np.concatenate(
        [centre + random.standard_normal((n, 3)) for centre, n in zip(centres, sizes, strict=True)]
    )
    group = np.repeat([0, 1, 2], sizes)
    typical = typical_order(points, 3, seed=0)
    assert sorted(typical.order_N) == list(range(75))
    np.testing.assert_array_equal(typical.cluster_sizes_N, np.array(sizes)[group])
    for turn in range(3):
        three = typical.order_N[3 * turn : 3 * turn + 3]
        for label, position in enumerate(three):
            members = np.flatnonzero(group == label)
            near = np.sort(cdist(points[members], points[members]), axis=1)[:, 1:21]
            by_typicality = members[np.argsort(near.mean(axis=1), kind="stable")]
            assert position == by_typicality[turn]


def test_typical_points_are_the_same_by_seed_and_few_or_equal_points_are_no_trouble() -> None:
    points = embeddings(200, 6, 0).astype(float)
    first, second = typical_order(points, 10, 3), typical_order(points, 10, 3)
    np.testing.assert_array_equal(first.order_N, second.order_N)
    assert sorted(typical_order(points[:4], 10, 0).order_N) == [0, 1, 2, 3]
    assert typical_order(np.ones((6, 3)), 4, 0).order_N.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(typical_order(points[:0], 4, 0).order_N) == 0


# -- directions ----------------------------------------------------------------------------------------


def test_directions_are_unit_vectors_from_the_centre() -> None:
    found = centred_directions(np.array([[3.0, 5.0], [1.0, 1.0]], dtype=np.float32), np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, [[2 / math.hypot(2, 4), 4 / math.hypot(2, 4)], [0.0, 0.0]])
    with pytest.raises(ValueError, match="not finite"):
        centred_directions(np.array([[np.nan, 0.0]], dtype=np.float32), np.zeros(2))


@pytest.mark.parametrize("known", [0, 4])
def test_idds_follows_its_definition(known: int) -> None:
    units_N_d = unit_vectors(np.random.default_rng(8).standard_normal((24, 5)).astype(np.float32))
    known_L_d, points_M_d = units_N_d[:known].astype(float), units_N_d[known:].astype(float)
    left, asked = list(range(len(points_M_d))), list(known_L_d)
    expected = []
    for _ in range(10):
        scores = []
        for one in left:
            to_left = np.mean([points_M_d[one] @ points_M_d[other] for other in left if other != one])
            to_known = np.mean([points_M_d[one] @ other for other in asked]) if asked else 0.0
            scores.append(0.667 * to_left - 0.333 * to_known)
        expected.append(left.pop(int(np.argmax(scores))))
        asked.append(points_M_d[expected[-1]])
    picks = greedy_batch(Idds(points_M_d, known_L_d), [], len(points_M_d), 10)
    assert [pick.position for pick in picks] == expected
