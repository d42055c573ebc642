"""Predict with a fitted head for multiple choice."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.special import log_softmax

from star_al.head.choice_fit import DEFAULT_OFFSET_WEIGHTS
from star_al.head.choice_head import FittedChoiceHead
from star_al.head.choice_inputs import SIMILARITY, ChoiceTexts, by_question
from star_al.head.matched_temperature import matched_temperature
from star_al.types import FloatArray, IntArray

_BLOCK = 2048  # questions that are predicted at once
_MATCHED_QUESTIONS = 400  # pool questions on which the spread of the samples is matched
_MATCHED_DRAWS = range(32)


class ChoicePredictor:
    """Predictions of one head for questions of its pool and for new ones, as by ``HeadPredictor``.

    With ``draws=None`` the prediction is that of the fitted weights at the temperature from cross-validation. Samples
    get a temperature at which their mean is as confident as that prediction, on average over the pool.

    Args:
        head: The head.
        pool: The pool that it was fitted on.
    """

    def __init__(self, head: FittedChoiceHead, pool: ChoiceTexts) -> None:
        self.head = head
        self._pool = pool

    def predict_pool(
        self, rows_N: IntArray | None = None, *, draws: range | None = None, seed: int = 0
    ) -> FloatArray:
        """Predict questions of the pool.

        Args:
            rows_N: Rows of the pool; None for all.
            draws: Numbers of the posterior's samples; None for the fitted weights.
            seed: With a sample's number it decides the sample.

        Returns:
            Log-probabilities (N, K, C), −inf where a question has no option.
        """
        rows_N = np.arange(len(self._pool)) if rows_N is None else np.asarray(rows_N, dtype=np.int64)
        weights_K_r, temperature = self._weights(draws, seed)
        most = int(self._pool.counts_N[rows_N].max(initial=1))
        found = np.full((len(rows_N), len(weights_K_r), most), -np.inf)
        for first in range(0, len(rows_N), _BLOCK):
            block = self._log_probs(self._pool.some(rows_N[first : first + _BLOCK]), weights_K_r, temperature)
            found[first : first + _BLOCK, :, : block.shape[2]] = block
        return found

    def predict_new(self, texts: ChoiceTexts, *, draws: range | None = None, seed: int = 0) -> FloatArray:
        """Predict questions that are not in the pool; arguments and result as for ``predict_pool``."""
        weights_K_r, temperature = self._weights(draws, seed)
        return self._log_probs(texts, weights_K_r, temperature)

    def _weights(self, draws: range | None, seed: int) -> tuple[FloatArray, float]:
        """Return weights (K, r) and their temperature."""
        if draws is None:
            return self.head.weights_r[None], self.head.temperature
        return self.head.samples(draws, seed), self._sample_temperature

    def _log_probs(self, texts: ChoiceTexts, weights_K_r: FloatArray, temperature: float) -> FloatArray:
        logits_R_K = self.head.logits(texts, weights_K_r) / temperature
        logits_N_C_K = by_question(logits_R_K, texts.present_N_C, -np.inf)
        log_probs: FloatArray = log_softmax(logits_N_C_K.transpose(0, 2, 1), axis=2)
        return log_probs

    @cached_property
    def _sample_temperature(self) -> float:
        step = -(-len(self._pool) // _MATCHED_QUESTIONS)
        matched = self._pool.some(np.arange(0, len(self._pool), step))
        fitted = self._log_probs(matched, self.head.weights_r[None], self.head.temperature)
        drawn_K_r = self.head.samples(_MATCHED_DRAWS, 0)

        def confidence(temperature: float) -> float:
            log_probs = self._log_probs(matched, drawn_K_r, temperature)
            return float(np.exp(log_probs).mean(axis=1).max(axis=1).mean())

        return matched_temperature(float(np.exp(fitted[:, 0]).max(axis=1).mean()), confidence)


def choice_zero_shot(similarities_R: FloatArray, counts_N: IntArray) -> FloatArray:
    """Predict without answers: softmax of the scaled similarities of a question and its options.

    Args:
        similarities_R: Cosine similarities, options of a question one after another.
        counts_N: How many options each question has.

    Returns:
        Log-probabilities (N, C), −inf where a question has no option.
    """
    present_N_C = np.arange(int(counts_N.max(initial=1))) < counts_N[:, None]
    logits_N_C = by_question(DEFAULT_OFFSET_WEIGHTS[SIMILARITY] * similarities_R, present_N_C, -np.inf)
    log_probs_N_C: FloatArray = log_softmax(logits_N_C, axis=1)
    return log_probs_N_C
