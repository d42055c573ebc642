"""A campaign runs with each posterior when only the posterior section of its file changes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from star_al.config.writing import with_values
from star_al.types import JsonObject
from support.campaigns import write_campaign
from support.posteriors import EVERY

SMALL = {
    "adapter__target_modules": ["q_proj"],
    "acquisition__batch_size": 3,
    "evaluation__size": 4,
    "evaluation__calibration": 3,
    "evaluation__stop_set": 4,
    "stopping__max_rounds": 2,
}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_campaign_with_each_posterior(
    star_al: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "model").symlink_to(model)
    config = write_campaign(tmp_path, n=18, posterior=dict(EVERY[name]), **SMALL)
    code, _, err = star_al("run", config)
    assert code == 0, err

    _, history, _ = star_al("history", config, "--format", "json")
    rounds = json.loads(history)
    assert [row["labels"] for row in rounds] == [0, 3, 6] and rounds[-1]["state"] == "stopped"
    assert all(0 < row["nll"] < 5 and 0 <= row["accuracy"] <= 1 for row in rounds)

    code, explained, err = star_al("explain", config, "--round", 1, "--format", "json")
    assert code == 0, err
    assert [row["rank"] for row in json.loads(explained)] == [1, 2, 3]
    code, replayed, err = star_al("replay", config, "--round", 1)
    assert code == 0, err
    assert "the same 3 texts in the same order and trained the same adapter" in replayed

    texts = tmp_path / "pool.jsonl"
    code, predicted, err = star_al("predict", config, "--in", texts, "--out", tmp_path / "p.jsonl")
    assert code == 0 and "18 predictions" in predicted and "adapter of round 2" in predicted, err
    code, _, err = star_al("export", config, "--out", tmp_path / "e.jsonl", "--with-predictions")
    assert code == 0, err
    predictions, exported = (
        {row["text"]: row for row in map(json.loads, (tmp_path / file).read_text().splitlines())}
        for file in ("p.jsonl", "e.jsonl")
    )
    models = {text: row["confidence"] for text, row in exported.items() if row["kind"] == "model"}
    assert len(exported) == 18 and len(models) > 2
    assert models == pytest.approx({text: predictions[text]["confidence"] for text in models}, abs=1e-4)


def store_predictive(database: Path, predictive: str) -> None:
    """Write what version 0.1 stored with each Laplace posterior into the campaign's and its rounds' configs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in ("campaigns", "rounds"):
            changed = connection.execute(
                f"UPDATE {table} SET config = json_set(config, '$.posterior.predictive', ?)", [predictive]
            )
            assert changed.rowcount > 0


@pytest.fixture
def of_version_0_1(
    star_al: Callable[..., tuple[int, str, str]], model: Path, tmp_path: Path
) -> Callable[[str], Path]:
    """The file of a campaign that version 0.1 left after a round with an adapter."""

    def make(predictive: str) -> Path:
        (tmp_path / "model").symlink_to(model)
        changes = {**SMALL, "posterior": dict(EVERY["laplace"]), "stopping__max_rounds": 3}
        config = write_campaign(tmp_path, n=18, **changes)
        code, _, err = star_al("run", config, "--max-rounds", 2)
        assert code == 0, err
        store_predictive(tmp_path / "small.db", predictive)
        return config

    return make


def test_a_laplace_campaign_of_version_0_1_goes_on(
    star_al: Callable[..., tuple[int, str, str]], of_version_0_1: Callable[[str], Path]
) -> None:
    config = of_version_0_1("sampling")
    code, replayed, err = star_al("replay", config, "--round", 1)
    assert code == 0 and "trained the same adapter" in replayed, err
    code, _, err = star_al("run", config)
    assert code == 0, err
    _, history, _ = star_al("history", config, "--format", "json")
    assert [row["labels"] for row in json.loads(history)] == [0, 3, 6, 9]


def test_a_campaign_with_linearised_adapters_says_how_its_labels_go_on(
    star_al: Callable[..., tuple[int, str, str]], of_version_0_1: Callable[[str], Path], tmp_path: Path
) -> None:
    config = of_version_0_1("linearised")
    texts = ("--in", tmp_path / "pool.jsonl", "--out", tmp_path / "predictions.jsonl")
    for command in (("run",), ("replay", "--round", 1), ("predict", *texts)):
        code, _, err = star_al(command[0], config, *command[1:])
        assert code == 2 and "posterior.predictive: linearised" in err and "star-al export" in err, err
    assert star_al("status", config)[0] == 0
    out = tmp_path / "labelled.jsonl"
    code, _, err = star_al("export", config, "--out", out)
    assert code == 0, err
    changes: JsonObject = {
        "name": "next",
        "data": {"path": out.name, "label": "label"},
        "annotator.gold": "data_label",  # where the export puts the user's own column of this name
    }
    config.write_text(with_values(config.read_text(), changes))
    code, _, err = star_al("run", config, "--max-rounds", 1)
    assert code == 0, err
