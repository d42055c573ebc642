"""Score a pool: base and adapted uncertainty of every candidate, in bounded memory, resumable.

The pool is cut into shards of sorted ids; each shard is one call of the learner and one file. With adaptive
sampling further stages follow, whose shards hold only items that are still undecided, with all the samples
they have by then. A shard's file name is a hash of all it depends on, and what a stage scores follows from
the files of the one before, so a restarted round picks up the shards that are whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from star_al import rng
from star_al.acquire.adaptive_sampling import BatchRule, Intervals, intervals, sample_stages, undecided
from star_al.acquire.epig import epig
from star_al.acquire.measures import MEASURES, Measure, entropy_split
from star_al.acquire.ranking import power_noise
from star_al.artefacts import score_file
from star_al.artefacts.score_file import Scores
from star_al.parts import Parts, RoundParts
from star_al.ports import Advance
from star_al.steps.base_predictions import base_entropies, base_log_probs
from star_al.steps.blend_weight import planned_weight
from star_al.steps.control_arm import control_size
from star_al.steps.pool import SHARD_ITEMS, all_draws, batch_sizes, candidates
from star_al.types import FloatArray, IntArray


@dataclass(frozen=True)
class Adaptive:
    """Samples that every candidate gets, and how the batch is chosen for which some get more."""

    first: int
    choice: BatchRule


@dataclass(frozen=True)
class ScorePlan:
    """All that a round's scores depend on, besides the model.

    ``adapter`` null: the base model ranks alone (cold start by base uncertainty). ``draws`` null: by the
    posterior's mean alone. ``with_base`` false: the blend is off and base uncertainties are not needed.
    ``targets`` are the sorted ids of the items whose answers EPIG is about; empty for other measures.
    """

    item_ids: tuple[str, ...]
    adapter: str | None
    seed: int
    draws: range | None
    measure: str
    with_base: bool
    adaptive: Adaptive | None = None
    targets: tuple[str, ...] = ()

    def stages(self) -> list[range | None]:
        """The samples to draw, stage by stage."""
        if self.adaptive is None or self.draws is None:
            return [self.draws]
        return list(sample_stages(self.adaptive.first, len(self.draws)))

    def key(self, shard: Sequence[str], draws: range | None, base_key: str) -> str:
        """A hash that names a shard's file."""
        samples = None if draws is None else [draws.start, draws.stop]
        inputs = [base_key, self.adapter, self.seed, samples, self.measure, self.with_base, list(shard)]
        inputs += [list(self.targets)] if self.targets else []
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


class Shard(NamedTuple):
    """Some items in order, and the file of their scores."""

    item_ids: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class ScoredPool:
    """Score files by stage, for ``score_file.concatenate``; ``passes`` counts items times their samples."""

    stages: list[list[Path]]
    passes: int

    def in_words(self, plan: ScorePlan) -> str:
        """What was scored, and what adaptive sampling left to do."""
        text = f"scored {len(plan.item_ids)} items"
        if plan.adaptive is None or plan.draws is None or not plan.item_ids:
            return text
        return f"{text} with {self.passes / (len(plan.item_ids) * len(plan.draws)):.0%} of the passes"


def score_plan(parts: RoundParts) -> ScorePlan | None:
    """What to score in a round; None if the batch is drawn at random or a cold start asks typical texts."""
    acquisition, adapter = parts.spec.acquisition, parts.round.adapter_sha256
    is_cold = adapter is None
    if acquisition.cold_start != "base_uncertainty" if is_cold else acquisition.batch.kind == "random":
        return None
    item_ids = candidates(parts)
    return ScorePlan(
        item_ids=item_ids,
        adapter=adapter,
        seed=rng.derive_seed(parts.campaign.seed, parts.round.index, "posterior"),
        draws=None if is_cold else all_draws(parts.spec),
        measure=acquisition.measure,
        with_base=is_cold or acquisition.blend.kind != "off",
        adaptive=None if is_cold else _adaptive(parts, len(item_ids)),
        targets=() if is_cold else _epig_targets(parts, item_ids),
    )


def _epig_targets(parts: RoundParts, item_ids: Sequence[str]) -> tuple[str, ...]:
    """The same random items of the first pool in every round, sorted; of ``item_ids`` if that pool was empty."""
    acquisition = parts.spec.acquisition
    if acquisition.measure != "epig":
        return ()
    first_pool = parts.store.pool_ids(parts.campaign.campaign_id, 0)
    seed = rng.derive_seed(parts.campaign.seed, 0, "epig targets")
    return tuple(sorted(rng.draw(first_pool or item_ids, acquisition.epig_targets, seed)))


def _adaptive(parts: RoundParts, n: int) -> Adaptive | None:
    acquisition = parts.spec.acquisition
    if acquisition.adaptive_samples is None:
        return None
    size, buffer = batch_sizes(parts)
    size -= control_size(size, acquisition.control_share)
    noise_N = None
    if acquisition.batch.kind == "power":
        random = rng.generator(parts.campaign.seed, parts.round.index, "select")
        noise_N = power_noise(n, acquisition.batch.beta, random)
    choice = BatchRule((size, size + buffer), planned_weight(parts), acquisition.blend.normalise, noise_N)
    return Adaptive(acquisition.adaptive_samples, choice)


def score_pool(parts: Parts, plan: ScorePlan, adapter_folder: Path | None, folder: Path) -> ScoredPool:
    """Write score files into ``folder``, leaving whole ones alone.

    ``adapter_folder`` holds the adapter that the plan names.

    Raises:
        ModelError: the model fails. StoreError: a file cannot be written.
    """
    scorer = _Scorer(parts, plan, adapter_folder, folder)
    first, *further = plan.stages()
    stages = [scorer.score(plan.item_ids, first, [])]
    passes = len(plan.item_ids) * (1 if first is None else len(first))
    if plan.adaptive is not None:
        known = _Known(plan, MEASURES[plan.measure], parts.task.is_multiple_choice)
        for draws in further:
            known.add(stages[-1])
            item_ids = known.undecided(plan.adaptive.choice)
            if draws is None or not item_ids:
                break
            stages.append(scorer.score(item_ids, draws, stages[-1]))
            passes += len(item_ids) * len(draws)
    return ScoredPool([[shard.path for shard in stage] for stage in stages], passes)


@dataclass(frozen=True)
class _Scorer:
    """Scores shard after shard of one plan."""

    parts: Parts
    plan: ScorePlan
    adapter_folder: Path | None
    folder: Path

    def score(self, item_ids: Sequence[str], draws: range | None, earlier: Sequence[Shard]) -> list[Shard]:
        """The shards of a stage, from those of the one before, which hold the samples before ``draws``."""
        what = f"More samples of {len(item_ids)} undecided items" if earlier else "Scoring the pool"
        shards = []
        with self.parts.progress.task(what, len(item_ids)) as advance:
            for start in range(0, len(item_ids), SHARD_ITEMS):
                ids = tuple(item_ids[start : start + SHARD_ITEMS])
                key = self.plan.key(ids, draws, self.parts.learner.base_key)
                shards.append(Shard(ids, self.folder / f"{key}.parquet"))
                if score_file.is_whole(shards[-1].path, ids):
                    advance(len(ids))
                else:
                    self._write(shards[-1], draws, earlier, advance)
        return shards

    def _write(self, shard: Shard, draws: range | None, earlier: Sequence[Shard], advance: Advance) -> None:
        base_N = base_entropies(self.parts, shard.item_ids) if self.plan.with_base else None
        if self.adapter_folder is None:
            log_probs_N_K_C = base_log_probs(self.parts, shard.item_ids)[:, None, :]
            advance(len(shard.item_ids))
            score_file.write_shard(shard.path, shard.item_ids, log_probs_N_K_C, Scores(base_N))
            return
        log_probs_N_K_C = _after(earlier, shard.item_ids, self._predict(shard.item_ids, draws, advance))
        score_file.write_shard(
            shard.path, shard.item_ids, log_probs_N_K_C, self._scores(base_N, log_probs_N_K_C)
        )

    def _predict(self, item_ids: Sequence[str], draws: range | None, advance: Advance) -> FloatArray:
        items = self.parts.store.items(self.parts.campaign.campaign_id, item_ids)
        predictions = self.parts.learner.predict(
            self.adapter_folder, items, draws=draws, seed=self.plan.seed, advance=advance
        )
        return predictions.log_probs_N_K_C

    def _scores(self, base_N: FloatArray | None, log_probs_N_K_C: FloatArray) -> Scores:
        n, samples, _ = log_probs_N_K_C.shape
        per_option = self.parts.task.is_multiple_choice
        aleatoric_N, epistemic_N = entropy_split(log_probs_N_K_C) if samples > 1 else (None, None)
        if self.plan.targets:
            adapted_N = epig(log_probs_N_K_C, self._targets_T_K_C, per_option=per_option)
        else:
            adapted_N = MEASURES[self.plan.measure](log_probs_N_K_C, per_option=per_option)
        return Scores(
            base_uncertainty=base_N,
            adapted_uncertainty=adapted_N,
            aleatoric=aleatoric_N,
            epistemic=epistemic_N,
            samples=np.full(n, samples),
        )

    @cached_property
    def _targets_T_K_C(self) -> FloatArray:
        """EPIG's targets by the samples of the pool, with the precision of a score file, where they are kept."""
        ids, draws = self.plan.targets, self.plan.draws
        path = self.folder / f"targets-{self.plan.key(ids, draws, self.parts.learner.base_key)}.parquet"
        if not score_file.is_whole(path, ids):
            with self.parts.progress.task("EPIG's targets", len(ids)) as advance:
                score_file.write_shard(path, ids, self._predict(ids, draws, advance))
        return score_file.read_predictions([path], ids)


def _after(earlier: Sequence[Shard], item_ids: Sequence[str], log_probs_N_K_C: FloatArray) -> FloatArray:
    """The samples of these items in earlier shards, then the new ones; with the precision of a score file.

    A score must not depend on which of its samples have been in a file.
    """
    log_probs_N_K_C = log_probs_N_K_C.astype(np.float32).astype(np.float64)
    first, last = item_ids[0], item_ids[-1]
    paths = [path for ids, path in earlier if ids[0] <= last and first <= ids[-1]]
    if not paths:
        return log_probs_N_K_C
    before_N_K_C = score_file.read_predictions(paths, item_ids)
    width = max(before_N_K_C.shape[2], log_probs_N_K_C.shape[2])
    both = [
        np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=-np.inf)
        for part in (before_N_K_C, log_probs_N_K_C)
    ]
    return np.concatenate(both, axis=1)


class _Known:
    """What the candidates' samples so far say of their scores: four numbers an item."""

    def __init__(self, plan: ScorePlan, measure: Measure, per_option: bool) -> None:
        self._plan, self._measure, self._per_option = plan, measure, per_option
        n = len(plan.item_ids)
        self._low_N, self._score_N, self._high_N = np.zeros((3, n))
        self._base_N = np.zeros(n) if plan.with_base else None
        self._positions_M: IntArray = np.arange(n)  # of the items that are still open

    def add(self, stage: Sequence[Shard]) -> None:
        """Take in the shards of the undecided items."""
        start = 0
        for shard in stage:
            rows = self._positions_M[start : start + len(shard.item_ids)]
            start += len(rows)
            log_probs_N_K_C = score_file.read_predictions([shard.path], shard.item_ids)
            total = len(self._plan.draws or ())
            bounds = intervals(log_probs_N_K_C, self._measure, total, per_option=self._per_option)
            self._low_N[rows], self._score_N[rows], self._high_N[rows] = (
                bounds.low_N,
                bounds.score_N,
                bounds.high_N,
            )
            if self._base_N is not None:
                self._base_N[rows] = score_file.read_scores(shard.path)[1].base_uncertainty

    def undecided(self, choice: BatchRule) -> list[str]:
        """Ids of the items that need more samples, in order."""
        bounds = Intervals(self._low_N, self._score_N, self._high_N)
        self._positions_M = undecided(bounds, self._base_N, choice, self._positions_M)
        return [self._plan.item_ids[position] for position in self._positions_M]
