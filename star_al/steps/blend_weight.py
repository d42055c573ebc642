"""The weights of a round's blend: by schedule, constant, learned from answers, or measured on held-out labels."""

from __future__ import annotations

import numpy as np

from star_al.acquire.blend import pool_ranks, scheduled_weight
from star_al.acquire.measured_blend_weight import BlendWeight, HeldOut, measured_blend_weight
from star_al.acquire.prequential import Graded, blend_in_words, fit_slopes, shares
from star_al.artefacts.score_page import Scores
from star_al.parts import RoundParts
from star_al.steps.graded_answers import MODELS, graded_answers, held_out
from star_al.types import IntArray

NOTES = {"schedule": "by the paper's schedule", "constant": "constant", "off": "off: the adapted model alone"}

PRIOR = (1.0, 0.0, 0.0)
"""Means of the prior of the slopes, in the order of ``MODELS``: the others get a part only by what the answers show.

A head foretold errors as well as the adapted model, but learning curves were lower where it had half of the say
(docs/studies/blend.md).
"""


def planned_weight(parts: RoundParts) -> float | None:
    """λ by the schedule or the constant, known before the pool is scored.

    The schedule counts the rounds that trained what ranks.

    Returns:
        The weight; None if the round trained nothing, as the base model then ranks alone.
    """
    settings, trained = parts.spec.acquisition.blend, 0
    if parts.is_trained:
        earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
        trained = 1 + sum(parts.ranker_sha256(each) is not None for each in earlier)
    if settings.kind == "prequential" or settings.kind == "measured":
        return scheduled_weight("schedule", trained, settings.weight)
    return scheduled_weight(settings.kind, trained, settings.weight)


def final_weight(parts: RoundParts, pool: Scores) -> BlendWeight | None:
    """The weights with which the pool's scores are blended.

    Returns:
        The weights; None if the round trained nothing.
    """
    planned, settings = planned_weight(parts), parts.spec.acquisition.blend
    if planned is None:
        return None
    if settings.kind == "prequential":
        return _prequential(parts, pool, held_out(parts))
    if settings.kind != "measured":
        return BlendWeight(planned, NOTES[settings.kind])
    if pool.adapted_uncertainty is None or pool.base_uncertainty is None:
        raise ValueError("a measured blend needs both scores of the pool")
    towards: float = planned
    if settings.learns_from_answers:
        # Without the held-out labels, which the measurement itself looks at.
        towards = _prequential(parts, pool._replace(head_uncertainty=None), None).value
    return measured_blend_weight(
        held_out(parts),
        pool.adapted_uncertainty,
        pool.base_uncertainty,
        settings.normalise,
        towards,
        "answers" if settings.learns_from_answers else "schedule",
    )


def _prequential(parts: RoundParts, pool: Scores, held_out: HeldOut | None) -> BlendWeight:
    names = ("head" if parts.spec.head_ranks else "adapted model", "base model", "head")
    n_models = len(MODELS) if pool.head_uncertainty is not None else 2
    asked = graded_answers(parts, n_models)
    graded = asked if held_out is None else _with(asked, held_out, pool)
    weights_J = shares(fit_slopes(graded, np.array(PRIOR[:n_models])))
    return BlendWeight(
        float(weights_J[0]),
        blend_in_words(graded, len(asked.errors_M), weights_J, names[:n_models]),
        head=float(weights_J[2]) if n_models == len(MODELS) else None,
    )


def _with(graded: Graded, held_out: HeldOut, pool: Scores) -> Graded:
    """The answers and the held-out labels, which grade the newest model as a group of their own.

    Those that a head beside has not predicted (it is not asked about calibration items) are a further group.
    """
    assert pool.adapted_uncertainty is not None and pool.base_uncertainty is not None
    n = len(held_out.errors_M)
    if not n:
        return graded
    ranks = [
        pool_ranks(held_out.adapted_M, pool.adapted_uncertainty),
        pool_ranks(held_out.base_M, pool.base_uncertainty),
    ]
    lacks_head_M: IntArray = np.zeros(n, dtype=np.int64)
    if pool.head_uncertainty is not None:
        head_M = np.full(n, np.nan) if held_out.head_M is None else held_out.head_M
        there = np.isfinite(head_M)
        ranks.append(np.full(n, np.nan))
        ranks[-1][there] = pool_ranks(head_M[there], pool.head_uncertainty)
        lacks_head_M = (~there).astype(np.int64)
    return Graded(
        ranks_M_J=np.concatenate([graded.ranks_M_J, np.stack(ranks, axis=1)]),
        errors_M=np.concatenate([graded.errors_M, held_out.errors_M]),
        groups_M=np.concatenate([graded.groups_M, graded.groups_M.max(initial=-1) + 1 + lacks_head_M]),
        ages_M=np.concatenate([graded.ages_M, np.zeros(n)]),
    )
