"""Score only a part of a large pool (``acquisition.shortlist``), and estimate what that misses.

What is on a round's shortlist follows from the score files of earlier rounds, the round's own models and its seed.
So a round that is restarted or replayed has the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.shortlist import missed, shortlist, texts_to_score
from star_al.artefacts.score_file import read_scores
from star_al.artefacts.score_page import Scores
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec.shortlist import OPEN_MEASURES
from star_al.parts import RoundParts
from star_al.ports import NO_SAMPLES
from star_al.steps.blend_weight import final_weight
from star_al.steps.blending import blended, by_model
from star_al.steps.control_arm import control_items
from star_al.steps.graded_answers import head_measure
from star_al.steps.known_scores import complete, known_scores
from star_al.steps.pool import SAMPLED_MEASURES, SHARD_ITEMS, batch_sizes, candidates, stored_items
from star_al.steps.score_plan import PlannedShortlist, ScorePlan
from star_al.steps.score_shards import ShardScorer
from star_al.types import BoolArray, FloatArray, ShortlistRecord


def shortlisted(parts: RoundParts, plan: ScorePlan, adapter_folder: Path | None, folder: Path) -> ScorePlan:
    """Narrow a plan to the round's shortlist.

    Args:
        parts: The round.
        plan: What to score without a shortlist.
        adapter_folder: The artefact that the plan names; None for the base model.
        folder: Where a pass over the pool that decides on the shortlist keeps its files.

    Returns:
        The plan as it is if nothing is trained yet, if there is no shortlist, or if it holds all texts.

    Raises:
        ModelError: A model fails.
        StoreError: A file cannot be written.
    """
    settings, pool = parts.spec.acquisition.shortlist, plan.item_ids
    if not settings.is_on or plan.adapter is None or adapter_folder is None:
        return plan
    depth = parts.spec.shortlist_depth
    size = texts_to_score(len(pool), settings.share, settings.size, depth, settings.random_share)
    if size == len(pool):
        return plan
    scores_N = _PRESCORES[settings.by](parts, plan, adapter_folder, folder)
    seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "shortlist")
    # The control arm asks its items whatever they score; a blend learns from what the models say of them.
    control = frozenset(control_items(parts, batch_sizes(parts)[0]))
    asked_N = np.array([item_id in control for item_id in pool], dtype=np.bool_)
    rest = [item_id for item_id in pool if item_id not in control]
    chosen = shortlist(rest, scores_N[~asked_N], size, settings.random_share, seed)
    item_ids = tuple(sorted((*chosen.item_ids, *control.intersection(pool))))
    if len(item_ids) == len(pool):
        return plan
    parts.progress.say(f"The shortlist has {len(item_ids):,} of {count(len(pool), 'text')}")
    return replace(plan, item_ids=item_ids, shortlist=PlannedShortlist(len(pool), chosen.drawn))


def not_scored(parts: RoundParts, item_ids: Sequence[str], columns: Scores) -> Scores:
    """Newest scores of the round's pool texts that it has not scored.

    Args:
        parts: The round.
        item_ids: The texts that it has scored.
        columns: Their scores. Texts that lack one of the models are left out, as they cannot be ranked with these.
    """
    scored = frozenset(item_ids)
    models = by_model(columns)
    rest = known_scores(parts, [each for each in candidates(parts) if each not in scored]).of(models)
    return rest.rows(complete(rest)) if set(by_model(rest)) == set(models) else Scores()


def shortlist_record(
    parts: RoundParts, scores_M: FloatArray, drawn_M: BoolArray, control_M: BoolArray, batch_size: int
) -> ShortlistRecord:
    """Say how much of the pool was scored, and estimate how many texts the shortlist missed.

    Args:
        parts: The round.
        scores_M: Blended scores of the texts that were scored.
        drawn_M: True for those that were drawn at random.
        control_M: True for those that the control arm takes, whatever they score.
        batch_size: Texts that the round chooses by score.
    """
    pool, scored, drawn = len(candidates(parts)), len(scores_M), int(drawn_M.sum())
    depth = parts.spec.acquisition.depth_of(batch_size)
    found = missed(scores_M[~control_M], drawn_M[~control_M], pool - scored + drawn, depth)
    return ShortlistRecord(
        pool=pool,
        scored=scored,
        drawn=drawn,
        batch=batch_size,
        depth=depth,
        missed=None if found is None else found.estimate,
        missed_high=None if found is None else found.high,
    )


def _by_last_round(parts: RoundParts, plan: ScorePlan, adapter_folder: Path, folder: Path) -> FloatArray:
    """The blend of the newest known scores, as it would rank the pool now; NaN for texts without a score."""
    scores_N = np.full(len(plan.item_ids), np.nan)
    newest = known_scores(parts, plan.item_ids)
    if newest.adapted_uncertainty is None:
        return scores_N
    known_N = np.isfinite(newest.adapted_uncertainty)
    if not known_N.any():
        return scores_N
    columns = _in_all(newest.rows(known_N), plan)
    if plan.with_base and columns.base_uncertainty is None:  # the blend has begun since
        scores_N[known_N] = newest.adapted_uncertainty[known_N]
    else:
        weight = final_weight(parts, columns)
        scores_N[known_N] = blended(columns, weight, parts.spec.acquisition.blend)
    return scores_N


def _in_all(scores: Scores, plan: ScorePlan) -> Scores:
    """The scores that the plan blends, of the models that have scored all of these texts.

    A model that has joined the blend since, or left it, must not make texts count as new: all would be scored again.
    """
    wanted = {"adapted": True, "base": plan.with_base, "head": plan.head is not None}
    models = by_model(scores)
    return scores.of(
        [name for name, scores_N in models.items() if wanted[name] and np.isfinite(scores_N).all()]
    )


def _by_head(parts: RoundParts, plan: ScorePlan, adapter_folder: Path, folder: Path) -> FloatArray:
    """Uncertainties of the round's head beside the language model."""
    sha256 = parts.round.head_sha256
    if parts.head is None or sha256 is None:
        return np.full(len(plan.item_ids), np.nan)
    head, measure = parts.artefacts.path_of(sha256), head_measure(parts)
    found: list[FloatArray] = []
    with parts.progress.task("Choosing the shortlist", len(plan.item_ids)) as advance:
        for page in pages(plan.item_ids, SHARD_ITEMS):
            predictions = parts.head.predict(
                head, stored_items(parts, page), draws=None, seed=plan.seed, advance=advance
            )
            found.append(measure(predictions.log_probs_N_K_C, per_option=parts.task.has_options))
    return np.concatenate(found)


def _in_one_pass(parts: RoundParts, plan: ScorePlan, adapter_folder: Path, folder: Path) -> FloatArray:
    """A cheap measure of the round's own model, kept in files so that a restarted round has it."""
    by = parts.spec.acquisition.shortlist.by
    is_written = by in OPEN_MEASURES
    measure = "entropy" if plan.measure in SAMPLED_MEASURES else plan.measure
    cheap = replace(
        plan,
        draws=NO_SAMPLES if is_written else None,
        measure=by if is_written else measure,
        with_base=False,
        adaptive=None,
        targets=(),
        head=None,
        base_bias=(),
    )
    scorer = ShardScorer(parts, cheap, adapter_folder, folder)
    shards = scorer.score(plan.item_ids, cheap.draws, [])
    found = [read_scores(shard.path)[1].adapted_uncertainty for shard in shards]
    return np.concatenate([each for each in found if each is not None])


_PRESCORES: Mapping[str, Callable[[RoundParts, ScorePlan, Path, Path], FloatArray]] = {
    "last_round": _by_last_round,
    "head": _by_head,
    "mean": _in_one_pass,
    "nll": _in_one_pass,
    "token_entropy": _in_one_pass,
}
"""What each value of ``acquisition.shortlist.by`` ranks the pool by."""
