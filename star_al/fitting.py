"""Train a round's adapter from its stored snapshot of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.config import CampaignSpec
from star_al.parts import Parts
from star_al.types import Label, Round


def round_spec(round_: Round) -> CampaignSpec:
    """The specification a round runs under: that of its start, refreshed when it decided to go on."""
    return CampaignSpec.model_validate(round_.config)


def fit_adapter(parts: Parts, round_: Round, training: Sequence[Label], folder: Path) -> str:
    """Train into the empty ``folder``, from the last round's adapter where warm starts are on; the artefact's kind.

    Raises:
        ModelError: the loss is not finite, or the model cannot be loaded.
    """
    spec = round_spec(round_)
    parent = _parent(parts, round_) if spec.adapter.warm_start else None
    items = parts.store.items(parts.campaign.campaign_id, [label.item_id for label in training])
    examples = [(item, label.value) for item, label in zip(items, training, strict=True)]
    steps = parts.learner.training_steps(len(examples))
    with parts.progress.task(f"Training round {round_.index}", steps) as advance:
        return parts.learner.fit(examples, seed=round_.seed, folder=folder, parent=parent, advance=advance)


def _parent(parts: Parts, round_: Round) -> Path | None:
    """The last round's adapter, unless labels have joined the task since."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: round_.index]
    same_labels = bool(earlier) and round_spec(earlier[-1]).task.labels == parts.spec.task.labels
    sha256 = earlier[-1].adapter_sha256 if same_labels else None
    return parts.artefacts.path_of(sha256) if sha256 else None
