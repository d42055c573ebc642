"""Run a stored round again from its snapshot of labels, and compare what it asks. The database is only read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from star_al.artefacts import score_file
from star_al.artefacts.folder import content_hash
from star_al.errors import DataError
from star_al.labelling.by_hand import withdrawn_ranks
from star_al.parts import RoundParts
from star_al.ports import Store
from star_al.steps.fit import fit_model
from star_al.steps.pool import batch_sizes
from star_al.steps.score import score_pool
from star_al.steps.score_plan import score_plan
from star_al.steps.select import select_batch
from star_al.steps.shortlist import shortlisted
from star_al.types import Campaign, Role, Round


@dataclass(frozen=True)
class Replay:
    """What a round asked, and what it asks when it is run again.

    Attributes:
        round_index: The round.
        stored: Ids of the items that it asked, in order.
        replayed: Ids of the items that it asks now.
        same_adapter: True if training what ranked the pool gave the same bytes; None if nothing was trained.
        artefact: What was trained: an adapter or a head.
    """

    round_index: int
    stored: tuple[str, ...]
    replayed: tuple[str, ...]
    same_adapter: bool | None
    artefact: str = "adapter"

    @property
    def same_batch(self) -> bool:
        """True if the same items are asked in the same order."""
        return self.stored == self.replayed


def replay_round(parts: RoundParts) -> Replay:
    """Fit, score and select a round anew, in a scratch folder of the artefact folder.

    Raises:
        DataError: The round has asked nothing.
    """
    round_, round_index = parts.round, parts.round.index
    queries = parts.store.queries(parts.campaign.campaign_id, round_index)
    ranks = withdrawn_ranks(parts, round_index)  # queries that were withdrawn are gone, but they were chosen
    ranks |= {
        q.item_id: q.rank for q in queries if q.purpose is Role.POOL and q.attempt == 1 and not q.buffer
    }
    stored = tuple(sorted(ranks, key=lambda item_id: ranks[item_id]))
    if not stored:
        raise DataError(
            f"round {round_index} has asked nothing (its state is {round_.state}), so it cannot be replayed."
        )
    with parts.artefacts.stage() as scratch:
        folder = _fit(parts, scratch)
        scores = _score(parts, folder, scratch)
        size, _ = batch_sizes(parts)
        selection = select_batch(parts, scores, folder, size)
        same_adapter = None if folder is None else content_hash(folder) == parts.ranker_sha256(round_)
    asked = tuple(query.item_id for query in selection.queries)
    return Replay(round_index, stored, asked, same_adapter, "head" if parts.spec.head_ranks else "adapter")


def find_round(store: Store, campaign: Campaign, round_index: int) -> Round:
    """A round by its index.

    Raises:
        DataError: There is no such round.
    """
    rounds = store.rounds(campaign.campaign_id)
    if not 0 <= round_index < len(rounds):
        last = f"the newest is round {len(rounds) - 1}" if rounds else "the campaign has no rounds yet"
        raise DataError(f"there is no round {round_index}; {last}.")
    return rounds[round_index]


def _fit(parts: RoundParts, scratch: Path) -> Path | None:
    """Train anew what ranked the pool; None if the round had no labels."""
    if not parts.is_trained:
        return None
    folder = scratch / "adapter"
    folder.mkdir()
    training = parts.store.training_labels(parts.campaign.campaign_id, parts.round.index)
    fit_model(parts, parts.ranker, training, folder)
    return folder


def _score(parts: RoundParts, folder: Path | None, scratch: Path) -> Path | None:
    plan = score_plan(parts)
    if plan is None:
        return None
    plan = shortlisted(parts, plan, folder, scratch)
    scored = score_pool(parts, plan, folder, scratch)
    return scratch / f"{score_file.concatenate(scored.stages, scratch)}.parquet"
