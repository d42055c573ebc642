"""How the arms of ``study_labels.py`` choose texts: by the product's own rules, or by those of other packages.

A chooser gets a ``View`` and returns positions of the pool, best first. A start has no predictions to go by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from labels_arms import RIVALS_STRENGTH
from labels_data import Split
from sklearn.linear_model import LogisticRegression

from star_al import rng
from star_al.acquire.blend import normalise
from star_al.acquire.cluster_margin import ClusterMargin, pool_clusters
from star_al.acquire.embeddings import centred_directions
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import GreedyRule, greedy_batch
from star_al.acquire.herding import herding, open_label_weights
from star_al.acquire.measures import margin, predictive_entropy
from star_al.acquire.typiclust import typical_order
from star_al.acquire.uncertainty_herding import uncertainty_herding
from star_al.config.spec.acquisition import DEFAULT_TOP, FACILITY_TOP
from star_al.types import Float32Array, FloatArray, IntArray


@dataclass(frozen=True)
class View:
    """What a chooser may look at.

    Attributes:
        split: The texts; their true labels are not to be looked at.
        points_P_d: Unit vectors of the pool's texts.
        rows_n: Positions of the labelled texts, in the order of their choice.
        answers_n: The columns that they were answered with.
        log_probs_P_C: The learner's predictions; for a start, those that it makes without labels, or None.
        k: How many texts to choose.
    """

    split: Split
    points_P_d: Float32Array
    rows_n: IntArray
    answers_n: IntArray
    log_probs_P_C: FloatArray | None
    k: int

    @property
    def unlabelled(self) -> IntArray:
        """Positions without a label, ascending."""
        return np.setdiff1d(np.arange(len(self.points_P_d)), self.rows_n)

    def directions(self, rows: IntArray, around: IntArray) -> Float32Array:
        """Unit vectors to some texts from the centre of some texts, as the product compares texts."""
        centre_d = self.points_P_d[around].mean(axis=0, dtype=np.float64)
        return centred_directions(self.points_P_d[rows], centre_d).astype(np.float32)

    def random(self, purpose: str) -> np.random.Generator:
        """A generator of its own for the seed, the number of labels and the purpose."""
        return rng.generator(self.split.seed, len(self.rows_n), f"study/{self.split.name}/{purpose}")

    def seed(self, purpose: str) -> int:
        """A seed of 32 bits for libraries."""
        return int(self.random(purpose).integers(2**32))


Chooser: TypeAlias = Callable[[View], IntArray]


# -- the product's rules --------------------------------------------------------------------------------


def at_random(view: View) -> IntArray:
    """Draw at random; the start and all that follows is one random order of the pool."""
    order_P = rng.generator(view.split.seed, 0, f"study/{view.split.name}/random").permutation(
        len(view.points_P_d)
    )
    return order_P[~np.isin(order_P, view.rows_n)][: view.k]


def typical(view: View) -> IntArray:
    """The most typical text of each cluster."""
    everything = np.arange(len(view.points_P_d))
    points_P_d = view.directions(everything, everything).astype(np.float64)
    return typical_order(points_P_d, view.k, view.seed("typical")).order_N[: view.k]


def by_plain_herding(view: View) -> IntArray:
    """Cover the pool by a kernel, whatever the learner says (MaxHerding)."""
    rest = view.unlabelled
    rule = herding(view.directions(rest, rest), view.directions(view.rows_n, rest))
    return _greedy(rule, rest, view.k)


def by_herding(view: View) -> IntArray:
    """The same; a start weighs texts by how open the labels' names leave their label."""
    if view.log_probs_P_C is None or len(view.rows_n):
        return by_plain_herding(view)
    rest = view.unlabelled
    points_M_d = view.directions(rest, rest)
    weights_M = open_label_weights(view.log_probs_P_C, points_M_d, view.seed("names"))
    return _greedy(herding(points_M_d, points_M_d[:0], weights_M), rest, view.k)


def by_entropy(view: View) -> IntArray:
    """The highest entropies."""
    return _ranked(view, predictive_entropy)[0][: view.k]


def by_margin(view: View) -> IntArray:
    """The smallest margins."""
    return _ranked(view, margin)[0][: view.k]


def by_facility_location(view: View) -> IntArray:
    """Facility location over the most uncertain texts, by margin."""
    order, scores = _ranked(view, margin)
    top, weights = order[: FACILITY_TOP * view.k], scores[: FACILITY_TOP * view.k]
    weights = weights if weights.any() else np.ones_like(weights)
    rule = FacilityLocation(view.directions(top, top), weights, view.directions(view.rows_n, top))
    return _greedy(rule, top, view.k)


def by_cluster_margin(view: View) -> IntArray:
    """The smallest margins of many clusters."""
    order, _ = _ranked(view, margin)
    top, everything = order[: max(DEFAULT_TOP, view.k)], np.arange(len(view.points_P_d))
    clusters_M = pool_clusters(view.directions(everything, everything), view.directions(top, everything))
    return _greedy(ClusterMargin(clusters_M), top, view.k)


def by_uncertainty_herding(view: View) -> IntArray:
    """Cover the whole pool, weighted by margin."""
    order, scores = _ranked(view, margin)
    rule = uncertainty_herding(view.directions(order, order), scores, view.directions(view.rows_n, order))
    return _greedy(rule, order, view.k)


def _ranked(view: View, measure: Callable[[FloatArray], FloatArray]) -> tuple[IntArray, FloatArray]:
    """The unlabelled positions, most uncertain first, with their scores."""
    assert view.log_probs_P_C is not None, "a start has no predictions"
    rest = view.unlabelled
    scores = normalise(measure(view.log_probs_P_C[rest][:, None, :]), "minmax")
    order = np.argsort(-scores, kind="stable")
    return rest[order], scores[order]


def highest(scores_M: FloatArray, k: int) -> IntArray:
    """Return the positions of the k highest scores, the highest first."""
    return np.argsort(-scores_M, kind="stable")[:k]


def _greedy(rule: GreedyRule, candidates: IntArray, k: int) -> IntArray:
    return candidates[[pick.position for pick in greedy_batch(rule, [], len(candidates), k)]]


# -- scikit-activeml ------------------------------------------------------------------------------------


def skactiveml(name: str, **settings: Any) -> Chooser:
    """A strategy of ``skactiveml.pool``."""

    def choose(view: View) -> IntArray:
        import skactiveml.pool
        from skactiveml.classifier import SklearnClassifier

        labels = np.full(len(view.points_P_d), np.nan)
        labels[view.rows_n] = view.answers_n
        given: dict[str, Any] = {"X": view.points_P_d, "y": labels, "batch_size": view.k}
        strategy = getattr(skactiveml.pool, name)(random_state=view.seed(name) % 2**31, **settings)
        if name in ("Badge", "Falcun", "DropQuery"):
            given["clf"] = SklearnClassifier(logistic(), classes=range(len(view.split.labels)))
        return np.asarray(strategy.query(**given), dtype=np.int64)

    return choose


# -- small-text -----------------------------------------------------------------------------------------


def small_text(name: str, **settings: Any) -> Chooser:
    """A query strategy of ``small_text`` on precomputed embeddings."""

    def choose(view: View) -> IntArray:
        from small_text import query_strategies
        from small_text.classifiers import SklearnClassifier
        from small_text.data.datasets import SklearnDataset

        n_labels = len(view.split.labels)
        columns = np.zeros(len(view.points_P_d), dtype=np.int64)
        columns[view.rows_n] = view.answers_n
        dataset = SklearnDataset(view.points_P_d, columns, target_labels=np.arange(n_labels))
        classifier = SklearnClassifier(_AllLabels(n_labels), n_labels)
        classifier.fit(dataset[view.rows_n])
        # The package asks the classifier for embeddings, which its scikit-learn one does not have.
        classifier.embed = lambda texts, return_proba=False, **_: (
            (texts.x, classifier.predict_proba(texts)) if return_proba else texts.x
        )
        np.random.seed(view.seed(name))  # the package draws from NumPy's global generator
        strategy = getattr(query_strategies, name)(**settings)
        found = strategy.query(classifier, dataset, view.unlabelled, view.rows_n, view.answers_n, n=view.k)
        return np.asarray(found, dtype=np.int64)

    return choose


def logistic(strength: float = RIVALS_STRENGTH) -> LogisticRegression:
    """scikit-learn's logistic regression."""
    return LogisticRegression(C=strength, max_iter=1000)


class _AllLabels:
    """A logistic regression that gives every label a column, also labels without a text so far."""

    def __init__(self, n_labels: int) -> None:
        self._n_labels, self._model = n_labels, logistic()

    def fit(self, points_n_d: Float32Array, columns_n: IntArray, sample_weight: FloatArray | None) -> None:
        self._model.fit(points_n_d, columns_n, sample_weight)

    def predict_proba(self, points_N_d: Float32Array) -> FloatArray:
        probs_N_C = np.zeros((len(points_N_d), self._n_labels))
        probs_N_C[:, self._model.classes_] = self._model.predict_proba(points_N_d)
        return probs_N_C


CHOOSERS: Mapping[str, Chooser] = {
    "random": at_random,
    "typical": typical,
    "herding": by_herding,
    "plain herding": by_plain_herding,
    "entropy": by_entropy,
    "margin": by_margin,
    "facility_location": by_facility_location,
    "cluster_margin": by_cluster_margin,
    "uncertainty_herding": by_uncertainty_herding,
    "skactiveml TypiClust": skactiveml("TypiClust"),
    "skactiveml MaxHerding": skactiveml("MaxHerding"),
    "skactiveml ProbCover": skactiveml("ProbCover"),
    "skactiveml BADGE": skactiveml("Badge"),
    "skactiveml Falcun": skactiveml("Falcun"),
    "skactiveml DropQuery": skactiveml("DropQuery"),
    "small-text BreakingTies": small_text("BreakingTies"),
    "small-text EmbeddingKMeans": small_text("EmbeddingKMeans"),
    "small-text ContrastiveActiveLearning": small_text("ContrastiveActiveLearning", pbar=None),
    "small-text LightweightCoreset": small_text("LightweightCoreset"),
}
"""Choosers by the name that arms use. The first four need no predictions, so they can be starts."""
