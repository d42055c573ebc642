"""Which audit items each model of a round predicted right, from the stored predictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from star_al.parts import round_spec
from star_al.ports import Store
from star_al.task import make_task
from star_al.task.columns import is_right, predicted_value
from star_al.types import Role, Round

RightAnswers: TypeAlias = Mapping[str, Mapping[str, bool]]
"""By model and item id."""


def right_answers(store: Store, campaign_id: int, rounds: Sequence[Round]) -> dict[int, RightAnswers]:
    """The models' right and wrong answers to audit items, by round, model and item id, by today's labels.

    Items whose label has been renamed since a round are left out of it. Predictions for a test file are not
    stored, so a campaign with one has no answers.
    """
    labels = store.labels(campaign_id, Role.AUDIT)
    items = {item.item_id: item for item in store.items(campaign_id, sorted(labels))}
    found: dict[int, Mapping[str, Mapping[str, bool]]] = {}
    for round_ in rounds:
        task = make_task(round_spec(round_).task)
        right: dict[str, dict[str, bool]] = defaultdict(dict)
        for one in store.held_out(campaign_id, round_.index):
            item = items.get(one.item_id)
            if item is None:
                continue
            predicted = predicted_value(task, item, one.log_probs_C, one.answers)
            is_one = is_right(task, item, predicted, labels[item.item_id].value)
            if is_one is not None:
                right[one.model][one.item_id] = is_one
        found[round_.index] = dict(right)
    return found
