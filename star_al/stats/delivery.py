"""What a round delivers of its head and its language model: the log-linear mix that explains random labels best.

p ∝ (p_head^(1 − s) · p_adapted^s)^(1/T), both models calibrated first. The language model's share s and T are fitted by
likelihood on labelled texts that were drawn at random and that neither model was trained on. Labels of texts that a
model chose would not do: where the head asked because it was unsure, it looks worse than it is
(docs/methods.md, "Head and language model together").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from star_al.common.wording import count
from star_al.stats.temperature import LOG_T_BOUND, PRIOR_STD, fit_temperature
from star_al.types import FloatArray, IntArray

EQUAL, SHARE_STD = 0.5, 0.25
"""Prior of the share: N(½, ¼²). Without labels, both models count the same."""

LEAST_SHARE = 0.1
"""A model with a smaller share is left out, which spares its cost."""

LOWEST = -30.0
"""Log-probabilities below it count as this, so that no answer of one model rules a label out."""


@dataclass(frozen=True)
class HeldOutAnswers:
    """N labelled random items that neither model was trained on.

    Attributes:
        head_N_C: The head's log-probabilities, padded with −inf.
        adapted_N_C: The language model's.
        targets_N: Columns of the labels.
    """

    head_N_C: FloatArray
    adapted_N_C: FloatArray
    targets_N: IntArray


@dataclass(frozen=True)
class Delivery:
    """Weights of the head's and the language model's log-probabilities, and how they came about, in words."""

    head_weight: float
    adapted_weight: float
    note: str


def fit_delivery(answers: HeldOutAnswers) -> Delivery:
    """Fit the weights (1 − s)/(T·T_head) and s/(T·T_adapted); T_head and T_adapted are those of each model alone.

    s and T minimise Σ −log p(y) plus the priors' −log density: s as above, log T as for a temperature. A model whose
    share is below ``LEAST_SHARE`` gets the weight 0. So does the worse one, where one is right more often than the
    other by more than a standard error, and than the mix: likelihood alone lets a model that is often wrong spoil
    one that is right, but never sure.
    """
    n = len(answers.targets_N)
    if n == 0:
        return Delivery(
            EQUAL, EQUAL, "both count the same, as there are no calibration labels to weigh them on"
        )
    head_t = fit_temperature(answers.head_N_C, answers.targets_N).value
    adapted_t = fit_temperature(answers.adapted_N_C, answers.targets_N).value
    scaled = HeldOutAnswers(answers.head_N_C / head_t, answers.adapted_N_C / adapted_t, answers.targets_N)
    share, temperature = _fit_share(scaled)
    both = (1.0 - share) / (temperature * head_t), share / (temperature * adapted_t)
    note = f"weighed on {count(n, 'calibration label')}"
    better = _better_alone(answers, both)
    if share < LEAST_SHARE or better == "head":
        return Delivery(1.0 / head_t, 0.0, note)
    if share > 1.0 - LEAST_SHARE or better == "adapted":
        return Delivery(0.0, 1.0 / adapted_t, note)
    return Delivery(*both, f"{note}, the language model's share {share:.0%}")


def mixed(head_N_C: FloatArray, adapted_N_C: FloatArray, head: float, adapted: float) -> FloatArray:
    """Mix log-probabilities (N, C) by weights; padding with −inf stays."""
    has_N_C = np.isfinite(head_N_C) | np.isfinite(adapted_N_C)
    logits_N_C = head * _bounded(head_N_C) + adapted * _bounded(adapted_N_C)
    found: FloatArray = log_softmax(np.where(has_N_C, logits_N_C, -np.inf), axis=-1)
    return found


def _bounded(log_probs_N_C: FloatArray) -> FloatArray:
    return np.maximum(log_probs_N_C, LOWEST)


def _right(answers: HeldOutAnswers, head: float, adapted: float) -> NDArray[np.bool_]:
    """Where the mix predicts the label."""
    predicted_N = mixed(answers.head_N_C, answers.adapted_N_C, head, adapted).argmax(axis=1)
    right_N: NDArray[np.bool_] = predicted_N == answers.targets_N
    return right_N


def _better_alone(answers: HeldOutAnswers, both: tuple[float, float]) -> Literal["head", "adapted"] | None:
    """Which model is better than the other and than the mix; None if it is not clear, or the mix is better."""
    right = {"head": _right(answers, 1.0, 0.0), "adapted": _right(answers, 0.0, 1.0)}
    both_N = _right(answers, *both)
    names: tuple[Literal["head", "adapted"], ...] = ("head", "adapted")
    first, second = sorted(names, key=lambda name: -right[name].sum())
    if _gain(right[first], both_N) > 1.0:
        return first
    is_clear = _gain(right[first], right[second]) > 1.0
    return first if is_clear and right[first].sum() >= both_N.sum() else None


def _gain(one_N: NDArray[np.bool_], other_N: NDArray[np.bool_]) -> float:
    """How much more often one is right than the other, in standard errors of the paired difference."""
    differ = int((one_N != other_N).sum())
    return float(one_N.sum() - other_N.sum()) / max(1.0, math.sqrt(differ))


def _fit_share(scaled: HeldOutAnswers) -> tuple[float, float]:
    """The share and the temperature."""
    rows, targets_N = np.arange(len(scaled.targets_N)), scaled.targets_N
    head_N_C, adapted_N_C = _bounded(scaled.head_N_C), _bounded(scaled.adapted_N_C)

    def objective(at: FloatArray) -> tuple[float, FloatArray]:
        share, temperature = at[0], np.exp(at[1])
        mean_N_C = (1.0 - share) * head_N_C + share * adapted_N_C
        log_p_N_C = mixed(
            scaled.head_N_C, scaled.adapted_N_C, (1.0 - share) / temperature, share / temperature
        )
        p_N_C = np.exp(log_p_N_C)

        def excess(logits_N_C: FloatArray) -> float:
            """Σ (E_p[logit] − logit of the label)."""
            return float(((p_N_C * logits_N_C).sum(axis=1) - logits_N_C[rows, targets_N]).sum())

        off = (at - np.array([EQUAL, 0.0])) / np.array([SHARE_STD, PRIOR_STD])
        slope = np.array([excess(adapted_N_C - head_N_C), -excess(mean_N_C)]) / temperature
        loss = -float(log_p_N_C[rows, targets_N].sum()) + 0.5 * float(off @ off)
        return loss, slope + off / np.array([SHARE_STD, PRIOR_STD])

    found = minimize(
        objective,
        np.array([EQUAL, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0), (-LOG_T_BOUND, LOG_T_BOUND)],
        options={"ftol": 1e-13, "gtol": 1e-8},
    )
    return float(found.x[0]), float(np.exp(found.x[1]))
