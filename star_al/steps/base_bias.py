"""The base model's label bias in a round: by a sample of the pool, and by the labels bought so far."""

from __future__ import annotations

import numpy as np

from star_al import rng
from star_al.parts import RoundParts
from star_al.stats.label_bias import batch_bias, fit_bias
from star_al.steps.base_predictions import base_log_probs
from star_al.task import closed
from star_al.task.columns import is_open
from star_al.types import FloatArray

BIAS_TEXTS = 2000
"""Texts of the pool whose mean prediction shows the bias; more would not change it by more than 2 %."""


def base_bias(parts: RoundParts) -> FloatArray | None:
    """The bias (C,) to add to the base model's log-probabilities; None if the blend leaves them as they are.

    The texts are a random sample of the first pool, and the labels are those of the round's snapshot.
    """
    if not parts.spec.acquisition.blend.takes_bias_out or is_open(parts.task):
        return None
    task = closed(parts.task)
    store, campaign = parts.store, parts.campaign
    seed = rng.derive_seed(campaign.seed, 0, "label bias")
    first_pool = store.pool_ids(campaign.campaign_id, 0)
    prior_C = batch_bias(base_log_probs(parts, sorted(rng.draw(first_pool, BIAS_TEXTS, seed))))
    labels = store.training_labels(campaign.campaign_id, parts.round.index)
    items = store.items(campaign.campaign_id, [label.item_id for label in labels])
    known = [
        (item.item_id, task.column(item, label.value))
        for item, label in zip(items, labels, strict=True)
        if task.find(item.options, label.value) is not None and not task.has_no_column(label.value)
    ]
    if not known:
        return prior_C
    item_ids, columns = zip(*known, strict=True)
    log_probs_N_C = base_log_probs(parts, item_ids)
    width = max(log_probs_N_C.shape[1], len(prior_C))
    prior_C = np.pad(prior_C, (0, width - len(prior_C)))
    log_probs_N_C = np.pad(
        log_probs_N_C, ((0, 0), (0, width - log_probs_N_C.shape[1])), constant_values=-np.inf
    )
    return fit_bias(log_probs_N_C, np.array(columns), prior_C)
