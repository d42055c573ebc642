"""``posterior.dropout``: samples of MC dropout at another rate than training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from star_al.acquire.measures import bald
from support.posteriors import fit, learner, predict
from support.tiny_model import build_tiny_model

FILES = ("adapter_model.safetensors", "adapter_config.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def test_a_higher_rate_changes_the_samples_and_not_the_training(model: Path, tmp_path: Path) -> None:
    found, mean = {}, {}
    for rate in (None, 0.3, 0.7):
        one = learner(model, {"kind": "mc_dropout", "samples": 8, "dropout": rate})
        folder = fit(one, tmp_path / str(rate))
        assert json.loads((folder / "star_al.json").read_text())["dropout"] == (rate or 0.3)
        found[rate], mean[rate] = predict(one, folder), predict(one, folder, mean=True)
        assert all((folder / name).read_bytes() == (tmp_path / "None" / name).read_bytes() for name in FILES)
    np.testing.assert_array_equal(found[None], found[0.3])  # the rate of training
    np.testing.assert_array_equal(mean[None], mean[0.7])
    assert bald(found[0.7]).mean() > 2 * bald(found[0.3]).mean()


def test_samples_may_have_dropout_where_training_has_none(model: Path, tmp_path: Path) -> None:
    one = learner(model, {"kind": "mc_dropout", "samples": 4, "dropout": 0.5}, adapter={"dropout": 0.0})
    assert bald(predict(one, fit(one, tmp_path / "a"))).max() > 0
