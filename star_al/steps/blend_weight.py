"""The weight of a round's blend: by schedule, a constant, or measured on held-out labels."""

from __future__ import annotations

import numpy as np

from star_al.acquire.blend import blend_weight
from star_al.acquire.measured_weight import HeldOut, Weight, measured_weight
from star_al.artefacts.score_file import Scores
from star_al.config.spec import CampaignSpec
from star_al.parts import Parts
from star_al.steps.base_predictions import base_entropies
from star_al.types import Role, Round

NOTES = {"schedule": "by the paper's schedule", "constant": "constant", "off": "off: the adapted model alone"}


def round_weight(parts: Parts, round_: Round, spec: CampaignSpec, pool: Scores) -> Weight | None:
    """λ of a round whose pool has these scores; null without adapter, where the base alone ranks."""
    schedule, settings = adapted_weight(parts, round_, spec), spec.acquisition.blend
    if schedule is None:
        return None
    if settings.kind != "measured":
        return Weight(schedule, NOTES[settings.kind])
    if pool.adapted_uncertainty is None or pool.base_uncertainty is None:
        raise ValueError("a measured blend needs both scores of the pool")
    return measured_weight(
        _held_out(parts, round_),
        pool.adapted_uncertainty,
        pool.base_uncertainty,
        settings.normalise,
        schedule,
    )


def _held_out(parts: Parts, round_: Round) -> HeldOut:
    """Audit and calibration items as the round's model saw them, and whether it was wrong."""
    store, campaign_id = parts.store, parts.campaign.campaign_id
    labels = {**store.labels(campaign_id, Role.AUDIT), **store.labels(campaign_id, Role.CALIBRATION)}
    seen = [
        one
        for one in store.held_out(campaign_id, round_.index)
        if one.model == "adapted" and one.item_id in labels
    ]
    item_ids = [one.item_id for one in seen]
    truth = [
        parts.task.column(item, labels[item.item_id].value) for item in store.items(campaign_id, item_ids)
    ]
    errors = [int(one.log_probs_C.argmax()) != column for one, column in zip(seen, truth, strict=True)]
    return HeldOut(
        adapted_M=np.array([one.uncertainty for one in seen], dtype=np.float64),
        base_M=base_entropies(parts, item_ids),
        errors_M=np.array(errors, dtype=np.bool_),
    )


def adapted_weight(parts: Parts, round_: Round, spec: CampaignSpec) -> float | None:
    """λ_t of the round, see ``blend_weight``; t counts the rounds up to this one that trained an adapter."""
    settings, trained = spec.acquisition.blend, 0
    if round_.adapter_sha256 is not None:
        earlier = parts.store.rounds(parts.campaign.campaign_id)[: round_.index]
        trained = 1 + sum(each.adapter_sha256 is not None for each in earlier)
    return blend_weight(settings.kind, trained, settings.weight)
