"""Before anything is trained, a run says which kind of prompt the untrained model answers better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from star_al.ports import Advance, Pool
from star_al.task import closed
from star_al.types import BasePrediction, Item
from support.numpy_learner import NumpyLearner
from support.world import World


class Knowing(NumpyLearner):
    """Knows a share of the held-out items' labels, and gives the other items a wrong one."""

    def __init__(self, world: World, share: float, other: Knowing | None = None) -> None:
        super().__init__(closed(world.learner.task))
        self._world, self._share, self._other = world, share, other

    @property
    def base_key(self) -> str:
        return f"knows {self._share}"

    def with_other_prompt(self) -> NumpyLearner | None:
        return self._other

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        labels = self._world.store.labels(self._world.campaign_id)
        known = sorted(labels)[: round(self._share * len(labels))]
        names = self.task.spec.label_names
        found = []
        for item in items:
            label = labels.get(item.item_id)
            place = names.index(str(label.value)) if label else 0
            probs = np.full(len(names), 0.1)
            probs[place if item.item_id in known else (place + 1) % len(names)] = 1.0
            found.append(BasePrediction(item.item_id, np.log(probs / probs.sum())))
        return found


@pytest.mark.parametrize(
    ("chat", "plain", "words"),
    [
        (
            0.2,
            0.8,
            "plain prompt (80% of 30 held-out texts right) than with the chat template (20%), more than",
        ),
        (0.5, 0.6, ""),  # may be chance
        (0.8, 0.2, ""),
        (0.5, 0.5, ""),
    ],
)
def test_the_better_prompt_is_named(tmp_path: Path, chat: float, plain: float, words: str) -> None:
    world = world_with(tmp_path, chat, plain)
    world.run(max_rounds=1)
    advice = [each for each in world.progress.said if "Without training" in each]
    assert len(advice) == bool(words)
    assert all(words in each and each.endswith("task.chat_template: false") for each in advice)


def world_with(folder: Path, chat: float, plain: float, held_out: int = 30) -> World:
    evaluation = {"kind": "audit", "size": held_out - 10, "calibration": 10, "stop_set": 10}
    world = World(folder, n=80, evaluation=evaluation)
    world.learner = Knowing(world, chat, Knowing(world, plain))
    return world


def test_few_labels_say_nothing(tmp_path: Path) -> None:
    world = world_with(tmp_path, 0.0, 1.0, held_out=19)
    world.run(max_rounds=1)
    assert not any("Without training" in each for each in world.progress.said)


def test_it_is_said_once_and_before_the_first_training(tmp_path: Path) -> None:
    world = world_with(tmp_path, 0.2, 0.8)
    for _ in range(2):
        world.run(max_rounds=1)
    advice = [place for place, each in enumerate(world.progress.said) if "Without training" in each]
    first = next(place for place, each in enumerate(world.progress.said) if each.startswith("Round 0"))
    assert len(advice) == 1 and advice[0] < first
