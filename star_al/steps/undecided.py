"""Which candidates adaptive sampling has not decided yet: bounds on their scores, updated stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al.acquire.adaptive_sampling import BatchRule, Intervals, intervals, undecided
from star_al.artefacts import score_file
from star_al.steps.score_plan import ScorePlan
from star_al.steps.score_shards import Shard
from star_al.types import IntArray


class UndecidedItems:
    """The candidates of a plan; four numbers per item are kept, whatever the number of its samples."""

    def __init__(self, plan: ScorePlan, *, per_option: bool) -> None:
        self._plan, self._measure, self._per_option = plan, plan.uncertainty, per_option
        n = len(plan.item_ids)
        self._low_N, self._score_N, self._high_N = np.zeros((3, n))
        self._base_N = np.zeros(n) if plan.with_base else None
        self._undecided_M: IntArray = np.arange(n)

    def update(self, stage: Sequence[Shard]) -> None:
        """Take new bounds from the shards of a stage, which hold the undecided items in order."""
        start = 0
        for shard in stage:
            rows = self._undecided_M[start : start + len(shard.item_ids)]
            start += len(rows)
            # From the file, not from memory: a restarted round must decide by the same rounded numbers.
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

    def narrow(self, choice: BatchRule) -> list[str]:
        """Drop the items whose place in the batch is decided; ids of the others, in order."""
        # Decided items count too: the border of the batch and the blend's normalisation go by all scores.
        bounds = Intervals(self._low_N, self._score_N, self._high_N)
        self._undecided_M = undecided(bounds, self._base_N, choice, self._undecided_M)
        return [self._plan.item_ids[position] for position in self._undecided_M]
