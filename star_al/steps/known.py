"""The texts that were asked before, and the constraint that keeps a batch from asking the like of them again."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.acquire.greedy import Constraint
from star_al.parts import RoundParts
from star_al.types import Item, QueryState, Role


def known_ids(parts: RoundParts) -> list[str]:
    """Sorted ids of the items that the round was trained on or that earlier rounds chose.

    Open buffer queries do not count: they may still be withdrawn, and a replay must give the same ids.
    """
    store, campaign_id = parts.store, parts.campaign.campaign_id
    trained = {label.item_id for label in store.training_labels(campaign_id, parts.round.index)}
    asked = {
        query.item_id
        for query in store.queries(campaign_id)
        if query.purpose is Role.POOL
        and query.round_index < parts.round.index
        and not (query.buffer and query.state is QueryState.OPEN)
    }
    return sorted(trained | asked)


def no_near_duplicates(parts: RoundParts, item_ids: Sequence[str]) -> list[Constraint]:
    """The constraint against near-duplicates of each other and of known items, if it is configured."""
    threshold = parts.spec.acquisition.batch.near_duplicates
    if threshold is None or not item_ids:
        return []
    from star_al.acquire.near_duplicates import NearDuplicates  # brings scikit-learn, which is slow to import

    texts, known = (
        [_text(item) for item in parts.store.items(parts.campaign.campaign_id, ids)]
        for ids in (item_ids, known_ids(parts))
    )
    return [NearDuplicates(texts, known, threshold)]


def _text(item: Item) -> str:
    # In multiple choice, one question with other options is another item to label.
    return "\n".join((item.text, *item.options))
