"""The candidates of a round, and how many of them it may choose."""

from __future__ import annotations

from collections.abc import Sequence

from star_al import rng
from star_al.acquire.measures import GREEDY_MEASURES
from star_al.config.spec import CampaignSpec
from star_al.parts import Parts, RoundParts
from star_al.ports import Pool, StoredItems

SAMPLED_MEASURES = frozenset({"bald", "epig", "token_bald"})
"""Measures that compare posterior samples; the others need the predictive mean alone."""

SHARD_ITEMS = 2048
"""Items in a shard: few enough for memory and restarts, so many that preparing the model once for each is cheap."""


def candidates(parts: RoundParts) -> tuple[str, ...]:
    """Sorted ids that a round may choose from: its pool, or a random part of it (``acquisition.candidates``)."""
    pool, limit = parts.free_ids, parts.spec.acquisition.candidates
    if limit is None or limit >= len(pool):
        return pool
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "candidates")
    return tuple(sorted(rng.draw(pool, limit, seed)))


def round_pool(parts: RoundParts) -> Pool:
    """All texts of the pool that had joined by this round, labelled or not."""
    return parts.pool(parts.round.index)


def stored_items(parts: Parts, item_ids: Sequence[str]) -> StoredItems:
    """Items of the campaign, which are loaded when a learner looks at one."""
    campaign_id = parts.campaign.campaign_id
    return StoredItems(tuple(item_ids), lambda ids: parts.store.items(campaign_id, ids))


def posterior_seed(parts: RoundParts) -> int:
    """The seed of the samples that a round's pool is scored with."""
    return rng.derive_seed(parts.campaign.seed, parts.round.index, "posterior")


def batch_sizes(parts: RoundParts) -> tuple[int, int]:
    """Sizes of a round's batch and buffer: as configured, or what the label budget leaves of them."""
    size, buffer = parts.spec.acquisition.batch_size, parts.spec.labelling.buffer
    left = labels_left(parts)
    return (size, buffer) if left is None else (min(size, left), min(buffer, max(left - size, 0)))


def labels_left(parts: RoundParts) -> int | None:
    """How many labels the budget leaves; None without a budget."""
    limit = parts.spec.stopping.max_labels
    return None if limit is None else limit - parts.round.labels_bought


def all_draws(spec: CampaignSpec) -> range | None:
    """The samples that a prediction averages over; None for the posterior's mean or mode alone.

    A head knows its predictive mean without samples.
    """
    if spec.has_head_learner:
        return None
    samples = spec.posterior.samples
    return range(samples) if samples > 1 else None


def ranking_draws(spec: CampaignSpec) -> range | None:
    """The samples that answers of the ranking model average over; None for the predictive mean alone."""
    if not spec.head_ranks:
        return all_draws(spec)
    return range(spec.head.samples) if spec.acquisition.measure in SAMPLED_MEASURES else None


def scoring_draws(spec: CampaignSpec) -> range | None:
    """The samples that the pool is scored with; None as well where the likeliest answer tells the measure."""
    return None if spec.acquisition.measure in GREEDY_MEASURES else ranking_draws(spec)
