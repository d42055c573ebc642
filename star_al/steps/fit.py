"""Train a round's adapter from its stored snapshot of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.parts import RoundParts, round_spec
from star_al.types import Label


def fit_adapter(parts: RoundParts, training: Sequence[Label], folder: Path, *, shadow: bool = False) -> str:
    """Train a round's adapter, with a warm start from the last round's where that is configured.

    Args:
        parts: The round.
        training: Its snapshot of labels, or a part of it for the shadow.
        folder: Where to write the adapter; empty.
        shadow: Train the adapter of the control arm, which starts from the last round's shadow.

    Returns:
        The kind of the artefact.

    Raises:
        ModelError: The loss is not finite, or the model cannot be loaded.
    """
    parent = _parent(parts, shadow=shadow) if parts.spec.adapter.warm_start else None
    items = parts.store.items(parts.campaign.campaign_id, [label.item_id for label in training])
    examples = [(item, label.value) for item, label in zip(items, training, strict=True)]
    steps = parts.learner.training_steps(len(examples))
    index, seed = parts.round.index, parts.round.seed
    what = f"Training the shadow of round {index}" if shadow else f"Training round {index}"
    with parts.progress.task(what, steps) as advance:
        return parts.learner.fit(examples, seed=seed, folder=folder, parent=parent, advance=advance)


def _parent(parts: RoundParts, *, shadow: bool) -> Path | None:
    """The last round's adapter, unless labels have been added to the task since."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    same_labels = bool(earlier) and round_spec(earlier[-1]).task.labels == parts.spec.task.labels
    if not same_labels:
        return None
    sha256 = earlier[-1].shadow_sha256 if shadow else earlier[-1].adapter_sha256
    return parts.artefacts.path_of(sha256) if sha256 else None
