"""The candidates of a round, and how many of them it may ask."""

from __future__ import annotations

from star_al import rng
from star_al.config.spec import CampaignSpec
from star_al.parts import Parts
from star_al.types import Round

SHARD_ITEMS = 2048
"""Items a shard: small enough for memory and restarts, large enough that merging weights costs nothing."""


def candidates(parts: Parts, round_index: int, spec: CampaignSpec) -> tuple[str, ...]:
    """Sorted ids that a round may ask: its pool, or a random part of it (``acquisition.candidates``)."""
    pool = parts.store.pool_ids(parts.campaign.campaign_id, round_index)
    limit = spec.acquisition.candidates
    if limit is None or limit >= len(pool):
        return tuple(pool)
    return tuple(
        sorted(rng.draw(pool, limit, rng.derive_seed(parts.campaign.seed, round_index, "candidates")))
    )


def batch_sizes(round_: Round, spec: CampaignSpec) -> tuple[int, int]:
    """Batch and buffer as configured, cut to what the label budget leaves."""
    size, buffer = spec.acquisition.batch_size, spec.labelling.buffer
    left = labels_left(round_, spec)
    return (size, buffer) if left is None else (min(size, left), min(buffer, max(left - size, 0)))


def labels_left(round_: Round, spec: CampaignSpec) -> int | None:
    """How many labels the budget leaves; null without one."""
    limit = spec.stopping.max_labels
    return None if limit is None else limit - round_.labels_bought


def all_draws(spec: CampaignSpec) -> range | None:
    """The samples that a posterior is averaged over; null: its mean or mode alone."""
    samples = spec.posterior.samples
    return range(samples) if samples > 1 else None
