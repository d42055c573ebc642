"""Distributions over sets of labels, from the probabilities of the labels.

Within one sample of a posterior, labels are independent given the text, so a set's probability is a product. Their
dependence on each other is what the samples disagree about: the mean over samples is a mixture of products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from star_al.acquire.set_measures import set_measures
from star_al.types import BasePrediction, BoolArray, FloatArray, IntArray, JsonValue, Predictions

MOST_SETS = 32
"""Sets that get a column of their own; with up to five labels these are all."""

_BLOCK = 512  # items whose sets are searched at once
_LOWEST = 1e-12
_LOWEST_LABEL = 1e-9  # no probability of a label is nearer to 0 or 1


def set_predictions(
    item_ids: Sequence[str], names: Sequence[str], log_probs_N_K_L_2: FloatArray
) -> Predictions:
    """Return predictions over sets of labels, best first by the mean over samples.

    The last column is any other set. As signals there are the exact means of the labels' probabilities, and where
    not all sets have a column, the measures of uncertainty.

    Args:
        item_ids: The N items.
        names: The L labels.
        log_probs_N_K_L_2: Of not having and of having a label, by K samples.
    """
    logs_N_K_L_2 = log_softmax(np.clip(log_probs_N_K_L_2, np.log(_LOWEST_LABEL), 0.0), axis=3)
    columns = min(MOST_SETS, 2 ** len(names))
    log_probs_N_K_C = np.empty((*logs_N_K_L_2.shape[:2], columns + 1))
    answers: list[tuple[JsonValue, ...]] = []
    for first in range(0, len(item_ids), _BLOCK):
        block = slice(first, first + _BLOCK)
        log_probs_N_K_C[block, :, :-1], sets_B_C_L = likeliest_sets(logs_N_K_L_2[block], columns)
        answers += [
            (*([name for name, has in zip(names, row, strict=True) if has] for row in sets_C_L), None)
            for sets_C_L in sets_B_C_L
        ]
    is_complete = columns == 2 ** len(names)
    probs_N_K_L = np.exp(logs_N_K_L_2[..., 1])
    measures = {} if is_complete else set_measures(log_probs_N_K_C[:, :, :-1], probs_N_K_L)
    return Predictions(
        tuple(item_ids),
        _with_rest(log_probs_N_K_C, is_complete=is_complete),
        tuple(answers) or (((None),),),
        open_ended=True,
        signals={**signals_of(names, probs_N_K_L), **measures},
    )


def base_predictions(found: Predictions) -> list[BasePrediction]:
    """Return what a model without training predicts, item by item, with the sets' entropy if columns do not tell it."""
    told_N = found.signals.get("entropy")
    return [
        BasePrediction(
            item_id,
            found.log_probs_N_K_C[row, 0].copy(),
            answers=found.answers[row],
            uncertainty=None if told_N is None else float(told_N[row]),
        )
        for row, item_id in enumerate(found.item_ids)
    ]


def signals_of(names: Sequence[str], probs_N_K_L: FloatArray) -> dict[str, FloatArray]:
    """Return the means over samples of the labels' probabilities, by the names of their signals."""
    means_N_L = probs_N_K_L.mean(axis=1)
    return {signal_of(name): means_N_L[:, place].copy() for place, name in enumerate(names)}


def signal_of(name: str) -> str:
    """Return the name of the signal that holds a label's probability."""
    return f"p({name})"


def likeliest_sets(log_probs_N_K_L_2: FloatArray, columns: int) -> tuple[FloatArray, BoolArray]:
    """Search the sets that are likeliest by the mean over samples, label by label.

    The best beginnings of sets are kept. With one sample, or if all sets have a column, that is exact: what follows
    does not depend on what a set begins with.

    Args:
        log_probs_N_K_L_2: Of not having and of having a label.
        columns: How many sets to return.

    Returns:
        Log-probabilities by sample (N, K, C), best first, and the sets (N, C, L).
    """
    sets_N_C_L = _best_sets(np.exp(log_probs_N_K_L_2), columns)
    logs_N_C_K: FloatArray = np.zeros((*sets_N_C_L.shape[:2], log_probs_N_K_L_2.shape[1]))
    for label in range(log_probs_N_K_L_2.shape[2]):
        no_N_1_K, yes_N_1_K = (log_probs_N_K_L_2[:, None, :, label, has] for has in (0, 1))
        logs_N_C_K += np.where(sets_N_C_L[:, :, label, None], yes_N_1_K, no_N_1_K)
    return logs_N_C_K.transpose(0, 2, 1), sets_N_C_L


def _best_sets(probs_N_K_L_2: FloatArray, columns: int) -> BoolArray:
    """Return the sets (N, C, L), best first. A beginning is kept as its last step and the place of what precedes it."""
    n, samples, labels, _ = probs_N_K_L_2.shape
    weights_N_C_K: FloatArray = np.ones((n, 1, samples))
    steps: list[tuple[IntArray, IntArray]] = []
    for label in range(labels):
        of_label_N_K_2 = probs_N_K_L_2[:, :, label]
        means_N_C_2 = weights_N_C_K @ of_label_N_K_2
        both_N_2C = np.concatenate([means_N_C_2[:, :, 0], means_N_C_2[:, :, 1]], axis=1)
        order_N_C = np.argsort(-both_N_2C, axis=1, kind="stable")[:, :columns]
        has_N_C, before_N_C = np.divmod(order_N_C, weights_N_C_K.shape[1])
        steps.append((has_N_C, before_N_C))
        by_has_N_2_K = of_label_N_K_2.transpose(0, 2, 1)
        weights_N_C_K = np.take_along_axis(weights_N_C_K, before_N_C[:, :, None], axis=1)
        weights_N_C_K = weights_N_C_K * np.take_along_axis(by_has_N_2_K, has_N_C[:, :, None], axis=1)
        weights_N_C_K /= weights_N_C_K.max(axis=(1, 2), keepdims=True)  # else products become too small
    sets_N_C_L: BoolArray = np.zeros((n, steps[-1][0].shape[1], labels), dtype=bool)
    place_N_C = np.broadcast_to(np.arange(sets_N_C_L.shape[1]), sets_N_C_L.shape[:2])
    for label, (has_N_C, before_N_C) in reversed(list(enumerate(steps))):
        sets_N_C_L[:, :, label] = np.take_along_axis(has_N_C, place_N_C, axis=1)
        place_N_C = np.take_along_axis(before_N_C, place_N_C, axis=1)
    return sets_N_C_L


def _with_rest(log_probs_N_K_C: FloatArray, *, is_complete: bool) -> FloatArray:
    """Give the last column what the others leave, and return rows that sum to 1."""
    if is_complete:
        log_probs_N_K_C[:, :, -1] = -np.inf
    else:
        left_N_K = 1.0 - np.exp(log_probs_N_K_C[:, :, :-1]).sum(axis=2)
        log_probs_N_K_C[:, :, -1] = np.log(np.maximum(left_N_K, _LOWEST))
    rows: FloatArray = log_softmax(log_probs_N_K_C, axis=2)
    return rows


def label_margin_mean(probs_N_L: FloatArray) -> FloatArray:
    """Return the mean over labels of 1 − |p − (1 − p)|: how close the label is to being had or not."""
    means: FloatArray = _closeness(probs_N_L).mean(axis=1)
    return means


def label_margin_max(probs_N_L: FloatArray) -> FloatArray:
    """Return the largest of the same over labels: that of the least certain one."""
    largest: FloatArray = _closeness(probs_N_L).max(axis=1)
    return largest


def _closeness(probs_N_L: FloatArray) -> FloatArray:
    return 1.0 - np.abs(2.0 * probs_N_L - 1.0)
