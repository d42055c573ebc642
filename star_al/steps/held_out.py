"""Queries for audit and calibration items, which are drawn at random at import and never trained on."""

from __future__ import annotations

from collections.abc import Sequence

from star_al import rng
from star_al.labelling.queries import query_id
from star_al.parts import Parts, RoundParts
from star_al.steps.pool import batch_sizes, labels_left
from star_al.types import Query, Reason, Role


def held_out_queries(parts: Parts, role: Role) -> tuple[Query, ...]:
    """Queries for the first audit items, or for all calibration items, that have no label yet; in random order."""
    order = _held_out_order(parts, role)
    n = parts.spec.evaluation.size if role is Role.AUDIT else len(order)
    return _held_out_queries(parts, role, 0, order[:n], first_rank=1)


def growing_audit(parts: RoundParts) -> tuple[Query, ...]:
    """Queries for the audit items that a round adds to its batch, from those reserved at import."""
    rules, index = parts.spec.evaluation, parts.round.index
    left, asked = labels_left(parts), sum(batch_sizes(parts))
    n = rules.grow if left is None else min(rules.grow, left - asked)
    start = rules.size + index * rules.grow
    order = _held_out_order(parts, Role.AUDIT)[start : start + n] if n else ()
    return _held_out_queries(parts, Role.AUDIT, index, order, first_rank=start + 1)


def audit_so_far(parts: RoundParts) -> frozenset[str]:
    """Ids of the audit items whose labels were requested before the round.

    Later ones may have a label from the data. They are left out, as the texts that came with a label are the
    user's choice and no random sample.
    """
    rules = parts.spec.evaluation
    return frozenset(_held_out_order(parts, Role.AUDIT)[: rules.size + parts.round.index * rules.grow])


def _held_out_order(parts: Parts, role: Role) -> list[str]:
    campaign = parts.campaign
    seed = rng.derive_seed(campaign.seed, 0, role.value)
    item_ids = parts.store.item_ids(campaign.campaign_id, role)
    return rng.keyed_sorted(item_ids, seed)


def _held_out_queries(
    parts: Parts, role: Role, round_index: int, order: Sequence[str], *, first_rank: int
) -> tuple[Query, ...]:
    campaign = parts.campaign
    labelled = parts.store.labels(campaign.campaign_id, role)
    rank_of = {item_id: rank for rank, item_id in enumerate(order, first_rank) if item_id not in labelled}
    reason = Reason(f"{role.value} set: drawn at random at import, never trained on")
    wanted = parts.spec.labelling.overlap
    return tuple(
        Query(
            query_id(campaign.name, item_id, 1),
            item_id,
            round_index,
            role,
            rank,
            reason,
            wanted=wanted,
        )
        for item_id, rank in rank_of.items()
    )
