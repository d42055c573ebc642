"""The weight of the adapted model in a round's blend: by schedule, constant, or measured on held-out labels."""

from __future__ import annotations

from itertools import compress

import numpy as np

from star_al.acquire.blend import scheduled_weight
from star_al.acquire.measured_blend_weight import BlendWeight, HeldOut, measured_blend_weight
from star_al.artefacts.score_file import Scores
from star_al.parts import RoundParts
from star_al.steps.base_predictions import base_entropies
from star_al.types import Role

NOTES = {"schedule": "by the paper's schedule", "constant": "constant", "off": "off: the adapted model alone"}


def planned_weight(parts: RoundParts) -> float | None:
    """λ by the schedule or the constant, known before the pool is scored.

    The schedule counts the rounds that trained what ranks. A measured blend shrinks towards this weight.

    Returns:
        The weight; None if the round trained nothing, as the base model then ranks alone.
    """
    settings, trained = parts.spec.acquisition.blend, 0
    if parts.is_trained:
        earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
        trained = 1 + sum(parts.ranker_sha256(each) is not None for each in earlier)
    return scheduled_weight(settings.kind, trained, settings.weight)


def final_weight(parts: RoundParts, pool: Scores) -> BlendWeight | None:
    """λ with which the pool's scores are blended: the planned weight, or the measured one if so configured.

    Returns:
        The weight; None if the round trained nothing.
    """
    planned, settings = planned_weight(parts), parts.spec.acquisition.blend
    if planned is None:
        return None
    if settings.kind != "measured":
        return BlendWeight(planned, NOTES[settings.kind])
    if pool.adapted_uncertainty is None or pool.base_uncertainty is None:
        raise ValueError("a measured blend needs both scores of the pool")
    return measured_blend_weight(
        _held_out(parts),
        pool.adapted_uncertainty,
        pool.base_uncertainty,
        settings.normalise,
        planned,
    )


def _held_out(parts: RoundParts) -> HeldOut:
    """Uncertainties of the audit and calibration items, and whether the round's model was wrong about them."""
    store, campaign_id = parts.store, parts.campaign.campaign_id
    labels = {**store.labels(campaign_id, Role.AUDIT), **store.labels(campaign_id, Role.CALIBRATION)}
    seen = [
        one
        for one in store.held_out(campaign_id, parts.round.index)
        if one.model == parts.spec.ranking_model and one.item_id in labels
    ]
    item_ids = [one.item_id for one in seen]
    # A replay of a round from before a label was renamed does not know the label's present name.
    items = store.items(campaign_id, item_ids)
    known = [parts.task.find(item.options, labels[item.item_id].value) is not None for item in items]
    seen, item_ids = list(compress(seen, known)), list(compress(item_ids, known))
    truth = [parts.task.column(item, labels[item.item_id].value) for item in compress(items, known)]
    errors = [int(one.log_probs_C.argmax()) != column for one, column in zip(seen, truth, strict=True)]
    return HeldOut(
        adapted_M=np.array([one.uncertainty for one in seen], dtype=np.float64),
        base_M=base_entropies(parts, item_ids),
        errors_M=np.array(errors, dtype=np.bool_),
    )
