"""The newest score of each text in the score files of earlier rounds.

With a shortlist a round's file holds a part of the pool alone, so the scores of the others are those of the round that
scored them last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from star_al.artefacts.score_file import read_scores
from star_al.artefacts.score_page import Scores
from star_al.errors import StoreError
from star_al.parts import RoundParts
from star_al.types import BoolArray, FloatArray, Round

_COLUMNS = ("base_uncertainty", "adapted_uncertainty", "head_uncertainty")


def known_scores(parts: RoundParts, item_ids: Sequence[str]) -> Scores:
    """Newest uncertainties of items in earlier rounds, (N,) each; NaN for items that no trained model has scored.

    A score file that is missing or damaged tells nothing, and the texts that it alone scored are scored again.

    Args:
        parts: The round.
        item_ids: The N items.
    """
    place = {item_id: position for position, item_id in enumerate(item_ids)}
    found: dict[str, FloatArray] = {}
    unknown_N = np.ones(len(item_ids), dtype=bool)
    for round_ in reversed(_earlier(parts)):
        if not unknown_N.any():
            break
        scored = _read(parts, round_)
        if scored is None or scored[1].adapted_uncertainty is None:
            continue
        rows = [(row, place[item_id]) for row, item_id in enumerate(scored[0]) if item_id in place]
        pairs_R_2 = np.array(rows, dtype=np.int64).reshape(-1, 2)
        pairs_R_2 = pairs_R_2[unknown_N[pairs_R_2[:, 1]]]
        for name in _COLUMNS:
            column = getattr(scored[1], name)
            if column is not None:
                into_N = found.setdefault(name, np.full(len(item_ids), np.nan))
                into_N[pairs_R_2[:, 1]] = column[pairs_R_2[:, 0]]
        unknown_N[pairs_R_2[:, 1]] = False
    return Scores(**found)  # type: ignore[arg-type]


def complete(scores: Scores) -> BoolArray:
    """True for rows that have all the scores there are, (N,)."""
    columns = [column for column in scores if column is not None]
    if not columns:
        return np.zeros(0, dtype=np.bool_)
    known_N: BoolArray = np.asarray(np.isfinite(np.stack(columns)).all(axis=0))
    return known_N


def _earlier(parts: RoundParts) -> list[Round]:
    """Earlier rounds whose pool a trained model has scored."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    return [each for each in earlier if each.scores_sha256 and parts.ranker_sha256(each)]


def _read(parts: RoundParts, round_: Round) -> tuple[tuple[str, ...], Scores] | None:
    try:
        return read_scores(parts.artefacts.score_file(round_.scores_sha256 or ""))
    except StoreError:
        parts.progress.say(
            f"The scores of round {round_.index} are missing or damaged; texts that have no newer ones are scored again"
        )
        return None
