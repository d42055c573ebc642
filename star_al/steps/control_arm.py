"""The control arm: what labels drawn at random alone would have taught, inside a live campaign.

All items of the pool stand in one random order, fixed by the campaign's seed. A share of each batch is the
next items of that order which nobody has asked. The control set is the front of the order up to the first
item that still waits for a label: a random sample of the whole pool whatever the active part asks, for an
item that it asked before its turn is there already, at no cost. A shadow adapter is trained on that set alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from star_al import rng
from star_al.labelling.queries import without_label
from star_al.parts import Parts
from star_al.types import Label, Role


def control_size(size: int, share: float) -> int:
    """How many of a batch are for the control arm; at least one where there is an arm and a batch."""
    return min(size, max(1, round(size * share))) if share > 0.0 and size > 0 else 0


def next_control_items(parts: Parts, free: Collection[str], n: int) -> tuple[str, ...]:
    """The first ``n`` items in control order among ``free``, the items that a round may ask."""
    return rng.draw(free, n, _seed(parts))


def control_labels(parts: Parts, training: Sequence[Label]) -> list[Label]:
    """The control set of a round's snapshot, sorted by item id; items that were given up are passed over."""
    label_of = {label.item_id: label for label in training}
    store, campaign_id = parts.store, parts.campaign.campaign_id
    given_up, _ = without_label([query for query in store.queries(campaign_id) if query.purpose is Role.POOL])
    chosen = []
    for item_id in rng.keyed_sorted(store.item_ids(campaign_id, Role.POOL), _seed(parts)):
        if item_id in label_of:
            chosen.append(label_of[item_id])
        elif item_id not in given_up:
            break
    return sorted(chosen, key=lambda label: label.item_id)


def _seed(parts: Parts) -> int:
    """Of the control order."""
    return rng.derive_seed(parts.campaign.seed, 0, "control")
