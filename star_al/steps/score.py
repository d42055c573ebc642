"""Score a pool: base and adapted uncertainty of every candidate, in bounded memory, resumable.

The sorted candidates are scored in shards. With adaptive sampling further stages follow, which score only
the items that are still undecided, with all the samples they have by then. What a stage scores follows from
the files of the stage before, so a restarted round goes on where it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from star_al.common.wording import count
from star_al.parts import Parts
from star_al.steps.score_plan import ScorePlan
from star_al.steps.score_shards import ShardScorer
from star_al.steps.undecided import UndecidedItems


@dataclass(frozen=True)
class ScoredPool:
    """Score files by stage, for ``score_file.concatenate``; ``passes`` counts items times their samples."""

    stages: list[list[Path]]
    passes: int

    def in_words(self, plan: ScorePlan) -> str:
        """How much was scored, and the share of the passes that adaptive sampling needed."""
        text = f"scored {count(len(plan.item_ids), 'text')}"
        if plan.shortlist is not None:
            drawn = f"{len(plan.shortlist.drawn):,} of them drawn at random"
            text = f"scored {len(plan.item_ids):,} of {count(plan.shortlist.pool, 'text')}, {drawn}"
        if plan.adaptive is None or plan.draws is None or not plan.item_ids:
            return text
        return f"{text} with {self.passes / (len(plan.item_ids) * len(plan.draws)):.0%} of the passes"


def score_pool(parts: Parts, plan: ScorePlan, adapter_folder: Path | None, folder: Path) -> ScoredPool:
    """Write a plan's score files.

    Args:
        parts: The campaign.
        plan: What to score.
        adapter_folder: The adapter that the plan names; None for the base model.
        folder: Where to write; whole files of an earlier try are left alone.

    Raises:
        ModelError: The model fails.
        StoreError: A file cannot be written.
    """
    scorer = ShardScorer(parts, plan, adapter_folder, folder)
    first, *further = plan.stages()
    stages = [scorer.score(plan.item_ids, first, [])]
    passes = len(plan.item_ids) * (1 if first is None else len(first))
    if plan.adaptive is not None:
        items = UndecidedItems(plan, per_option=parts.task.has_options)
        for draws in further:
            items.update(stages[-1])
            item_ids = items.narrow(plan.adaptive.choice)
            if draws is None or not item_ids:
                break
            stages.append(scorer.score(item_ids, draws, stages[-1]))
            passes += len(item_ids) * len(draws)
    return ScoredPool([[shard.path for shard in stage] for stage in stages], passes)
