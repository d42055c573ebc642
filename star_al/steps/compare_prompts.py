"""Which kind of prompt the untrained model answers better: the chat template's or the plain one.

A small chat model may be far better with the one or the other, and nobody can tell which without labels. The first
held-out labels tell, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from star_al.common.wording import count
from star_al.errors import ConfigError, ModelError
from star_al.parts import Parts
from star_al.ports import Learner
from star_al.steps.answers import Split, base_model_answers
from star_al.steps.measured import answered_items
from star_al.types import Item, JsonValue, Role

LEAST_LABELS = 20
MOST_LABELS = 200

LEVEL = 0.05
"""Two-sided level of McNemar's exact test, below which a difference is told."""


def compare_prompts(parts: Parts) -> str:
    """Compare both prompts on the held-out labels there are.

    Returns:
        A sentence for the user; empty if the model has one kind of prompt only, labels are few, or the prompt in
        use does no worse than chance explains.

    Raises:
        ModelError: The model cannot predict.
    """
    examples = _examples(parts)
    other = parts.learner.with_other_prompt()
    if other is None or len(examples) < LEAST_LABELS:
        return ""
    right_N = _right(parts, parts.learner, examples)
    try:
        other_right_N = _right(parts, other, examples)
    except (ModelError, ConfigError):  # the campaign does not need this prompt
        return ""
    if other_right_N.sum() <= right_N.sum():
        return ""
    # Only the texts that one of them gets wrong say which is better.
    if _two_sided(int((other_right_N & ~right_N).sum()), int((right_N ^ other_right_N).sum())) >= LEVEL:
        return ""
    is_chat = parts.spec.task.chat_template
    names = ("chat template", "plain prompt") if is_chat else ("plain prompt", "chat template")
    return (
        f"Without training the model does better with the {names[1]} ({other_right_N.mean():.0%} of "
        f"{count(len(examples), 'held-out text')} right) than with the {names[0]} ({right_N.mean():.0%}), "
        f"more than chance explains: task.chat_template: {'false' if is_chat else 'true'}"
    )


def _examples(parts: Parts) -> list[tuple[Item, JsonValue]]:
    """The first labelled held-out items with their labels."""
    labels = {}
    for role in (Role.AUDIT, Role.CALIBRATION):
        labels.update(parts.store.labels(parts.campaign.campaign_id, role))
    known = (item_id for item_id, label in labels.items() if not parts.task.has_no_column(label.value))
    item_ids = sorted(known)[:MOST_LABELS]
    items = parts.store.items(parts.campaign.campaign_id, item_ids)
    return [(item, labels[item.item_id].value) for item in items]


def _right(parts: Parts, learner: Learner, examples: Sequence[tuple[Item, JsonValue]]) -> NDArray[np.bool_]:
    """Whether the untrained model gives each item (N,) its label."""
    items, golds = zip(*examples, strict=True)
    split = Split(items, golds, parts.task)
    return answered_items(base_model_answers(parts, split, learner=learner), split).right_N


def _two_sided(n: int, of: int) -> float:
    from scipy import stats  # slow to import, and not every run compares

    return float(stats.binomtest(n, of).pvalue)
