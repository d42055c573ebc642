"""Train what a round needs, from its stored snapshot of labels."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from star_al.common.wording import count
from star_al.errors import StoreError
from star_al.parts import Parts, RoundParts, round_spec
from star_al.ports import Learner, Taught
from star_al.steps.control_arm import control_labels
from star_al.steps.pool import round_pool
from star_al.steps.teach import TAUGHT_WEIGHT, is_taught, taught_ids, taught_texts
from star_al.types import Adapter, JsonObject, Label, Round


@dataclass(frozen=True)
class Fitted:
    """What a round trained before it ranked the pool.

    Attributes:
        adapter: The learner's artefact; None without labels, or if the head ranks, as the language model is
            then trained later (``star_al.steps.train``).
        head: The head beside a language model; None without one.
        head_seconds: How long it took to train it.
        taught: How many texts of the pool the head taught the adapter; None if it taught nothing.
        shadow: The model of the control arm.
        shadow_labels: How many labels it was trained on; None without a control arm.
    """

    adapter: Adapter | None = None
    head: Adapter | None = None
    head_seconds: float | None = None
    taught: int | None = None
    shadow: Adapter | None = None
    shadow_labels: int | None = None

    @property
    def artefacts(self) -> tuple[Adapter, ...]:
        """All that was trained."""
        return tuple(each for each in (self.adapter, self.head, self.shadow) if each is not None)

    def in_words(self, n_labels: int) -> str:
        """What was trained on ``n_labels`` labels."""
        if not self.artefacts:
            return "no labels yet, so nothing to train on"
        what = "trained" if self.adapter else "trained the head"
        beside = ", and a head" if self.adapter and self.head else ""
        words = f"{what} on {count(n_labels, 'label')}{beside}{taught_in_words(self.taught)}"
        if self.shadow_labels:
            words += f", and the control arm on {count(self.shadow_labels, 'random label')}"
        return words


def taught_in_words(n: int | None) -> str:
    """What the head taught a language model, to go on with after what that was trained on."""
    return f", which taught it its answers to {count(n, 'other text')}" if n else ""


def fit_round(parts: RoundParts, training: Sequence[Label]) -> Fitted:
    """Train the model that ranks the pool, what is measured beside it, and the control arm's shadow.

    Args:
        parts: The round.
        training: Its snapshot of labels.

    Raises:
        ModelError: The loss is not finite, or a model cannot be loaded.
    """
    if not _teaches(parts, training):
        return Fitted()
    head, head_seconds = None, None
    if parts.head is not None and parts.spec.has_head_beside:
        start = time.monotonic()
        head = train_artefact(parts, parts.head, training)
        head_seconds = time.monotonic() - start
    head_ranks = parts.spec.ranking_model == "head"
    adapter, taught = None, None
    if not head_ranks:
        teacher = parts.artefacts.path_of(head.sha256) if head else None
        adapter = train_artefact(parts, parts.learner, training, teacher=teacher)
        taught = len(taught_ids(parts, training)) or None
    shadow, shadow_labels = _fit_shadow(parts, training, head if head_ranks else adapter)
    return Fitted(adapter, head, head_seconds, taught, shadow, shadow_labels)


def _teaches(parts: Parts, labels: Sequence[Label]) -> bool:
    """Return whether labels hold one that every model learns from: a tie says nothing to some of them."""
    return any(not parts.task.has_no_column(label.value) for label in labels)


def train_artefact(
    parts: RoundParts,
    learner: Learner,
    training: Sequence[Label],
    *,
    shadow: bool = False,
    teacher: Path | None = None,
) -> Adapter:
    """Train and keep an artefact in the artefact folder; see ``fit_model``."""
    with parts.artefacts.stage() as folder:
        kind = fit_model(parts, learner, training, folder, shadow=shadow, teacher=teacher)
        return parts.artefacts.adopt(folder, kind)


def fit_model(
    parts: RoundParts,
    learner: Learner,
    training: Sequence[Label],
    folder: Path,
    *,
    shadow: bool = False,
    teacher: Path | None = None,
) -> str:
    """Train a model on a round's labels, with a warm start from the last adapter where that is configured.

    A language model is taught by a head where that is configured.

    Args:
        parts: The round.
        learner: What to train: the round's learner, or the head beside it.
        training: Its snapshot of labels, or a part of it for the shadow.
        folder: Where to write the artefact; empty.
        shadow: Train the model of the control arm, which starts from the last shadow.
        teacher: A head that was trained on ``training``; None to take the round's, or to train one anew.

    Returns:
        The kind of the artefact.

    Raises:
        ModelError: The loss is not finite, or the model cannot be loaded.
    """
    is_head = learner is parts.head or parts.spec.has_head_learner
    warm = parts.spec.adapter.warm_start and not is_head
    parent = _parent(parts, shadow=shadow) if warm else None
    items = parts.store.items(parts.campaign.campaign_id, [label.item_id for label in training])
    examples = [(item, label.value) for item, label in zip(items, training, strict=True)]
    taught = None if is_head else _taught(parts, training, teacher, shadow=shadow)
    steps = learner.training_steps(len(examples), len(taught) if taught else 0)
    index, seed = parts.round.index, parts.round.seed
    what = "the shadow of " if shadow else "the head of " if is_head else ""
    with parts.progress.task(f"Training {what}round {index}", steps) as advance:
        return learner.fit(
            examples,
            pool=round_pool(parts),
            seed=seed,
            folder=folder,
            parent=parent,
            advance=advance,
            taught=taught,
        )


def _taught(
    parts: RoundParts, training: Sequence[Label], teacher: Path | None, *, shadow: bool
) -> Taught | None:
    """What a head that knows the same labels teaches the language model; None if nothing is taught."""
    if parts.head is None or not is_taught(parts):
        return None
    if teacher is None and not shadow:
        teacher = _head_of_round(parts)
    if teacher is not None:
        return taught_texts(parts, training, teacher)
    with parts.artefacts.stage() as folder:
        fit_model(parts, parts.head, training, folder, shadow=shadow)
        return taught_texts(parts, training, folder)


def _head_of_round(parts: RoundParts) -> Path | None:
    """The round's head; None if it is missing or damaged."""
    sha256 = parts.round.head_sha256
    try:
        return parts.artefacts.path_of(sha256) if sha256 else None
    except StoreError:
        return None


def as_trained_now(parts: Parts, round_: Round, training: Sequence[Label]) -> Round:
    """A fitted round as today's settings train its language model; what its batch follows from stays."""
    now: JsonObject = parts.spec.model_dump(mode="json", include={"adapter", "posterior"})
    round_ = replace(round_, config={**round_.config, **now})
    taught = len(taught_ids(parts.for_round(round_), training)) or None
    assert round_.fit is not None
    fit = replace(
        round_.fit,
        input_hash=input_hash(parts, round_, training),
        taught_texts=taught,
        taught_weight=TAUGHT_WEIGHT if taught else None,
    )
    return replace(round_, fit=fit)


def input_hash(parts: Parts, round_: Round, training: Sequence[Label]) -> str:
    """A hash of all that a round's models are a function of: settings, seed, and the snapshot of labels."""
    names = ["task", "model", "adapter", "posterior"]
    if parts.spec.has_head_learner or parts.spec.has_head_beside:
        names += ["learner", "head"]
    settings = [parts.spec.model_dump(mode="json")[name] for name in names]
    labels = [[label.item_id, label.value] for label in training]
    inputs = json.dumps([settings, round_.seed, labels], sort_keys=True)
    return hashlib.sha256(inputs.encode()).hexdigest()


def learner_versions(parts: Parts) -> JsonObject:
    """Libraries, device, dtype and base key of the learner, and of the head beside it under ``head``."""
    versions: JsonObject = {**parts.learner.versions(), "base_key": parts.learner.base_key}
    if parts.head is None:
        return versions
    return {**versions, "head": {**parts.head.versions(), "base_key": parts.head.base_key}}


def _fit_shadow(
    parts: RoundParts, training: Sequence[Label], ranker: Adapter | None
) -> tuple[Adapter | None, int | None]:
    """Train the shadow: the control arm's model, of the ranker's kind, on the control set alone.

    As long as the control set is all labels, what ranks the pool is the shadow.

    Returns:
        The shadow, and the size of the control set; None and None without a control arm.
    """
    if not parts.spec.acquisition.control_share or ranker is None:
        return None, None
    control = control_labels(parts, training)
    if not _teaches(parts, control):
        return None, len(control)
    if len(control) == len(training):
        return ranker, len(control)
    return train_artefact(parts, parts.ranker, control, shadow=True), len(control)


def _parent(parts: RoundParts, *, shadow: bool) -> Path | None:
    """The last trained adapter, unless the task's labels have changed since."""
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    trained = [one for one in earlier if _sha256(one, shadow=shadow)]
    if not trained or round_spec(trained[-1]).task.labels != parts.spec.task.labels:
        return None
    sha256 = _sha256(trained[-1], shadow=shadow) or ""
    try:
        return parts.artefacts.path_of(sha256)
    except StoreError:
        return _trained_again(parts.for_round(trained[-1]), sha256)


def _sha256(round_: Round, *, shadow: bool) -> str | None:
    return round_.shadow_sha256 if shadow else round_.adapter_sha256


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
        training = control_labels(parts, training, parts.round.fit.shadow_labels if parts.round.fit else None)
    found = train_artefact(parts, parts.learner, training, shadow=shadow).sha256
    if found != sha256:
        raise StoreError(
            f"{parts.artefacts.root}: the adapter {sha256[:12]}… of round {index}, from which the next round's "
            "training starts, is missing or damaged, and training it again gives another one. "
            "Restore the folder, or set adapter.warm_start: false."
        )
    return parts.artefacts.path_of(sha256)
