"""Measures of uncertainty for closed labels, from log-probabilities of shape (N, K, C).

N items, K posterior samples, C labels; natural logarithms in float64. Labels that an item does not have are
−inf in every sample, and 0·log 0 = 0. Each measure looks at each item alone, so a pool may be scored in
shards.

With ``per_option``, entropy and mutual information are divided by log C_i, C_i being the number of labels of
item i. This makes items with different numbers of options comparable; an item with one option scores 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from scipy.special import entr, logsumexp

from star_al.acquire.label_sets import label_margin_max, label_margin_mean
from star_al.acquire.open_answers import has_enough_draws
from star_al.types import FloatArray, Predictions

ROUNDING = 1e-6
"""How far below zero, in nats, rounding may push a mutual information."""


def partial_mean_log(log_probs_N_K_C: FloatArray) -> FloatArray:
    """Return ``predictive_mean_log`` over the samples that each item has, (N, C); missing samples are rows of NaN."""
    drawn_N_K = ~np.isnan(log_probs_N_K_C[:, :, 0])
    known_N_K_C = np.where(drawn_N_K[:, :, None], log_probs_N_K_C, -np.inf)
    mean_N_C: FloatArray = logsumexp(known_N_K_C, axis=1) - np.log(drawn_N_K.sum(axis=1, keepdims=True))
    return np.minimum(mean_N_C, 0.0)


def predictive_mean_log(log_probs_N_K_C: FloatArray) -> FloatArray:
    """Return the logarithm of the predictive mean, log p̄ = log (1/K Σ_k p_k), (N, C)."""
    mean_N_C: FloatArray = logsumexp(log_probs_N_K_C, axis=1) - np.log(log_probs_N_K_C.shape[1])
    return np.minimum(mean_N_C, 0.0)  # rounding may put a probability above 1, and scores below 0


def predictive_entropy(log_probs_N_K_C: FloatArray, *, per_option: bool = False) -> FloatArray:
    """Return H[p̄] in nats, (N,); in [0, 1] with ``per_option``."""
    scores_N = _entropy(predictive_mean_log(log_probs_N_K_C))
    return divide_by_log_options(scores_N, log_probs_N_K_C) if per_option else scores_N


def bald(log_probs_N_K_C: FloatArray, *, per_option: bool = False) -> FloatArray:
    """Return the mutual information H[p̄] − mean_k H[p_k] in nats, (N,) (Houlsby et al. 2011, arXiv 1112.5745).

    It is exactly 0 where all samples agree, hence everywhere for K = 1, and at most log K.

    Raises:
        ValueError: A value is NaN or below −1e-6, so the input was not a set of distributions.
    """
    entropy_N_K = _entropy(log_probs_N_K_C)
    scores_N = _entropy(predictive_mean_log(log_probs_N_K_C)) - entropy_N_K.mean(axis=1)
    # The difference of two equal entropies may be a rounding error above 0, and would then rank items.
    agree_N = (log_probs_N_K_C == log_probs_N_K_C[:, :1]).all(axis=(1, 2))
    scores_N = _at_least_zero(np.where(agree_N, 0.0, scores_N))
    return divide_by_log_options(scores_N, log_probs_N_K_C) if per_option else scores_N


def entropy_split(log_probs_N_K_C: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Split the total uncertainty H[p̄] into an aleatoric and an epistemic part.

    Returns:
        mean_k H[p_k] and the mutual information, in nats, (N,) each.
    """
    epistemic_N = bald(log_probs_N_K_C)
    return predictive_entropy(log_probs_N_K_C) - epistemic_N, epistemic_N


def known_split(
    log_probs_N_K_C: FloatArray, signals: Mapping[str, FloatArray], draws: int
) -> tuple[FloatArray, FloatArray]:
    """Return ``entropy_split`` as far as it is known: with NaN for both parts where draws are too few to tell them.

    What the model itself tells of its entropy and BALD goes before its columns.

    Args:
        log_probs_N_K_C: Predictions by K samples.
        signals: What the model told besides, such as the effective number of draws where it wrote answers.
        draws: Answers that each sample drew.
    """
    if {"entropy", "bald"} <= signals.keys():
        return signals["entropy"] - signals["bald"], signals["bald"]
    aleatoric_N, epistemic_N = entropy_split(log_probs_N_K_C)
    if "ess" not in signals:
        return aleatoric_N, epistemic_N
    known_N = has_enough_draws(signals["ess"], draws)
    return np.where(known_N, aleatoric_N, np.nan), np.where(known_N, epistemic_N, np.nan)


def margin(log_probs_N_K_C: FloatArray, *, per_option: bool = False) -> FloatArray:
    """Return 1 − (p̄_(1) − p̄_(2)) of the two largest probabilities, in [0, 1], (N,).

    ``per_option`` changes nothing: the range does not depend on the number of options.
    """
    probs_N_C: FloatArray = np.sort(np.exp(predictive_mean_log(log_probs_N_K_C)), axis=1)
    second_N = probs_N_C[:, -2] if probs_N_C.shape[1] > 1 else 0.0
    return 1.0 - (probs_N_C[:, -1] - second_N)


def least_confidence(log_probs_N_K_C: FloatArray, *, per_option: bool = False) -> FloatArray:
    """Return 1 − max_c p̄_c, in [0, 1 − 1/C_i], (N,). ``per_option`` changes nothing."""
    confidence_N: FloatArray = np.exp(predictive_mean_log(log_probs_N_K_C).max(axis=1))
    return 1.0 - confidence_N


def label_probability(log_probs_N_K_C: FloatArray, *, column: int, per_option: bool = False) -> FloatArray:
    """Return p̄_c of the label in a column, (N,): for labels so rare that finding them comes first.

    ``per_option`` changes nothing.
    """
    probability_N: FloatArray = np.exp(predictive_mean_log(log_probs_N_K_C)[:, column])
    return probability_N


class Measure(Protocol):
    """A measure of uncertainty."""

    def __call__(self, log_probs_N_K_C: FloatArray, /, *, per_option: bool = False) -> FloatArray:
        """Score each item of a shard, (N,); higher for less certain items."""


MEASURES: Mapping[str, Measure] = {
    "entropy": predictive_entropy,
    "margin": margin,
    "least_confidence": least_confidence,
    "bald": bald,
}


LABEL_MARGINS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "label_margin_mean": label_margin_mean,
    "label_margin_max": label_margin_max,
}
"""Measures of the single labels of texts that have several, from the labels' probabilities (N, L)."""

TIE = 1e-6
"""Differences in nats below this are ties, which ``nll`` breaks."""


def uncertainties(predictions: Predictions, measure: str, *, per_option: bool = False) -> FloatArray:
    """Score predictions by a measure of their columns, or of what the model told besides, (N,).

    Where answers are open, many texts have the same columns, such as one answer that all draws gave. Among them the
    less probable answer comes first.

    Raises:
        KeyError: There is no such measure, or the model does not tell it.
    """
    if measure in LABEL_MARGINS:
        told = predictions.signals.items()
        return LABEL_MARGINS[measure](np.stack([p_N for name, p_N in told if name.startswith("p(")], axis=1))
    if measure in SIGNALS:
        return predictions.signals[measure]
    # A model may tell a measure of the columns itself: BALD, where draws are too few for their classes.
    scores_N = predictions.signals.get(measure)
    if scores_N is None:
        scores_N = MEASURES[measure](predictions.log_probs_N_K_C, per_option=per_option)
    if "nll" not in predictions.signals:
        return scores_N
    nll_N = predictions.signals["nll"]
    return scores_N + TIE * nll_N / (1.0 + nll_N)


def has_measure(measure: str) -> bool:
    """Return whether a measure looks at each item alone, so that ``uncertainties`` knows it."""
    return measure in MEASURES or measure in LABEL_MARGINS or measure in SIGNALS


SIGNALS = frozenset({"nll", "token_entropy", "token_bald", "sequence_entropy"})
"""Measures that a model which writes answers tells of each text."""

GREEDY_MEASURES = frozenset({"nll", "token_entropy"})
"""Those of the likeliest answer alone, for which nothing is drawn."""


def divide_by_log_options(scores_N: FloatArray, log_probs_N_K_C: FloatArray) -> FloatArray:
    """Divide scores in nats, (N,), by the highest that an item's number of labels allows; 0 with one label."""
    options_N = np.isfinite(log_probs_N_K_C).any(axis=1).sum(axis=-1)
    return np.where(options_N > 1, scores_N / np.log(np.maximum(options_N, 2)), 0.0)


def _entropy(log_probs: FloatArray) -> FloatArray:
    """Return −Σ_c p log p over the last axis, in nats."""
    entropy: FloatArray = entr(np.exp(log_probs)).sum(axis=-1)
    return entropy


def _at_least_zero(information_N: FloatArray) -> FloatArray:
    if not (information_N >= -ROUNDING).all():
        raise ValueError(f"mutual information of {information_N.min()} nats; is every row a distribution?")
    return np.maximum(information_N, 0.0)
