"""Score a list of items shard by shard: one call of the learner and one file for each.

A shard's file is named by a hash of all that its scores depend on. So a restarted round finds the files that
are whole, and scores the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from star_al.acquire.epig import epig
from star_al.acquire.measures import known_split
from star_al.artefacts import score_file
from star_al.artefacts.score_page import OpenAnswers, Scores
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.parts import Parts
from star_al.ports import Advance, Predict, ignore
from star_al.steps.base_predictions import base_answers, base_entropies, store_base_predictions
from star_al.steps.graded_answers import head_measure
from star_al.steps.pool import SHARD_ITEMS, stored_items
from star_al.steps.score_plan import ScorePlan
from star_al.types import FloatArray, IntArray, Predictions


class Shard(NamedTuple):
    """Some items in order, and the file of their scores."""

    item_ids: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class ShardScorer:
    """Scores items under one plan into ``folder``.

    Attributes:
        parts: The campaign.
        plan: What to compute.
        adapter_folder: Folder of the adapter that the plan names; None for the base model.
        folder: Where the shards go.
    """

    parts: Parts
    plan: ScorePlan
    adapter_folder: Path | None
    folder: Path

    def score(self, item_ids: Sequence[str], draws: range | None, earlier: Sequence[Shard]) -> list[Shard]:
        """Score items, or find their scores from an interrupted run.

        Args:
            item_ids: The items, sorted.
            draws: The samples to add.
            earlier: Shards of the stage before, which hold these items with the samples before ``draws``.
        """
        what = "Scoring the pool" if self.plan.shortlist is None else "Scoring the shortlist"
        if earlier:
            what = f"Drawing more samples for {count(len(item_ids), 'undecided text')}"
        shards = [self._shard(item_ids, draws) for item_ids in map(tuple, pages(item_ids, SHARD_ITEMS))]
        # A file that exists may be damaged.
        missing = [shard for shard in shards if not score_file.is_whole(shard.path, shard.item_ids)]
        if self.plan.with_base:
            store_base_predictions(self.parts, [shard.item_ids for shard in missing])
        with self.parts.progress.task(what, len(item_ids)) as advance:
            advance(len(item_ids) - sum(len(shard.item_ids) for shard in missing))
            if self.adapter_folder is None:
                for shard in missing:
                    self._write_base(shard)
                    advance(len(shard.item_ids))
                return shards
            found = self._predict([shard.item_ids for shard in missing], draws, advance)
            for shard, predictions in zip(missing, found, strict=True):
                self._write(shard, draws, _after(earlier, predictions))
        return shards

    def _shard(self, item_ids: tuple[str, ...], draws: range | None) -> Shard:
        key = self.plan.key(item_ids, draws, self.parts.ranker.base_key)
        return Shard(item_ids, self.folder / f"{key}.parquet")

    def _write_base(self, shard: Shard) -> None:
        """Write what the base model says."""
        base_N = self._base(shard.item_ids) if self.plan.with_base else None
        base = base_answers(self.parts, shard.item_ids)
        opened = OpenAnswers.written(base.opened, {}) if base.opened else None
        log_probs_N_K_C = base.log_probs_N_C[:, None, :]
        score_file.write_shard(shard.path, shard.item_ids, log_probs_N_K_C, Scores(base_N), opened)

    def _write(self, shard: Shard, draws: range | None, predictions: Predictions) -> None:
        base_N = self._base(shard.item_ids) if self.plan.with_base else None
        scores = self._scores(base_N, predictions)._replace(head_uncertainty=self._head(shard.item_ids))
        if draws is not None and not self.plan.keeps_samples:
            (predictions,) = self._predict([shard.item_ids], None, ignore)
        score_file.write_shard(
            shard.path, shard.item_ids, predictions.log_probs_N_K_C, scores, OpenAnswers.of(predictions)
        )

    def _base(self, item_ids: Sequence[str]) -> FloatArray:
        bias_C = np.array(self.plan.base_bias) if self.plan.base_bias else None
        return base_entropies(self.parts, item_ids, bias_C)

    def _head(self, item_ids: Sequence[str]) -> FloatArray | None:
        """Uncertainty of the head, by its mean prediction; None if it has no part in the blend."""
        if self.plan.head is None or self.parts.head is None:
            return None
        folder, items = self.parts.artefacts.path_of(self.plan.head), stored_items(self.parts, item_ids)
        predictions = self.parts.head.predict(folder, items, draws=None, seed=self.plan.seed, advance=ignore)
        measure = head_measure(self.parts)
        return measure(predictions.log_probs_N_K_C, per_option=self.parts.task.has_options)

    def _predict(
        self, shards: Iterable[Sequence[str]], draws: range | None, advance: Advance
    ) -> Iterator[Predictions]:
        """Predictions of each shard, which may be computed at once."""
        seed, tolerance = self.plan.seed, self.parts.spec.label_tolerance
        jobs = (
            Predict(self.adapter_folder, stored_items(self.parts, item_ids), draws, seed, tolerance)
            for item_ids in shards
        )
        return self.parts.compute.each(self.parts.ranker, jobs, advance)

    def _scores(self, base_N: FloatArray | None, predictions: Predictions) -> Scores:
        log_probs_N_K_C = predictions.log_probs_N_K_C
        n, samples, _ = log_probs_N_K_C.shape
        per_option = self.parts.task.has_options
        aleatoric_N = epistemic_N = None
        if samples > 1:
            draws = self.parts.spec.task.answer_draws
            aleatoric_N, epistemic_N = known_split(log_probs_N_K_C, predictions.signals, draws)
        if self.plan.targets:
            adapted_N = epig(log_probs_N_K_C, self._targets_T_K_C, per_option=per_option)
        else:
            adapted_N = self.plan.uncertainties(predictions, per_option=per_option)
        return Scores(
            base_uncertainty=base_N,
            adapted_uncertainty=adapted_N,
            aleatoric=aleatoric_N,
            epistemic=epistemic_N,
            samples=np.full(n, samples),
            drawn=self._drawn(predictions.item_ids),
        )

    def _drawn(self, item_ids: Sequence[str]) -> IntArray | None:
        """1 for items of a shortlist that were drawn at random, 0 for the others; None without a shortlist."""
        if self.plan.shortlist is None:
            return None
        return np.array([item_id in self.plan.shortlist.drawn for item_id in item_ids], dtype=np.int64)

    @cached_property
    def _targets_T_K_C(self) -> FloatArray:
        """Predictions of EPIG's targets by the samples of the pool, in the precision of a score file.

        They are kept as a file beside the shards, so that a restarted round does not predict them again.
        """
        ids, draws = self.plan.targets, self.plan.draws
        path = self.folder / f"targets-{self.plan.key(ids, draws, self.parts.ranker.base_key)}.parquet"
        if not score_file.is_whole(path, ids):
            with self.parts.progress.task("Predicting EPIG's target texts", len(ids)) as advance:
                (predictions,) = self._predict([ids], draws, advance)
                score_file.write_shard(path, ids, predictions.log_probs_N_K_C)
        return score_file.read_predictions([path], ids)


def _after(earlier: Sequence[Shard], predictions: Predictions) -> Predictions:
    """The samples of these items in earlier shards, followed by new ones.

    All are rounded to the precision of a score file, so that a score does not depend on which of its samples
    have been in a file.
    """
    item_ids = predictions.item_ids
    log_probs_N_K_C = predictions.log_probs_N_K_C.astype(np.float32).astype(np.float64)
    first, last = item_ids[0], item_ids[-1]
    # Ids are sorted, so a shard with another span holds none of these; reading all each time would be quadratic.
    paths = [path for ids, path in earlier if ids[0] <= last and first <= ids[-1]]
    if not paths:
        return replace(predictions, log_probs_N_K_C=log_probs_N_K_C)
    before_N_K_C = score_file.read_predictions(paths, item_ids)
    width = max(before_N_K_C.shape[2], log_probs_N_K_C.shape[2])
    # In multiple choice each file is as wide as its item with most options.
    both = [
        np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=-np.inf)
        for part in (before_N_K_C, log_probs_N_K_C)
    ]
    return replace(predictions, log_probs_N_K_C=np.concatenate(both, axis=1))
