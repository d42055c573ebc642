"""The sets of labels that are likeliest by several samples of the labels' probabilities.

Exported models hold this module too: it needs numpy, and nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MOST_SETS = 32
"""Sets that get a column of their own; with up to five labels these are all."""

LOWEST_LABEL = 1e-9
"""No probability of a label is nearer to 0 or 1."""

_LOWEST = 1e-12


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
    steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
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


def fill_rest(log_probs_N_K_C: FloatArray, *, is_complete: bool) -> None:
    """Give the last column what the others leave; nothing if all sets have a column."""
    if is_complete:
        log_probs_N_K_C[:, :, -1] = -np.inf
        return
    left_N_K = 1.0 - np.exp(log_probs_N_K_C[:, :, :-1]).sum(axis=2)
    log_probs_N_K_C[:, :, -1] = np.log(np.maximum(left_N_K, _LOWEST))
