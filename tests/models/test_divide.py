"""Items that are divided among processes are read as one process reads them, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.app.language_learners import language_learner
from star_al.compute.results import Result, joined
from star_al.config.file import load_campaign
from star_al.models import inference
from star_al.models.learner import LoraLearner
from star_al.ports import Embed, Job, Predict, PredictBase, ignore
from star_al.types import Item, Predictions
from support.campaigns import make_rows, write_campaign
from support.tiny_model import build_tiny_model

ITEMS = [Item(f"{n:03d}", row["text"]) for n, row in enumerate(make_rows(60, seed=3))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def opened(folder: Path, model: Path, **changes: Any) -> LoraLearner:
    spec = load_campaign(write_campaign(folder, model__batch_tokens=256, **changes)).spec
    learner = language_learner(spec, str(model))
    assert isinstance(learner, LoraLearner)
    return learner


@pytest.mark.parametrize("output", ["label_names", "classifier"])
def test_parts_are_read_as_they_are_among_all(tmp_path: Path, model: Path, output: str) -> None:
    learner, folder = opened(tmp_path, model, adapter__output=output), tmp_path / "adapter"
    folder.mkdir()
    examples = [(item, ["sport", "business", "tech"][n % 3]) for n, item in enumerate(ITEMS[:6])]
    learner.fit(examples, seed=0, folder=folder, parent=None, advance=ignore)
    parts = learner.divide(ITEMS, 4, adapted=True)
    assert len(parts) == 4
    assert sorted(position for part in parts for position in part) == list(range(60))

    def both(make: Any, groups: list[list[int]]) -> tuple[Any, Any]:
        def run(items: list[Item]) -> Result:
            job: Job[Any] = make(items)
            found: Result = job.run(learner, ignore)
            return found

        return run(ITEMS), joined([run([ITEMS[n] for n in group]) for group in groups], groups)

    whole, pieces = both(lambda items: Predict(folder, items, range(2), 7), parts)
    assert isinstance(pieces, Predictions) and pieces.item_ids == whole.item_ids
    assert np.array_equal(pieces.log_probs_N_K_C, whole.log_probs_N_K_C) and pieces.answers == whole.answers
    whole, pieces = both(lambda items: Embed(folder, items), parts)
    assert np.array_equal(pieces, whole)
    whole, pieces = both(PredictBase, learner.divide(ITEMS, 3, adapted=False))
    assert [one.item_id for one in pieces] == [one.item_id for one in whole]
    assert all(np.array_equal(a.log_probs_C, b.log_probs_C) for a, b in zip(pieces, whole, strict=True))


def test_items_that_are_read_together_stay_together(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = opened(tmp_path, model, adapter__output="label_names")
    assert learner.divide(ITEMS[:1], 4, adapted=True) == [[0]]
    monkeypatch.setattr(inference, "FEWEST_NODES", 2)  # a search for labels reads few prompts at a time
    assert learner.divide(ITEMS, 4, adapted=True) == [list(range(60))]
