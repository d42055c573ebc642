"""Predict with a fitted head: pool texts over their neighbours, new texts over their nearest pool texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from star_al.head.feature_scaling import unit_length
from star_al.head.fitted_head import FittedHead
from star_al.head.inputs import PoolTexts, TextFeatures
from star_al.head.laplace import BLOCK, blocks_of, logit_variance, measured_rows
from star_al.head.matched_temperature import matched_temperature
from star_al.head.neighbours import Search, UnitVectors, exact_search, neighbour_mean
from star_al.head.smoothing import LOWEST
from star_al.types import Float32Array, FloatArray, IntArray

_BLOCK_TEXTS = 16_384  # texts that are predicted at once
_MATCHED_DRAWS = range(2 * BLOCK)  # that find the temperature of samples

Predict = Callable[[Float32Array, tuple[FloatArray, ...]], Float32Array]
"""Predicts by one function: it maps scaled features and offsets to probabilities, (N, C)."""


class HeadPredictor:
    """Predictions of one head for texts of its pool and for new ones.

    With ``draws=None`` the prediction is that of the fitted weights at the temperature from cross-validation. Samples
    get a temperature of their own, at which their mean is as confident as that prediction, on average over the pool:
    averaging over samples softens, and cross-validation has already set how soft predictions must be.

    Args:
        head: The head.
        pool: The pool that it was fitted on, the same texts in the same order.
        search: How to search for the nearest pool texts of new texts.
    """

    def __init__(self, head: FittedHead, pool: PoolTexts, search: Search = exact_search) -> None:
        self.head = head
        self._pool = pool
        self._search = search
        self._deviations: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}

    def predict_pool(
        self, rows_N: IntArray | None = None, *, draws: range | None = None, seed: int = 0
    ) -> FloatArray:
        """Predict texts of the pool. A labelled text is predicted like any other; its label counts for others only.

        Args:
            rows_N: Rows of the pool; None for all.
            draws: Numbers of the posterior's samples; None for the fitted weights.
            seed: With a sample's number it decides the sample.

        Returns:
            Log-probabilities (N, K, C).
        """
        rows_N = np.arange(len(self._pool)) if rows_N is None else np.asarray(rows_N, dtype=np.int64)
        if draws is None:
            mean_N_C = self._neighbours(self.labelled_pool_P_C, self._near_rows(rows_N))
            return self._finish(self._own(rows_N), mean_N_C, self.head.smoothing.temperature)[:, None]
        temperature = self._sample_temperature
        return self._stack(
            [
                self._finish(own_N_C, mean_N_C, temperature)
                for own_N_C, mean_N_C in self._pool_samples(rows_N, draws, seed)
            ],
            len(rows_N),
        )

    def predict_new(self, texts: TextFeatures, *, draws: range | None = None, seed: int = 0) -> FloatArray:
        """Predict texts that are not in the pool.

        Args:
            texts: Their features and offsets, of the same kinds as the pool's.
            draws: Numbers of the posterior's samples; None for the fitted weights.
            seed: With a sample's number it decides the sample.

        Returns:
            Log-probabilities (N, K, C).
        """
        features, offsets = self.head.reader.features(texts), self.head.reader.offsets(texts)
        near_N_k = self._nearest(texts)
        if draws is None:
            mean_N_C = self._neighbours(self.labelled_pool_P_C, near_N_k)
            own_N_C = self._fitted(features, offsets)
            return self._finish(own_N_C, mean_N_C, self.head.smoothing.temperature)[:, None]
        temperature = self._sample_temperature
        rows_V, place = np.unique(near_N_k, return_inverse=True)
        place = place.reshape(near_N_k.shape)
        predictions = []
        for predict in self._samples(draws, seed):
            labelled_V_C = self._with_labels(predict(*self._read(rows_V)), rows_V)
            mean_N_C = self._neighbours(labelled_V_C, place)
            predictions.append(self._finish(predict(features, offsets), mean_N_C, temperature))
        return self._stack(predictions, len(texts))

    # -- the fitted weights -----------------------------------------------------------------------------

    @cached_property
    def _features_P_r(self) -> Float32Array:
        return self.head.reader.features(self._pool)

    @property
    def labelled_pool_P_C(self) -> Float32Array:
        """Unsmoothed probabilities of the pool, labels in place of the predictions of labelled texts."""
        return self._pool_probs[0]

    @cached_property
    def _pool_probs(self) -> tuple[Float32Array, Float32Array]:
        """Those, and the predictions in whose place the labels are, (U, C)."""
        out = np.empty((len(self._pool), self.head.n_labels), dtype=np.float32)
        for first in range(0, len(out), _BLOCK_TEXTS):
            block = slice(first, first + _BLOCK_TEXTS)
            out[block] = self._fitted(*self._read(block))
        own_U_C = out[self.head.fixed_rows_U]
        out[self.head.fixed_rows_U] = self.head.fixed_probs_U_C
        return out, own_U_C

    def _own(self, rows_N: IntArray) -> Float32Array:
        """Unsmoothed predictions of texts of the pool, (N, C)."""
        labelled_P_C, own_U_C = self._pool_probs
        own_N_C: Float32Array = labelled_P_C[rows_N]
        fixed_U = self.head.fixed_rows_U
        is_fixed_N = np.isin(rows_N, fixed_U)
        own_N_C[is_fixed_N] = own_U_C[np.searchsorted(fixed_U, rows_N[is_fixed_N])]
        return own_N_C

    def _fitted(self, features_N_r: Float32Array, offsets: tuple[FloatArray, ...]) -> Float32Array:
        out = np.empty((len(features_N_r), self.head.n_labels), dtype=np.float32)
        with threadpool_limits(1):
            for first in range(0, len(out), _BLOCK_TEXTS):
                block = slice(first, first + _BLOCK_TEXTS)
                of_block = tuple(offset_N_C[block] for offset_N_C in offsets)
                out[block] = softmax(self.head.logits(features_N_r[block], of_block), axis=1)
        return out

    # -- samples ----------------------------------------------------------------------------------------

    def _samples(self, draws: range, seed: int) -> Iterator[Predict]:
        """One function for each draw."""
        for block, places in blocks_of(draws):
            weights_S_r_C, bias_S_C = self._deviations_of(block, seed)
            for place in places:
                yield self._sample(self._scale * weights_S_r_C[place], self._scale * bias_S_C[place])

    def _sample(self, weights_r_C: FloatArray, bias_C: FloatArray) -> Predict:
        def predict(features_N_r: Float32Array, offsets: tuple[FloatArray, ...]) -> Float32Array:
            with threadpool_limits(1):
                logits_N_C = self.head.logits(features_N_r, offsets)
                logits_N_C += features_N_r @ weights_r_C + bias_C
            probs_N_C: Float32Array = softmax(logits_N_C, axis=1).astype(np.float32)
            return probs_N_C

        return predict

    def _deviations_of(self, block: int, seed: int) -> tuple[FloatArray, FloatArray]:
        if (seed, block) not in self._deviations:
            self._deviations[seed, block] = self.head.posterior.deviations(block, seed)
        return self._deviations[seed, block]

    @cached_property
    def _scale(self) -> float:
        """What samples are multiplied by, so that logits vary as the jackknife says; at most 1."""
        rows_M = measured_rows(len(self._pool))
        features_M_r, offsets = self._read(rows_M)
        weights_S_r_C, bias_S_C = self._deviations_of(0, 0)
        with threadpool_limits(1):
            deviations_S_M_C = features_M_r @ weights_S_r_C + bias_S_C[:, None]
            probs_M_C = softmax(self.head.logits(features_M_r, offsets), axis=1)
        found = logit_variance(deviations_S_M_C, probs_M_C)
        return float(np.sqrt(min(1.0, self.head.posterior.variance / max(found, 1e-300))))

    def _pool_samples(
        self, rows_N: IntArray, draws: range, seed: int
    ) -> Iterator[tuple[Float32Array, Float32Array]]:
        """For each draw: unsmoothed probabilities of the rows, and the mean over their neighbours."""
        near_N_k = self._near_rows(rows_N)
        rows_V, place = np.unique(np.concatenate([rows_N, near_N_k.ravel()]), return_inverse=True)
        own_at, near_at = place[: len(rows_N)], place[len(rows_N) :].reshape(near_N_k.shape)
        read = self._read(rows_V)
        for predict in self._samples(draws, seed):
            probs_V_C = predict(*read)
            own_N_C = probs_V_C[own_at]
            yield own_N_C, self._neighbours(self._with_labels(probs_V_C, rows_V), near_at)

    @cached_property
    def _sample_temperature(self) -> float:
        rows_M = measured_rows(len(self._pool))
        goal = float(np.exp(self.predict_pool(rows_M).max(axis=2)).mean())
        drawn = list(self._pool_samples(rows_M, _MATCHED_DRAWS, 0))

        def confidence(temperature: float) -> float:
            logs = self._stack([self._finish(*each, temperature) for each in drawn], len(rows_M))
            return float(np.exp(logs).mean(axis=1).max(axis=1).mean())

        return matched_temperature(goal, confidence)

    # -- neighbours -------------------------------------------------------------------------------------

    def _read(self, rows: IntArray | slice) -> tuple[Float32Array, tuple[FloatArray, ...]]:
        return self._features_P_r[rows], self.head.reader.offsets(self._pool, rows)

    def _near_rows(self, rows_N: IntArray) -> IntArray:
        number = self.head.smoothing.neighbours
        if self._pool.graph is None or not number:
            return np.zeros((len(rows_N), 0), dtype=np.int64)
        near_N_k: IntArray = self._pool.graph.indices_N_k[rows_N, :number].astype(np.int64)
        return near_N_k

    @property
    def unit_pool(self) -> UnitVectors:
        """What the nearest pool texts are searched by: embeddings of the pool at unit length."""
        kept, key = self._pool.kept, f"unit length/{self._embedding_kind}"
        if key not in kept:
            kept[key] = UnitVectors(self._pool.features[self._embedding_kind])
        found: UnitVectors = kept[key]
        return found

    @property
    def _embedding_kind(self) -> str:
        return "encoder" if "encoder" in self._pool.features else "model"

    def _nearest(self, texts: TextFeatures) -> IntArray:
        number = self.head.smoothing.neighbours
        if not number:
            return np.zeros((len(texts), 0), dtype=np.int64)
        queries = unit_length(texts.features[self._embedding_kind])
        near_N_k: IntArray = self._search(queries, self.unit_pool, number).indices_N_k.astype(np.int64)
        return near_N_k

    @staticmethod
    def _neighbours(probs_V_C: Float32Array, near_N_k: IntArray) -> Float32Array:
        if not near_N_k.shape[1]:
            return np.zeros((len(near_N_k), probs_V_C.shape[1]), dtype=np.float32)
        return neighbour_mean(probs_V_C, near_N_k)

    def _with_labels(self, probs_V_C: Float32Array, rows_V: IntArray) -> Float32Array:
        """Put labels in place of the predictions of labelled rows, and return the array."""
        _, at_V, at_U = np.intersect1d(
            rows_V, self.head.fixed_rows_U, assume_unique=True, return_indices=True
        )
        probs_V_C[at_V] = self.head.fixed_probs_U_C[at_U]
        return probs_V_C

    def _finish(self, own_N_C: Float32Array, mean_N_C: Float32Array, temperature: float) -> FloatArray:
        """Smooth and temper; returns log-probabilities (N, C)."""
        smoothing = self.head.smoothing
        probs_N_C = own_N_C.astype(np.float64)
        if smoothing.neighbours:
            probs_N_C = (1 - smoothing.weight) * probs_N_C + smoothing.weight * mean_N_C
        log_probs: FloatArray = log_softmax(np.log(np.maximum(probs_N_C, LOWEST)) / temperature, axis=1)
        return log_probs

    def _stack(self, log_probs: list[FloatArray], n: int) -> FloatArray:
        return np.stack(log_probs, axis=1) if log_probs else np.zeros((n, 0, self.head.n_labels))
