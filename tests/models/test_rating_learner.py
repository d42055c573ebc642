"""A language model learns ratings by LoRA: it is scored on the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.models.learner import LoraLearner
from star_al.ports import ignore
from star_al.task import closed, make_task
from star_al.types import Item
from support.tiny_model import build_tiny_model


def test_levels_are_learned_by_their_numbers(tmp_path: Path) -> None:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "rating", "levels": 3, "names": ["bad", "fair", "good"]},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 120},
            "adapter": {"learning_rate": 1e-2, "dropout": 0.1, "epochs": 8},
            "annotator": {"kind": "oracle", "gold": "gold"},
        }
    )
    model = build_tiny_model(tmp_path / "model")
    learner = LoraLearner(closed(make_task(spec.task)), spec, str(model), posterior_method(spec.posterior))
    words = ("sport", "politics", "tech")
    items = [Item(f"i{n:02d}", f"{words[n % 3]} " * (1 + n % 4)) for n in range(24)]
    examples = [(item, str(1 + n % 3)) for n, item in enumerate(items)]
    folder = tmp_path / "adapter"
    folder.mkdir()
    learner.fit(examples, seed=0, folder=folder, parent=None, advance=ignore)
    found = learner.predict(folder, items, draws=range(2), seed=1, advance=ignore)
    assert found.answers == (("1", "2", "3"),) and found.log_probs_N_K_C.shape == (24, 2, 3)
    right = np.exp(found.log_probs_N_K_C).mean(axis=1).argmax(axis=1) == np.arange(24) % 3
    assert right.mean() == pytest.approx(1, abs=0.2)
