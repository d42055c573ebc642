"""What the head teaches the language model: its answers to texts of the pool that nobody has labelled.

The head learns more from the same few labels, so its answers tell the language model what those labels say about
other texts. They are no labels: nothing is calibrated or measured on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.parts import RoundParts
from star_al.ports import Taught, ignore
from star_al.steps.base_predictions import pad
from star_al.steps.pool import round_pool, stored_items
from star_al.types import Label

MOST_TAUGHT = 2_000
"""Texts that are taught at most; training with its usual number of steps reads no more."""

TAUGHT_WEIGHT = 1.0
"""A taught text counts as much as an answered one: how unsure the head is of it is in its probabilities."""


def is_taught(parts: RoundParts) -> bool:
    """True if the head teaches the round's language model; a model that was trained stays as it was."""
    fit = parts.round.fit
    if fit is not None and fit.adapter_sha256 is not None:
        return fit.taught_texts is not None
    return parts.head is not None and parts.spec.is_taught


def taught_ids(parts: RoundParts, training: Sequence[Label]) -> tuple[str, ...]:
    """Sorted ids of the taught texts: a random sample of the pool without what the model is trained on.

    Returns:
        The ids; none if nothing is taught.
    """
    if not is_taught(parts):
        return ()
    labelled = {label.item_id for label in training}
    others = [item_id for item_id in round_pool(parts).item_ids if item_id not in labelled]
    # A classifier reads states of all taught texts: the same texts each round, as they are kept.
    index = 0 if parts.spec.has_classifier else parts.round.index
    seed = rng.derive_seed(parts.campaign.seed, index, "taught")
    return tuple(sorted(rng.draw(others, MOST_TAUGHT, seed)))


def taught_texts(parts: RoundParts, training: Sequence[Label], head: Path) -> Taught | None:
    """The texts that a language model is taught beside its labels, with the predictive mean of a head.

    Args:
        parts: The round.
        training: What the language model is trained on.
        head: The artefact of a head that was trained on the same labels.

    Returns:
        The texts; None if nothing is taught.
    """
    item_ids = taught_ids(parts, training)
    if not item_ids or parts.head is None:
        return None
    items = stored_items(parts, item_ids)
    found = parts.head.predict(head, items, draws=None, seed=parts.round.seed, advance=ignore)
    probs_M_C = np.exp(pad(list(found.log_probs_N_K_C[:, 0])))
    return Taught(items, probs_M_C / probs_M_C.sum(axis=1, keepdims=True), TAUGHT_WEIGHT)
