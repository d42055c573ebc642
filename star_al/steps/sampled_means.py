"""Predictive means of held-out texts, of which each gets as many posterior samples as the figures need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from star_al.acquire.adaptive_sampling import sample_stages
from star_al.acquire.measures import predictive_mean_log
from star_al.stats.enough_samples import FIRST, EarlyStopping
from star_al.types import FloatArray, IntArray, Item

PredictSamples: TypeAlias = Callable[[Sequence[Item], range], FloatArray]
"""Log-probabilities (M, K, C) of items by some samples."""


def sampled_means(items: Sequence[Item], draws: range, predict: PredictSamples) -> FloatArray:
    """Log of the predictive mean of N items, (N, C), by the first samples, and all of them where they are needed.

    Args:
        items: The items.
        draws: Samples from 0 on.
        predict: Predicts some of the items by some of the samples.
    """
    stopping = EarlyStopping(len(items), len(draws))
    open_M: IntArray = np.arange(len(items))
    means_N_C, samples_M_K_C = np.zeros((len(items), 0)), np.zeros((len(items), 0, 0))
    for stage in sample_stages(FIRST, len(draws)):
        new_M_K_C = predict([items[row] for row in open_M.tolist()], stage)
        if not stage.start:
            means_N_C, samples_M_K_C = np.zeros((len(items), new_M_K_C.shape[2])), new_M_K_C
        else:  # the items that are left may have fewer options than the others
            lacking = means_N_C.shape[1] - new_M_K_C.shape[2]
            wide_M_K_C = np.pad(new_M_K_C, ((0, 0), (0, 0), (0, lacking)), constant_values=-np.inf)
            samples_M_K_C = np.concatenate([samples_M_K_C, wide_M_K_C], axis=1)
        means_N_C[open_M] = predictive_mean_log(samples_M_K_C)
        if stage.stop == len(draws):
            break
        left_M = ~stopping.enough(samples_M_K_C)
        open_M, samples_M_K_C = open_M[left_M], samples_M_K_C[left_M]
        if not len(open_M):
            break
    return means_N_C
