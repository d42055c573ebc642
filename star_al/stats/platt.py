"""The probability that a graded answer counts as right: a logistic regression (Platt 1999) on what is known of it.

Where answers are graded, that an answer is likely is not yet that its grade is high: a headline can be written in many
ways, of which each is unlikely and most are good. So confidence is fitted to right and wrong answers, not to columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from star_al.common.wording import count
from star_al.types import FloatArray, PlattScaling

# scikit-learn is imported by the function that uses it: it is slow to import, and not every command fits.

FEWEST = 20
"""Labels that the fit needs."""

FEWEST_OF_EACH = 3
"""Right answers that the fit needs among them, and wrong ones."""

SIGNALS = ("nll", "length")
"""What a model must tell of its likeliest answer."""

LARGEST_LOG_ODDS = float(np.log(1e6))
"""Bound of the log-odds of p̄: a probability nearer to 0 or 1 says no more."""


def fit_platt(
    log_p_N: FloatArray, signals: Mapping[str, FloatArray], right_N: NDArray[np.bool_]
) -> tuple[PlattScaling | None, str]:
    """Fit P(right) = σ(a + w · z) with z the standardised NLL a token, log-odds of p̄ and length; w ~ N(0, I).

    The labels must be drawn at random and never trained on. The intercept has no prior, so the mean of the fitted
    probabilities is the share of right answers.

    Args:
        log_p_N: log p̄ of the predicted answers.
        signals: What the model told of the items, (N,) each.
        right_N: True if an answer counts as right.

    Returns:
        The fit, and how it came about in words; None with the reason if there is none.
    """
    if not signals.keys() >= set(SIGNALS):
        return None, "confidence is the scaled probability of the answer, of which alone the model tells"
    n, rights = len(right_N), int(right_N.sum())
    if n < FEWEST or min(rights, n - rights) < FEWEST_OF_EACH:
        return None, (
            f"confidence is the scaled probability of the answer: to fit that of a right one takes {FEWEST} graded "
            f"answers, {FEWEST_OF_EACH} of them right and {FEWEST_OF_EACH} wrong, and there are {rights} right and "
            f"{n - rights} wrong"
        )
    from sklearn.linear_model import LogisticRegression

    features_N_3 = _features(log_p_N, signals)
    mean_3, std_3 = features_N_3.mean(axis=0), features_N_3.std(axis=0)
    std_3 = np.where(std_3 > 0.0, std_3, 1.0)
    found = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit((features_N_3 - mean_3) / std_3, right_N)
    weight_3 = found.coef_[0] / std_3
    intercept = float(found.intercept_[0] - weight_3 @ mean_3)
    nll, log_odds, length = weight_3.tolist()
    note = f"confidence: the probability of a right answer, fitted on {count(n, 'graded answer')}"
    return PlattScaling(intercept=intercept, nll=nll, log_odds=log_odds, length=length), note


def right_probabilities(
    platt: PlattScaling, log_p_N: FloatArray, signals: Mapping[str, FloatArray]
) -> FloatArray:
    """Return the probabilities that answers count as right, (N,); arguments as of ``fit_platt``."""
    weight_3 = np.array([platt.nll, platt.log_odds, platt.length])
    probabilities_N: FloatArray = expit(platt.intercept + _features(log_p_N, signals) @ weight_3)
    return probabilities_N


def _features(log_p_N: FloatArray, signals: Mapping[str, FloatArray]) -> FloatArray:
    """NLL a token, log-odds of p̄, and tokens of the answer, (N, 3)."""
    with np.errstate(divide="ignore"):
        log_odds_N = log_p_N - np.log1p(-np.exp(np.minimum(log_p_N, 0.0)))
    return np.stack(
        [signals["nll"], np.clip(log_odds_N, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS), signals["length"]],
        axis=1,
    )
