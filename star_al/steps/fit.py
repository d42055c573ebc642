"""Train a round's adapter from its stored snapshot of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.config.spec import CampaignSpec
from star_al.parts import Parts
from star_al.types import Label, Round


def round_spec(round_: Round) -> CampaignSpec:
    """The specification a round runs under: that of its start, refreshed when it decided to go on."""
    return CampaignSpec.model_validate(round_.config)


def fit_adapter(
    parts: Parts, round_: Round, training: Sequence[Label], folder: Path, *, shadow: bool = False
) -> str:
    """Train into the empty ``folder``, from the last round's adapter where warm starts are on; the artefact's kind.

    ``shadow``: the adapter of the control arm, which starts from the last round's shadow.

    Raises:
        ModelError: the loss is not finite, or the model cannot be loaded.
    """
    spec = round_spec(round_)
    parent = _parent(parts, round_, shadow=shadow) if spec.adapter.warm_start else None
    items = parts.store.items(parts.campaign.campaign_id, [label.item_id for label in training])
    examples = [(item, label.value) for item, label in zip(items, training, strict=True)]
    steps = parts.learner.training_steps(len(examples))
    what = f"Training the shadow of round {round_.index}" if shadow else f"Training round {round_.index}"
    with parts.progress.task(what, steps) as advance:
        return parts.learner.fit(examples, seed=round_.seed, folder=folder, parent=parent, advance=advance)


def _parent(parts: Parts, round_: Round, *, shadow: bool) -> Path | None:
    """The last round's adapter, unless labels have joined the task since."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: round_.index]
    same_labels = bool(earlier) and round_spec(earlier[-1]).task.labels == parts.spec.task.labels
    if not same_labels:
        return None
    sha256 = earlier[-1].shadow_sha256 if shadow else earlier[-1].adapter_sha256
    return parts.artefacts.path_of(sha256) if sha256 else None
