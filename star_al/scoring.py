"""Score a pool: base and adapted uncertainty of every candidate, in bounded memory, resumable.

The pool is cut into shards of sorted ids; each shard is one call of the learner and one file. A shard's
file name is a hash of all it depends on, so a restarted round picks up the shards that are whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_al import rng, scorefile
from star_al.acquire.measures import MEASURES, predictive_entropy
from star_al.calibration import contextual_calibration
from star_al.config import CampaignSpec
from star_al.parts import Parts
from star_al.ports import Advance
from star_al.types import BasePrediction, FloatArray, Round

SHARD_ITEMS = 2048
"""Items a shard: small enough for memory and restarts, large enough that merging weights costs nothing."""


@dataclass(frozen=True)
class ScorePlan:
    """All that a round's scores depend on, besides the model.

    ``adapter`` null: the base model ranks alone (cold start by base uncertainty). ``with_base`` false: the
    blend is off and base uncertainties are not needed.
    """

    item_ids: tuple[str, ...]
    adapter: str | None
    seed: int
    samples: int | None
    measure: str
    with_base: bool

    def shards(self) -> Iterator[tuple[str, ...]]:
        """The candidates in order, ``SHARD_ITEMS`` at a time."""
        for start in range(0, len(self.item_ids), SHARD_ITEMS):
            yield self.item_ids[start : start + SHARD_ITEMS]

    def key(self, shard: Sequence[str], base_key: str) -> str:
        """A hash that names a shard's file."""
        inputs = [base_key, self.adapter, self.seed, self.samples, self.measure, self.with_base, list(shard)]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def score_plan(parts: Parts, round_: Round, spec: CampaignSpec) -> ScorePlan | None:
    """What to score in a round; null when the cold start draws at random and nothing needs a score."""
    if round_.adapter_sha256 is None and spec.acquisition.cold_start == "random":
        return None
    return ScorePlan(
        item_ids=candidates(parts, round_.index, spec),
        adapter=round_.adapter_sha256,
        seed=rng.derive_seed(parts.campaign.seed, round_.index, "posterior"),
        samples=spec.posterior.samples if round_.adapter_sha256 else None,
        measure=spec.acquisition.measure,
        with_base=round_.adapter_sha256 is None or spec.acquisition.blend.kind != "off",
    )


def candidates(parts: Parts, round_index: int, spec: CampaignSpec) -> tuple[str, ...]:
    """Sorted ids that a round may ask: its pool, or a random part of it (``acquisition.candidates``)."""
    pool = parts.store.pool_ids(parts.campaign.campaign_id, round_index)
    limit = spec.acquisition.candidates
    if limit is None or limit >= len(pool):
        return tuple(pool)
    return tuple(
        sorted(rng.draw(pool, limit, rng.derive_seed(parts.campaign.seed, round_index, "candidates")))
    )


def score_pool(parts: Parts, plan: ScorePlan, adapter_folder: Path | None, folder: Path) -> list[Path]:
    """Write one score file a shard into ``folder``, leaving whole ones alone; their paths in order.

    ``adapter_folder`` holds the adapter that the plan names.

    Raises:
        ModelError: the model fails. StoreError: a file cannot be written.
    """
    paths = []
    with parts.progress.task("Scoring the pool", len(plan.item_ids)) as advance:
        for shard in plan.shards():
            path = folder / f"{plan.key(shard, parts.learner.base_key)}.parquet"
            if scorefile.is_whole(path, shard):
                advance(len(shard))
            else:
                _score_shard(parts, plan, shard, adapter_folder, path, advance)
            paths.append(path)
    return paths


def _score_shard(
    parts: Parts,
    plan: ScorePlan,
    shard: tuple[str, ...],
    adapter_folder: Path | None,
    path: Path,
    advance: Advance,
) -> None:
    base_N = base_entropies(parts, shard) if plan.with_base else None
    if adapter_folder is None:
        log_probs_N_K_C = base_log_probs(parts, shard)[:, None, :]
        adapted_N = None
        advance(len(shard))
    else:
        items = parts.store.items(parts.campaign.campaign_id, shard)
        predictions = parts.learner.predict(
            adapter_folder, items, samples=plan.samples, seed=plan.seed, advance=advance
        )
        log_probs_N_K_C = predictions.log_probs_N_K_C
        adapted_N = MEASURES[plan.measure](log_probs_N_K_C, per_option=parts.task.is_multiple_choice)
    scorefile.write_shard(path, shard, log_probs_N_K_C, base_N, adapted_N)


def base_entropies(parts: Parts, item_ids: Sequence[str]) -> FloatArray:
    """Predictive entropy (N,) of the base model, which is the base term of the blend whatever the measure."""
    return predictive_entropy(
        base_log_probs(parts, item_ids)[:, None, :], per_option=parts.task.is_multiple_choice
    )


def base_log_probs(parts: Parts, item_ids: Sequence[str], *, contextual: bool | None = None) -> FloatArray:
    """The base model's log-probabilities (N, C), −inf padded; computed once, then read from the store.

    ``contextual`` null follows ``task.contextual_calibration``.
    """
    stored = parts.store.base_predictions(parts.learner.base_key, item_ids)
    missing = [item_id for item_id in item_ids if item_id not in stored]
    for start in range(0, len(missing), SHARD_ITEMS):
        stored |= _predict_base(parts, missing[start : start + SHARD_ITEMS])
    use_prior = parts.spec.task.contextual_calibration if contextual is None else contextual
    return as_log_probs([stored[item_id] for item_id in item_ids], contextual=use_prior)


def as_log_probs(predictions: Sequence[BasePrediction], *, contextual: bool) -> FloatArray:
    """Base predictions as (N, C), −inf padded; with ``contextual`` divided by their priors."""
    log_probs_N_C = pad([prediction.log_probs_C for prediction in predictions])
    if not contextual:
        return log_probs_N_C
    priors = [prediction.log_prior_C for prediction in predictions]
    return contextual_calibration(log_probs_N_C, pad([prior for prior in priors if prior is not None]))


def _predict_base(parts: Parts, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
    items = parts.store.items(parts.campaign.campaign_id, item_ids)
    with parts.progress.task("Base model", len(items)) as advance:
        predictions = parts.learner.base_predict(items, advance)
    if parts.lease is not None:  # what is stored counts: another campaign may have been quicker
        parts.store.save_base_predictions(parts.lease, parts.learner.base_key, predictions)
        return parts.store.base_predictions(parts.learner.base_key, item_ids)
    return {prediction.item_id: prediction for prediction in predictions}


def pad(rows: Sequence[FloatArray]) -> FloatArray:
    """Rows (C_i,) of different length as one array (N, max C), padded with −inf."""
    width = max((row.shape[-1] for row in rows), default=1)
    padded_N_C = np.full((len(rows), width), -np.inf)
    for position, row in enumerate(rows):
        padded_N_C[position, : row.shape[-1]] = row
    return padded_N_C
