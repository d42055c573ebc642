"""Predictions of the frozen base model: made once for each model, prompt and item, then read from the store.

Those of a head depend on the pool as well. It is the pool of round 0, so that texts which join later change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from star_al.acquire.measures import predictive_entropy
from star_al.common.paging import pages
from star_al.parts import Parts
from star_al.ports import Learner, Pool, PredictBase
from star_al.stats.label_bias import without_bias
from star_al.stats.temperature import contextual_calibration
from star_al.steps.pool import SHARD_ITEMS, stored_items
from star_al.types import BasePrediction, FloatArray, JsonValue


class BaseAnswers(NamedTuple):
    """What a base model says of N items.

    Attributes:
        log_probs_N_C: Log-probabilities, padded with −inf.
        values_N: The values of each item's columns where answers are open; empty tuples if the task knows them.
        uncertainty_N: What the model itself tells of its uncertainty; NaN where that is the entropy of the columns.
    """

    log_probs_N_C: FloatArray
    values_N: tuple[tuple[JsonValue, ...], ...]
    uncertainty_N: FloatArray

    @property
    def opened(self) -> tuple[tuple[JsonValue, ...], ...]:
        """``values_N``; empty if the task knows them."""
        return self.values_N if any(self.values_N) else ()


def base_entropies(parts: Parts, item_ids: Sequence[str], bias_C: FloatArray | None = None) -> FloatArray:
    """Uncertainty (N,) of the ranker's base model: the base term of the blend, whatever the measure.

    It is the predictive entropy, or what the model tells of an answer that it wrote. ``bias_C`` is added to its
    log-probabilities first (``star_al.steps.base_bias``).
    """
    answers = base_answers(parts, item_ids)
    log_probs_N_C = answers.log_probs_N_C
    if bias_C is not None and len(item_ids):
        log_probs_N_C = without_bias(log_probs_N_C, bias_C)
    entropy_N = predictive_entropy(log_probs_N_C[:, None, :], per_option=parts.task.has_options)
    return np.where(np.isnan(answers.uncertainty_N), entropy_N, answers.uncertainty_N)


def base_log_probs(
    parts: Parts,
    item_ids: Sequence[str],
    *,
    learner: Learner | None = None,
    contextual: bool | None = None,
) -> FloatArray:
    """Log-probabilities (N, C) of a base model, padded with −inf; see ``base_answers``."""
    return base_answers(parts, item_ids, learner=learner, contextual=contextual).log_probs_N_C


def base_answers(
    parts: Parts,
    item_ids: Sequence[str],
    *,
    learner: Learner | None = None,
    contextual: bool | None = None,
) -> BaseAnswers:
    """Predictions of a base model; computes only those not yet stored.

    Args:
        parts: The campaign. With a lease, new predictions are stored.
        item_ids: The items.
        learner: The learner whose base model predicts; None for the one that ranks the pool.
        contextual: True to divide by the prior of a content-free text; None follows
            ``task.contextual_calibration``.

    Raises:
        ModelError: The base model cannot predict.
        LeaseLostError: Another controller has taken over the campaign.
    """
    learner = learner or parts.ranker
    stored = parts.store.base_predictions(_key(parts, learner), item_ids)
    missing = [item_id for item_id in item_ids if item_id not in stored]
    for found in _predict_base(parts, learner, list(pages(missing, SHARD_ITEMS))):
        stored |= found
    use_prior = parts.spec.task.contextual_calibration if contextual is None else contextual
    in_order = [stored[item_id] for item_id in item_ids]
    return BaseAnswers(
        as_log_probs(in_order, contextual=use_prior),
        tuple(one.answers for one in in_order),
        np.array(
            [np.nan if one.uncertainty is None else one.uncertainty for one in in_order], dtype=np.float64
        ),
    )


def as_log_probs(predictions: Sequence[BasePrediction], *, contextual: bool) -> FloatArray:
    """Base predictions as (N, C), padded with −inf; with ``contextual`` divided by their priors."""
    log_probs_N_C = pad([prediction.log_probs_C for prediction in predictions])
    if not contextual:
        return log_probs_N_C
    priors = [prediction.log_prior_C for prediction in predictions]
    return contextual_calibration(log_probs_N_C, pad([prior for prior in priors if prior is not None]))


def store_base_predictions(parts: Parts, shards: Iterable[Sequence[str]]) -> None:
    """Store what is missing of some shards' predictions by the ranker's base model, many shards at once where possible.

    Without a lease nothing can be stored, so nothing is predicted.
    """
    if parts.lease is None:
        return
    key, missing = _key(parts, parts.ranker), []
    for shard in shards:
        stored = parts.store.base_predictions(key, shard)
        missing.append([item_id for item_id in shard if item_id not in stored])
    for _ in _predict_base(parts, parts.ranker, list(filter(None, missing))):
        pass


def _predict_base(
    parts: Parts, learner: Learner, groups: Sequence[Sequence[str]]
) -> Iterator[dict[str, BasePrediction]]:
    """Predict groups of items; with a lease, each is stored when it is done."""
    if not groups:
        return
    pool, key = pool_of_base(parts, learner), _key(parts, learner)
    jobs = (PredictBase(stored_items(parts, item_ids), pool) for item_ids in groups)
    with parts.progress.task("Predicting with the base model", sum(map(len, groups))) as advance:
        for item_ids, found in zip(groups, parts.compute.each(learner, jobs, advance), strict=True):
            if parts.lease is None:
                yield {prediction.item_id: prediction for prediction in found}
            else:  # read them back, as another campaign may have stored its own first
                parts.store.save_base_predictions(parts.lease, key, found)
                yield parts.store.base_predictions(key, item_ids)


def _key(parts: Parts, learner: Learner) -> str:
    """A hash of all that base predictions depend on; the pool is not part of a learner's own key."""
    pool = pool_of_base(parts, learner)
    if pool is None:
        return learner.base_key
    return hashlib.sha256(f"{learner.base_key}/{pool.key}".encode()).hexdigest()


def pool_of_base(parts: Parts, learner: Learner) -> Pool | None:
    """The pool on which a learner's base predictions depend; None if they do not."""
    return parts.first_pool if learner.base_reads_pool else None


def pad(rows: Sequence[FloatArray]) -> FloatArray:
    """Rows (C_n,) of different length as one array (N, max C), padded with −inf."""
    width = max((row.shape[-1] for row in rows), default=1)
    padded_N_C = np.full((len(rows), width), -np.inf)
    for position, row in enumerate(rows):
        padded_N_C[position, : row.shape[-1]] = row
    return padded_N_C
