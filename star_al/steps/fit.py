"""Train a round's adapter from its stored snapshot of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.errors import StoreError
from star_al.parts import RoundParts, round_spec
from star_al.steps.control_arm import control_labels
from star_al.steps.pool import round_pool
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
        return parts.learner.fit(
            examples, pool=round_pool(parts), seed=seed, folder=folder, parent=parent, advance=advance
        )


def _parent(parts: RoundParts, *, shadow: bool) -> Path | None:
    """The last round's adapter, unless the task's labels have changed since."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    same_labels = bool(earlier) and round_spec(earlier[-1]).task.labels == parts.spec.task.labels
    if not same_labels:
        return None
    sha256 = earlier[-1].shadow_sha256 if shadow else earlier[-1].adapter_sha256
    if not sha256:
        return None
    try:
        return parts.artefacts.path_of(sha256)
    except StoreError:
        return _trained_again(parts.for_round(earlier[-1]), sha256)


def _trained_again(parts: RoundParts, sha256: str) -> Path:
    """An earlier round's adapter, which is missing or damaged, made anew from its snapshot of labels.

    Raises:
        StoreError: Training gives another adapter, such as with another device or version of a library.
    """
    index = parts.round.index
    parts.progress.say(f"Training round {index} again because its adapter is missing or damaged")
    training: Sequence[Label] = parts.store.training_labels(parts.campaign.campaign_id, index)
    shadow = sha256 != parts.round.adapter_sha256  # they are the same while the control set is all labels
    if shadow:
        training = control_labels(parts, training)
    with parts.artefacts.stage() as folder:
        kind = fit_adapter(parts, training, folder, shadow=shadow)
        found = parts.artefacts.adopt(folder, kind).sha256
    if found != sha256:
        raise StoreError(
            f"{parts.artefacts.root}: the adapter {sha256[:12]}… of round {index}, from which the next round's "
            "training starts, is missing or damaged, and training it again gives another one. "
            "Restore the folder, or set adapter.warm_start: false."
        )
    return parts.artefacts.path_of(sha256)
