"""Distributions over sets of labels, from the probabilities of the labels.

Within one sample of a posterior, labels are independent given the text, so a set's probability is a product. Their
dependence on each other is what the samples disagree about: the mean over samples is a mixture of products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from star_al.acquire.likeliest_sets import LOWEST_LABEL, MOST_SETS, fill_rest, likeliest_sets
from star_al.acquire.set_measures import set_measures
from star_al.types import BasePrediction, FloatArray, JsonValue, Predictions

_BLOCK = 512  # items whose sets are searched at once


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
    logs_N_K_L_2 = log_softmax(np.clip(log_probs_N_K_L_2, np.log(LOWEST_LABEL), 0.0), axis=3)
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
    fill_rest(log_probs_N_K_C, is_complete=is_complete)
    probs_N_K_L = np.exp(logs_N_K_L_2[..., 1])
    measures = {} if is_complete else set_measures(log_probs_N_K_C[:, :, :-1], probs_N_K_L)
    return Predictions(
        tuple(item_ids),
        log_softmax(log_probs_N_K_C, axis=2),
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
