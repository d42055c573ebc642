"""The blend's weights, learned from the answers: each labelled batch grades the models that asked for it.

A model that asks for a text predicts it before anybody has answered it, so the answer tests the model without an
extra label (prequential evaluation, Dawid 1984). A logistic regression explains the errors of the model that ranks
the pool by the ranks that each model's uncertainty gave the texts:

    P(wrong) = σ(a_r + Σ_j b_j · z_j),   z_j = √12 · (rank_j − ½),   b ~ N(μ, 0.1·I),   b ≥ 0

A model counts by its share of the slopes, b_j / Σ b. The answers that round r asked for have an intercept of their
own, so that a model which gets better from round to round does not look as if its ranks had told that. Older rounds
count less, as they grade a model that has been trained further since (docs/methods.md).

The texts are not a random sample of the pool: they were chosen by the same ranks. A regression *on* the ranks does not
need one, since among texts of the same ranks the choice says nothing about the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from star_al.acquire.measured_blend_weight import auroc
from star_al.common.wording import count
from star_al.types import FloatArray, IntArray

FADING = 0.8
"""What an answer counts beside one that was asked a round later."""

SLOPE_VARIANCE = 0.1
"""Variance of the prior of each slope."""

INTERCEPT_VARIANCE = 4.0
"""Variance of the prior of each round's log odds of an error; it only keeps a round without errors finite."""

_SPREAD = float(np.sqrt(12.0))  # ranks are uniform over the pool, with a standard deviation of 1 / √12


@dataclass(frozen=True)
class Graded:
    """M answers, with what the models knew when they asked.

    Attributes:
        ranks_M_J: Ranks by the uncertainty of each of J models over the pool of that time, from 0 to 1; NaN where a
            model did not rank.
        errors_M: True if the model that ranked the pool predicted another label.
        groups_M: Number of the group of answers that one and the same model is graded by; each has its own intercept.
        ages_M: How many rounds ago they were asked; 0 for the newest.
    """

    ranks_M_J: FloatArray
    errors_M: NDArray[np.bool_]
    groups_M: IntArray
    ages_M: FloatArray


def fit_slopes(graded: Graded, prior_J: FloatArray) -> FloatArray:
    """Return the slopes (J,) with the highest posterior probability; none is negative.

    Args:
        graded: The answers; there may be none.
        prior_J: Means of the prior.
    """
    n_models, n_groups = len(prior_J), int(graded.groups_M.max(initial=-1)) + 1
    if not n_groups:
        return np.maximum(prior_J, 0.0)
    z_M_J = _SPREAD * (np.nan_to_num(graded.ranks_M_J, nan=0.5) - 0.5)
    weights_M, errors_M = FADING**graded.ages_M, graded.errors_M.astype(np.float64)
    means = np.concatenate([prior_J, np.zeros(n_groups)])
    variances = np.concatenate([np.full(n_models, SLOPE_VARIANCE), np.full(n_groups, INTERCEPT_VARIANCE)])

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        logits_M = z_M_J @ parameters[:n_models] + parameters[n_models:][graded.groups_M]
        missed_M = weights_M * (expit(logits_M) - errors_M)
        deviation = parameters - means
        value = weights_M @ (np.logaddexp(0.0, logits_M) - errors_M * logits_M)
        slope = np.concatenate([missed_M @ z_M_J, np.bincount(graded.groups_M, missed_M, n_groups)])
        return float(value + 0.5 * (deviation**2 / variances).sum()), slope + deviation / variances

    found = minimize(
        loss,
        np.concatenate([np.maximum(prior_J, 0.0), np.zeros(n_groups)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * n_models + [(None, None)] * n_groups,
        options={"ftol": 1e-14, "gtol": 1e-8},
    )
    slopes_J: FloatArray = found.x[:n_models]
    return slopes_J


def shares(slopes_J: FloatArray) -> FloatArray:
    """Return each model's weight, b_j / Σ b; all of it goes to the first model if no slope is above 0."""
    total = float(slopes_J.sum())
    return slopes_J / total if total > 0.0 else np.eye(len(slopes_J))[0]


def blend_in_words(graded: Graded, n_asked: int, weights_J: FloatArray, names_J: Sequence[str]) -> str:
    """Say what the weights were learned from, and how well each model told the errors.

    Args:
        graded: The answers that the campaign asked for, then the held-out labels.
        n_asked: How many of them it asked for.
        weights_J: The weights.
        names_J: The models.
    """
    parts = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names_J, weights_J, strict=True))
    n, wrong = len(graded.errors_M), int(graded.errors_M.sum())
    if not n:
        return f"no answer has graded the models yet: {parts}"
    sources = [count(n_asked, "answer")] if n_asked else []
    sources += [count(n - n_asked, "held-out label")] if n > n_asked else []
    words = f"learned from {' and '.join(sources)} ({count(wrong, 'error')}): {parts}"
    if not 0 < wrong < n:
        return words
    told = [
        f"{name} {auroc(np.nan_to_num(ranks_M, nan=0.5), graded.errors_M):.2f}"
        for name, ranks_M in zip(names_J, graded.ranks_M_J.T, strict=True)
    ]
    return f"{words}; AUROC of each model's uncertainty for these errors: {', '.join(told)}"
