"""Distributions over sets of labels, from the probabilities of the labels.

Within one sample of a posterior, labels are independent given the text, so a set's probability is a product. Their
dependence on each other is what the samples disagree about: the mean over samples is a mixture of products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp

from star_al.acquire.set_measures import set_measures
from star_al.types import BasePrediction, BoolArray, FloatArray, JsonValue, Predictions

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
    n, samples, labels, _ = log_probs_N_K_L_2.shape
    logs_N_C_K: FloatArray = np.zeros((n, 1, samples))
    sets_N_C_L: BoolArray = np.zeros((n, 1, labels), dtype=bool)
    for label in range(labels):
        of_label = log_probs_N_K_L_2[:, :, label]
        logs_N_C_K = np.concatenate([logs_N_C_K + of_label[:, None, :, has] for has in (0, 1)], axis=1)
        having = sets_N_C_L.copy()
        having[:, :, label] = True
        sets_N_C_L = np.concatenate([sets_N_C_L, having], axis=1)
        order = np.argsort(-logsumexp(logs_N_C_K, axis=2), axis=1, kind="stable")[:, :columns]
        logs_N_C_K = np.take_along_axis(logs_N_C_K, order[:, :, None], axis=1)
        sets_N_C_L = np.take_along_axis(sets_N_C_L, order[:, :, None], axis=1)
    return logs_N_C_K.transpose(0, 2, 1), sets_N_C_L


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
