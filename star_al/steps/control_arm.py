"""The control arm: how good the model would be with randomly drawn labels alone, inside a live campaign.

The campaign's seed puts all items of the pool in one random order. A share of each batch is taken from that
order: its next items that were not chosen yet. The control set is the prefix of the order up to the first item
without a label, cut after the last item that was asked for the arm. It is a random sample of the whole pool,
whatever the active part chooses: an item that the active part chose early has its label when its turn comes, at no
extra cost. Without the cut, items of the active part would follow the last one of the arm just because they were
chosen, as nothing but their choice gave them a label. The shadow is a model that is trained on the control set alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from star_al import rng
from star_al.labelling.queries import without_label
from star_al.parts import Parts, RoundParts
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


def control_items(parts: RoundParts, size: int) -> tuple[str, ...]:
    """Ids of the items that a round's batch of ``size`` holds for the arm, in their order."""
    n = control_size(size, parts.spec.acquisition.control_share)
    # The whole pool, not candidates(): if acquisition.candidates left out the next item in control order, the
    # control set would end there.
    return next_control_items(parts, parts.free_ids, n) if n else ()


def control_labels(parts: Parts, training: Sequence[Label], size: int | None = None) -> list[Label]:
    """The control set among the labels of a round, sorted by item id; skipped items do not end it.

    Args:
        parts: The campaign.
        training: The labels of the round.
        size: The size that the set had, for a round that is trained again; versions before 0.2 did not cut it.
    """
    label_of = {label.item_id: label for label in training}
    store, campaign_id = parts.store, parts.campaign.campaign_id
    asked = [query for query in store.queries(campaign_id) if query.purpose is Role.POOL]
    dropped, _ = without_label(asked)
    chosen = []
    for item_id in rng.keyed_sorted(store.item_ids(campaign_id, Role.POOL), _seed(parts)):
        if item_id in label_of:
            chosen.append(label_of[item_id])
        elif item_id not in dropped:
            break
    if size is None:
        for_the_arm = {query.item_id for query in asked if query.control}
        size = max((n for n, label in enumerate(chosen, 1) if label.item_id in for_the_arm), default=0)
    return sorted(chosen[:size], key=lambda label: label.item_id)


def _seed(parts: Parts) -> int:
    """The seed of the control order."""
    return rng.derive_seed(parts.campaign.seed, 0, "control")
