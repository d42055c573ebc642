"""Rules that cover the pool, against scikit-activeml and naive references."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from skactiveml.pool import MaxHerding, TypiClust

from star_al.acquire.cluster_margin import ClusterMargin, pool_clusters
from star_al.acquire.coverage import newly_covered, similar_from
from star_al.acquire.embeddings import unit_vectors
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import GreedyRule, greedy_batch
from star_al.acquire.herding import compactness, herding, open_label_weights
from star_al.acquire.kernels import Points, clipped_cosine, rbf
from star_al.acquire.measures import label_probability
from star_al.acquire.search import RELEVANCE, Search
from star_al.acquire.typiclust import typical_order
from star_al.acquire.uncertainty_herding import adaptive_rbf, uncertainty_herding
from star_al.types import Float32Array, FloatArray, IntArray


def texts(n: int, d: int = 16, groups: int = 12, seed: int = 0) -> Float32Array:
    """Unit vectors in groups, as embeddings of texts are."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((groups, d))
    points = centres[random.integers(groups, size=n)] + 0.5 * random.standard_normal((n, d))
    return unit_vectors(points.astype(np.float32))


def chosen(rule: GreedyRule, n: int, k: int) -> list[int]:
    return [pick.position for pick in greedy_batch(rule, [], n, k)]


# -- kernels and coverage ------------------------------------------------------------------------------


def test_the_kernel_of_cosines_is_the_rbf_of_distances() -> None:
    points = texts(20).astype(np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    expected = np.exp(-(cdist(points, points) ** 2) / 0.7**2)
    np.testing.assert_allclose(rbf(0.7)(points @ points.T), expected, atol=1e-12)
    with pytest.raises(ValueError, match="width"):
        rbf(0.0)


def naive(similarity: Points, weights: FloatArray, known: Points, k: int) -> list[int]:
    """Greedy coverage by its definition; ``known`` holds similarities with known texts, (M, L)."""
    batch: list[int] = []
    for _ in range(k):
        columns = np.concatenate([known, similarity[:, batch], np.zeros((len(similarity), 1))], axis=1)
        cover = columns.max(axis=1)
        values = [
            -1.0 if j in batch else float(weights @ np.maximum(similarity[:, j], cover))
            for j in range(len(similarity))
        ]
        batch.append(int(np.argmax(values)))
    return batch


@pytest.mark.parametrize("n_known", [0, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coverage_equals_naive_greedy(n_known: int, dtype: type[np.floating[Any]]) -> None:
    random = np.random.default_rng(n_known)
    points, known = texts(700, seed=1).astype(dtype), texts(n_known, seed=2).astype(dtype)
    weights = random.random(700)
    wide, exact = points.astype(np.float64), known.astype(np.float64)
    for kernel in (clipped_cosine, rbf(0.8)):
        expected = naive(kernel(wide @ wide.T), weights, kernel(wide @ exact.T), 30)
        assert chosen(FacilityLocation(points, weights, known, kernel), 700, 30) == expected


def test_known_texts_may_be_more_than_a_block() -> None:
    points, known = texts(50), texts(1500, seed=3)
    expected = naive(clipped_cosine(points @ points.T), np.ones(50), clipped_cosine(points @ known.T), 5)
    assert chosen(herding(points, known), 50, 5) == expected


def test_copies_are_taken_by_rank_and_only_after_all_others() -> None:
    points = np.tile(texts(6, groups=6), (4, 1))
    batch = chosen(herding(points, points[:0]), 24, 24)
    assert sorted(batch[:6]) == [0, 1, 2, 3, 4, 5]
    assert sorted(batch) == list(range(24))


@pytest.mark.parametrize("n_known", [0, 5])
def test_herding_is_scikit_activemls_max_herding(n_known: int) -> None:
    pool, known = texts(400), texts(n_known, seed=9)
    samples = np.concatenate([known, pool]).astype(np.float64)
    labels = np.full(len(samples), np.nan)
    labels[:n_known] = 0.0
    reference = MaxHerding(metric=lambda x, y: max(0.0, float(x @ y)), random_state=0)
    expected = reference.query(samples, labels, batch_size=40) - n_known
    assert chosen(herding(pool, known), 400, 40) == expected.tolist()


def test_herding_covers_what_weighs_more() -> None:
    pool = texts(200, groups=2, seed=4)
    near = pool @ pool[0] > 0.5
    batch = chosen(herding(pool, pool[:0], np.where(near, 1.0, 0.01)), 200, 2)
    assert near[batch].all()


def guesses(classes: IntArray, n_classes: int, confidence: FloatArray) -> FloatArray:
    """Predictions of a class each, as sure as given; the rest is spread over the others."""
    probs = np.repeat((1 - confidence)[:, None] / (n_classes - 1), n_classes, axis=1)
    probs[np.arange(len(classes)), classes] = confidence
    return np.log(probs)


def test_open_labels_weigh_more_where_the_predicted_classes_are_compact() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(6, size=300)
    points = unit_vectors((np.eye(12)[groups] + 0.2 * random.standard_normal((300, 12))).astype(np.float32))
    confidence = random.uniform(0.3, 0.9, 300)
    weights = open_label_weights(guesses(groups, 6, confidence), points, seed=1)
    assert weights is not None
    np.testing.assert_array_equal(np.argsort(weights), np.argsort(-confidence))
    assert weights.min() == pytest.approx(0.2) and weights.max() == pytest.approx(1.0)
    assert open_label_weights(guesses(random.permutation(groups), 6, confidence), points, seed=1) is None


def test_compactness_is_one_for_clusters_and_about_zero_for_chance() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(6, size=400)
    points = unit_vectors((np.eye(12)[groups] + 0.05 * random.standard_normal((400, 12))).astype(np.float32))
    assert compactness(groups, points, 6, seed=0) == pytest.approx(1.0, abs=0.3)
    assert compactness(random.permutation(groups), points, 6, seed=0) < 0.1
    assert compactness(np.zeros(400, dtype=np.int64), points, 6, seed=0) < 0.0
    assert compactness(groups[:5], points[:5], 6, seed=0) == 0.0


# -- uncertainty herding -------------------------------------------------------------------------------


def test_uncertainty_herding_is_coverage_weighted_by_uncertainty_with_a_width_from_known_texts() -> None:
    points, known = texts(300), texts(20, seed=5)
    uncertainty = np.random.default_rng(0).random(300)
    distances = cdist(known.astype(np.float64), known.astype(np.float64))
    np.fill_diagonal(distances, math.inf)
    width = float(np.median(distances.min(axis=1)))
    cosines = np.array([[0.3]])
    np.testing.assert_allclose(adaptive_rbf(known)(cosines.copy()), np.exp(-1.4 / width**2), rtol=1e-3)
    kernel = rbf(width)
    exact, others = points.astype(np.float64), known.astype(np.float64)
    expected = naive(kernel(exact @ exact.T), uncertainty, kernel(exact @ others.T), 25)
    assert chosen(uncertainty_herding(points, uncertainty, known), 300, 25) == expected


def test_the_width_of_uncertainty_herding_needs_no_known_texts_and_ignores_copies() -> None:
    cosine = np.array([[0.3]])
    for known in (texts(0), texts(1), np.repeat(texts(1), 3, axis=0)):
        np.testing.assert_allclose(adaptive_rbf(known)(cosine.copy()), np.exp(-1.4))
    known = texts(20, seed=5)
    distances = cdist(known, known) + np.diag(np.full(20, math.inf))
    width = np.median(distances.min(axis=1)[4:])  # the first four are there twice
    found = adaptive_rbf(np.concatenate([known, known[:4]]))(cosine.copy())
    np.testing.assert_allclose(found, np.exp(-1.4 / width**2), rtol=1e-3)


def test_coverage_by_an_rbf_is_scikit_activemls_max_herding() -> None:
    pool = texts(400)
    reference = MaxHerding(metric="rbf", metric_dict={"gamma": 1.0}, random_state=0)
    expected = reference.query(pool.astype(np.float64), np.full(400, np.nan), batch_size=40)
    assert chosen(uncertainty_herding(pool, np.zeros(400), pool[:0]), 400, 40) == expected.tolist()


# -- cluster-margin ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 6), max_size=40))
@settings(deadline=None)
def test_cluster_margin_goes_round_the_clusters_smallest_first(clusters: list[int]) -> None:
    members = {c: [i for i, other in enumerate(clusters) if other == c] for c in dict.fromkeys(clusters)}
    order = sorted(members, key=lambda c: (len(members[c]), members[c][0]))
    expected = [members[c][turn] for turn in range(len(clusters)) for c in order if turn < len(members[c])]
    assert chosen(ClusterMargin(np.array(clusters, dtype=np.int64)), len(clusters), 99) == expected


def test_clusters_of_the_pool_are_its_groups_and_other_texts_join_the_nearest() -> None:
    random = np.random.default_rng(0)
    centres = unit_vectors(np.eye(10, dtype=np.float32))

    def around(groups: list[int]) -> Float32Array:
        noise = 0.05 * random.standard_normal((len(groups), 10))
        return unit_vectors((centres[groups] + noise).astype(np.float32))

    sample = around([group for group in range(10) for _ in range(10)])
    groups = [3, 3, 7, 0, 7, 9]
    clusters = pool_clusters(sample, around(groups))
    same = np.equal.outer(clusters, clusters)
    np.testing.assert_array_equal(same, np.equal.outer(groups, groups))
    assert pool_clusters(sample[:1], sample[:4]).tolist() == [0, 0, 0, 0]


# -- TypiClust -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_typical_points_are_scikit_activemls_typiclust_where_no_cluster_is_small(seed: int) -> None:
    random, sizes = np.random.default_rng(seed), np.arange(30, 70, 5)  # different, as ties are drawn
    centres = np.repeat(6 * np.eye(8), sizes, axis=0)
    points = random.permutation(centres + random.standard_normal(centres.shape))
    n = len(points)
    kmeans = {"n_init": 1, "max_iter": 50, "random_state": seed}
    reference = TypiClust(k=20, cluster_algo_dict=kmeans, random_state=seed)
    expected = reference.query(points, np.full(n, np.nan), batch_size=8)
    typical = typical_order(points, 8, seed)
    assert (typical.cluster_sizes_N >= 5).all()
    assert typical.order_N[:8].tolist() == expected.tolist()


def test_small_clusters_come_last_and_are_at_most_one_for_two_points() -> None:
    random = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [30, 20, 3])
    points = np.eye(3)[group] * 20 + random.standard_normal((53, 3))
    order = typical_order(points, 3, seed=0).order_N
    assert group[order[:4]].tolist() == [0, 1, 0, 1]
    assert group[order[-3:]].tolist() == [2, 2, 2]
    assert group[typical_order(points, 3, seed=0, min_cluster=1).order_N[:3]].tolist() == [0, 1, 2]
    sizes = typical_order(points, 50, seed=0).cluster_sizes_N
    assert np.sum(1.0 / sizes) == pytest.approx(26)  # clusters


# -- search --------------------------------------------------------------------------------------------


def test_search_trades_similarity_to_the_query_against_similarity_to_what_is_chosen() -> None:
    points, queries, known = texts(120), texts(2, seed=6), texts(4, seed=7)
    batch: list[int] = []
    for _ in range(15):
        best, best_value = -1, -math.inf
        for i in range(120):
            others = [*known, *points[batch]]
            value = RELEVANCE * float((queries @ points[i]).max())
            value -= (1 - RELEVANCE) * max(0.0, max(float(points[i] @ other) for other in others))
            if i not in batch and value > best_value + 1e-7:
                best, best_value = i, value
        batch.append(best)
    assert chosen(Search(points, queries, known), 120, 15) == batch


# -- what questions stand for --------------------------------------------------------------------------


@pytest.mark.parametrize("n_known", [0, 7])
def test_a_question_stands_for_the_texts_that_it_covers_first(n_known: int) -> None:
    pool, known = texts(500), texts(n_known, seed=8)
    batch = pool[[3, 99, 3, 250]]
    expected = []
    asked = list(known)
    for question in batch:
        free = [all(text @ other < 0.6 for other in asked) for text in pool]
        expected.append(
            sum(1 for text, is_free in zip(pool, free, strict=True) if is_free and text @ question >= 0.6)
        )
        asked.append(question)
    blocks = [pool[:200], pool[200:]]
    assert newly_covered(blocks, batch, known, 0.6).tolist() == expected
    assert expected[2] == 0  # asked twice
    assert newly_covered(blocks, pool[:0], known, 0.6).tolist() == []


def test_similar_pairs_are_a_hundredth_of_all() -> None:
    points = texts(300)
    cosines = (points @ points.T)[np.triu_indices(300, 1)]
    assert np.mean(cosines >= similar_from(points)) == pytest.approx(0.01, abs=1e-3)
    assert similar_from(points[:1]) == 1.0


# -- rare labels ---------------------------------------------------------------------------------------


def test_the_probability_of_a_label_is_that_of_the_mean_prediction() -> None:
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(3), (10, 4))
    for column in range(3):
        expected = probs.mean(axis=1)[:, column]
        np.testing.assert_allclose(label_probability(np.log(probs), column=column), expected)
