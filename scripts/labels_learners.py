"""The learners of ``study_labels.py``: the product's head, with or without its parts, and what a user has by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np
from labels_choices import logistic
from labels_data import Split

from star_al.acquire.embeddings import unit_vectors
from star_al.head import (
    Examples,
    HeadOptions,
    HeadPredictor,
    LabelNames,
    PoolTexts,
    TextFeatures,
    fit_head,
    neighbour_graph,
)
from star_al.types import Float32Array, FloatArray, IntArray

LOWEST_PROB = 1e-12


class Learner(Protocol):
    """Learns from answers and predicts the texts of one split."""

    def fit(self, rows_n: IntArray, answers_n: IntArray) -> None:
        """Learn from the labelled texts of the pool; forget what was learnt before."""

    def predict_pool(self) -> FloatArray:
        """Log-probabilities (P, C) of all texts of the pool."""

    def predict_test(self) -> FloatArray:
        """Log-probabilities (T, C) of the test texts."""

    def without_labels(self) -> FloatArray | None:
        """Log-probabilities (P + T, C) of pool and test by the labels' names alone; None if they are not used."""


class Head:
    """The product's head on the encoder's vectors; implements ``Learner``.

    Args:
        split: The texts.
        names: True to use the labels' names as prior.
        neighbours: How many neighbours to smooth over; None lets the head choose.
    """

    def __init__(self, split: Split, *, names: bool = True, neighbours: int | None = None) -> None:
        self._n_labels = len(split.labels)
        self.options = HeadOptions(neighbours=neighbours, seed=split.seed)
        self._names = LabelNames(split.names_C_d) if names else None
        graph = None if neighbours == 0 else neighbour_graph(split.pool_P_d)
        self._pool = PoolTexts({"encoder": split.pool_P_d}, self._offsets(split.pool_P_d), graph)
        self._test = TextFeatures({"encoder": split.test_T_d}, self._offsets(split.test_T_d))

    def fit(self, rows_n: IntArray, answers_n: IntArray) -> None:
        """See ``Learner.fit``."""
        fitted = fit_head(self._pool, Examples(rows_n, answers_n), self._n_labels, self.options)
        self._predictor = HeadPredictor(fitted, self._pool)

    def predict_pool(self) -> FloatArray:
        """See ``Learner.predict_pool``."""
        return self._predictor.predict_pool()[:, 0]

    def predict_test(self) -> FloatArray:
        """See ``Learner.predict_test``."""
        return self._predictor.predict_new(self._test)[:, 0]

    def sample_test(self, draws: range, seed: int) -> FloatArray:
        """Log-probabilities (T, K, C) of the test texts by samples of the posterior."""
        return self._predictor.predict_new(self._test, draws=draws, seed=seed)

    def without_labels(self) -> FloatArray | None:
        """See ``Learner.without_labels``."""
        if self._names is None:
            return None
        none = np.zeros(0, dtype=np.int64)
        self.fit(none, none)
        return np.concatenate([self.predict_pool(), self.predict_test()])

    def _offsets(self, vectors_N_d: Float32Array) -> dict[str, FloatArray]:
        return {} if self._names is None else {"label_names": self._names.similarities(vectors_N_d)}


class ByHand:
    """scikit-learn's logistic regression on the same vectors, of unit length; implements ``Learner``.

    Args:
        split: The texts.
        strength: C of scikit-learn.
    """

    def __init__(self, split: Split, strength: float) -> None:
        self._n_labels, self._strength = len(split.labels), strength
        self._pool_P_d, self._test_T_d = unit_vectors(split.pool_P_d), unit_vectors(split.test_T_d)

    def fit(self, rows_n: IntArray, answers_n: IntArray) -> None:
        """See ``Learner.fit``."""
        self._only = int(answers_n[0]) if len(set(answers_n.tolist())) == 1 else None
        if self._only is None:  # scikit-learn refuses to learn from a single label
            self._model = logistic(self._strength).fit(self._pool_P_d[rows_n], answers_n)

    def predict_pool(self) -> FloatArray:
        """See ``Learner.predict_pool``."""
        return self._predict(self._pool_P_d)

    def predict_test(self) -> FloatArray:
        """See ``Learner.predict_test``."""
        return self._predict(self._test_T_d)

    def without_labels(self) -> FloatArray | None:
        """See ``Learner.without_labels``."""
        return None

    def _predict(self, points_N_d: Float32Array) -> FloatArray:
        log_probs_N_C = np.full((len(points_N_d), self._n_labels), np.log(LOWEST_PROB))
        if self._only is not None:
            log_probs_N_C[:, self._only] = 0.0
            return log_probs_N_C
        probs = self._model.predict_proba(points_N_d)
        log_probs_N_C[:, self._model.classes_] = np.log(np.maximum(probs, LOWEST_PROB))
        return log_probs_N_C


MakeLearner: TypeAlias = Callable[[Split], Learner]

LEARNERS: Mapping[str, MakeLearner] = {
    "head": Head,
    "head without neighbours": lambda split: Head(split, neighbours=0),
    "head without names": lambda split: Head(split, names=False),
    "plain head": lambda split: Head(split, names=False, neighbours=0),
    "logistic C=10": lambda split: ByHand(split, 10.0),
    "logistic C=100": lambda split: ByHand(split, 100.0),
    "logistic C=1000": lambda split: ByHand(split, 1000.0),
}
"""Learners by the name that arms use."""
