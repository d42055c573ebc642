"""The control arm: how good the model would be with randomly drawn labels alone, inside a live campaign.

The campaign's seed puts all items of the pool in one random order. A share of each batch is taken from that
order: its next items that were not chosen yet. The control set is the prefix of the order up to the first item
without a label. It is a random sample of the whole pool, whatever the active part chooses: an item that the
active part chose early has its label when its turn comes, at no extra cost. The shadow is an adapter that is
trained on the control set alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from star_al import rng
from star_al.labelling.queries import without_label
from star_al.parts import Parts
from star_al.types import Label, Role


def control_size(size: int, share: float) -> int:
    """How many items of a batch are for the control arm; at least one, if there is an arm and a batch."""
    return min(size, max(1, round(size * share))) if share > 0.0 and size > 0 else 0


def next_control_items(parts: Parts, free: Collection[str], n: int) -> tuple[str, ...]:
    """The first items of the control order that a round may choose.

    Args:
        parts: The campaign.
        free: Ids of the items that the round may choose.
        n: How many to return; fewer if ``free`` has fewer.
    """
    return rng.draw(free, n, _seed(parts))


def control_labels(parts: Parts, training: Sequence[Label]) -> list[Label]:
    """The control set among the labels of a round, sorted by item id; skipped items do not end it."""
    label_of = {label.item_id: label for label in training}
    store, campaign_id = parts.store, parts.campaign.campaign_id
    dropped, _ = without_label([query for query in store.queries(campaign_id) if query.purpose is Role.POOL])
    chosen = []
    for item_id in rng.keyed_sorted(store.item_ids(campaign_id, Role.POOL), _seed(parts)):
        if item_id in label_of:
            chosen.append(label_of[item_id])
        elif item_id not in dropped:
            break
    return sorted(chosen, key=lambda label: label.item_id)


def _seed(parts: Parts) -> int:
    """The seed of the control order."""
    return rng.derive_seed(parts.campaign.seed, 0, "control")
