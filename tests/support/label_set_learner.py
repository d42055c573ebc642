"""The NumPy learner for texts with any number of labels, and the learner without torch of each kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.acquire.label_sets import base_predictions, set_predictions
from star_al.config.spec import task_spec
from star_al.ports import Advance, Learner, Pool, Taught, ignore
from star_al.task import MultiLabel, Task, closed, make_task
from star_al.task.columns import is_open
from star_al.types import BasePrediction, Item, JsonValue, Predictions
from support.drawing_learner import DrawingLearner
from support.numpy_learner import NumpyLearner


class LabelSetNumpyLearner(NumpyLearner):
    """Naive Bayes over words, with a yes and a no for each label."""

    def __init__(self, task: MultiLabel) -> None:
        self.names = task.spec.label_names
        self.sets = task
        pairs = [f"{name}: {answer}" for name in self.names for answer in ("no", "yes")]
        super().__init__(closed(make_task(task_spec({"kind": "classification", "labels": pairs}))))

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        self.base_calls += [item.item_id for item in items]
        return base_predictions(self.predict(None, items, draws=None, seed=0, advance=advance))

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        answers = [
            (item, f"{name}: {'yes' if has else 'no'}")
            for (item, _), row in zip(examples, self.sets.matrix(examples).tolist(), strict=True)
            for name, has in zip(self.names, row, strict=True)
        ]
        advance(len(examples))
        return super().fit(answers, pool=pool, seed=seed, folder=folder, parent=parent, advance=ignore)

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        found = super().predict(folder, items, draws=draws, seed=seed, advance=advance)
        n, samples, _ = found.log_probs_N_K_C.shape
        pairs_N_K_L_2 = found.log_probs_N_K_C.reshape(n, samples, len(self.names), 2)
        return set_predictions(found.item_ids, self.names, pairs_N_K_L_2)


def learner_for(task: Task) -> Learner:
    """Return a learner without torch for a task."""
    if isinstance(task, MultiLabel):
        return LabelSetNumpyLearner(task)
    return DrawingLearner(task) if is_open(task) else NumpyLearner(closed(task))
