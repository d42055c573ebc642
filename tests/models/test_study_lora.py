"""The study of LoRA: campaigns of all arms on a tiny model, cells that are kept and skipped, and the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import study_lora
from labels_data import SETS, Texts, split
from labels_data import Sizes as WholeSizes
from lora_arms import ARMS, ORDER
from lora_cells import Cell, LoraCells, Recipes, keep, missing, planned, run
from lora_report import write_report
from lora_sets import SIZES, Sizes, small_split
from markdown_tables import BEGIN, END
from recipes import Recipe, SharedModel

from star_al.models.learner import LoraLearner
from support.tiny_model import build_tiny_model

RECIPES = Recipes(
    alone=Recipe(steps=3),
    alone_many=Recipe(steps=3, output="classifier"),
    taught=Recipe(kind="taught", steps=3),
    taught_many=Recipe(kind="taught", steps=3, output="classifier"),
)


@pytest.fixture(scope="module", autouse=True)
def small_sets() -> Iterator[None]:
    """The sets at a size for tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SIZES:
            patch.setitem(SETS, name, WholeSizes(10, 10, 30, 100, 40))
            patch.setitem(
                SIZES,
                name,
                Sizes(
                    labels=77 if name == "banking77" else 3, pool=60, test=24, counts=(6, 12, 18, 24), batch=3
                ),
            )
        yield


@pytest.fixture(scope="module")
def texts() -> Texts:
    """150 texts with three labels, whose vectors are near the name of their label."""
    random = np.random.default_rng(0)
    names_C_d = np.eye(3, 12, dtype=np.float32)
    targets_N = random.integers(3, size=150)
    vectors = names_C_d[targets_N] + 0.4 * random.standard_normal((150, 12))
    labels = ("politics", "sport", "tech")
    return Texts(
        tuple(f"The {labels[c]} text {n}" for n, c in enumerate(targets_N)),
        targets_N,
        labels,
        vectors.astype(np.float32),
        names_C_d,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SharedModel:
    return SharedModel(str(build_tiny_model(tmp_path_factory.mktemp("model"))), "cpu")


@pytest.fixture(scope="module")
def records(texts: Texts, model: SharedModel) -> dict[str, dict[str, Any]]:
    """One campaign of each arm."""
    return {arm: run(Cell("bbc", arm, RECIPES.of("bbc", arm), 0), model, lambda _: texts) for arm in ORDER}


@pytest.mark.parametrize("arm", ["entropy", "random, taught"])
def test_a_shared_start_is_trained_once_and_changes_nothing(
    arm: str,
    texts: Texts,
    model: SharedModel,
    records: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[int] = []
    fit = LoraLearner.fit

    def counted(self: LoraLearner, labelled: Any, **rest: Any) -> str:
        trained.append(len(labelled))
        return fit(self, labelled, **rest)

    monkeypatch.setattr(LoraLearner, "fit", counted)
    for counts in ([6, 12, 18, 24], [12, 18, 24]):
        trained.clear()
        found = run(Cell("bbc", arm, RECIPES.of("bbc", arm), 0), model, lambda _: texts, tmp_path)
        assert trained == counts
        assert without_seconds(found) == without_seconds(records[arm])
    assert found["train_s"] > 0


def without_seconds(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.endswith("_s") and name != "seconds"}


def test_a_small_split_is_a_part_of_the_first_studys(texts: Texts) -> None:
    whole, small = split("bbc", texts, 3), small_split("bbc", texts, 3)
    assert small.texts_P == whole.texts_P[:60] and small.texts_T == whole.texts_T[:24]
    assert len(small.pool_P_d) == len(small.targets_P) == 60
    assert len(small.test_T_d) == len(small.test_targets_T) == 24


def test_each_arm_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(ARMS)


def test_a_campaign_measures_at_its_counts(records: dict[str, dict[str, Any]]) -> None:
    for arm, record in records.items():
        assert record["labels"] == [6, 12, 18, 24]
        assert len(set(record["chosen"])) == len(record["correct"]) == len(record["head_nll"]) == 4
        assert len(record["delivered"]) == 4 and max(record["delivered"]) > 0.5
        assert record["recipe"].startswith("taught" if arm.endswith("taught") else "lora")


def test_a_cell_is_the_same_each_time(
    records: dict[str, dict[str, Any]], texts: Texts, model: SharedModel
) -> None:
    first = records["recommended, taught"]
    again = run(Cell("bbc", "recommended, taught", RECIPES.taught, 0), model, lambda _: texts)
    same = [name for name in first if name != "seconds" and not name.endswith("_s")]
    assert {name: first[name] for name in same} == {name: again[name] for name in same}


def test_teaching_changes_the_model_but_no_choice_of_head_or_chance(
    records: dict[str, dict[str, Any]],
) -> None:
    for arm in ("random", "recommended by head"):
        plain, taught = records[arm], records[f"{arm}, taught"]
        assert plain["chosen"] == taught["chosen"] and plain["nll"] != taught["nll"]
    assert records["recommended"]["chosen"][-1] != records["recommended by head"]["chosen"][-1]


def test_with_many_labels_the_head_teaches_a_classifier(texts: Texts, model: SharedModel) -> None:
    arm = "random, taught"
    assert RECIPES.of("bbc", arm) == RECIPES.taught and RECIPES.of("bbc", "random") == RECIPES.alone
    assert RECIPES.of("banking77", "random") == RECIPES.alone_many
    recipe = RECIPES.of("banking77", arm)
    record = run(Cell("banking77", arm, recipe, 0), model, lambda _: texts)
    assert recipe.output == "classifier" and record["recipe"] == recipe.name
    assert record["accuracy"][-1] > 0.5  # it begins at what the head has taught a probe


def test_arms_with_a_random_start_begin_with_the_same_texts(records: dict[str, dict[str, Any]]) -> None:
    arms = [arm for arm, how in ARMS.items() if how.start == "random"]
    assert (
        len({records[arm]["chosen"][0] for arm in arms}) == len({records[arm]["nll"][0] for arm in arms}) - 1
    )
    assert len({records[arm]["chosen"][-1] for arm in ("random", "entropy", "star")}) == 3


@pytest.mark.parametrize(
    ("arm", "weights"),
    [
        ("star", [0.2, 0.5, 0.8]),
        ("star, nine batches", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("entropy", []),
    ],
)
def test_the_schedule_runs_to_its_end(
    records: dict[str, dict[str, Any]], arm: str, weights: list[float]
) -> None:
    assert records[arm]["weights"] == pytest.approx(weights)


def test_the_first_prequential_batch_is_by_the_adapted_model_alone(
    records: dict[str, dict[str, Any]],
) -> None:
    weights = records["star, prequential"]["weights"]
    assert weights[0] == 1.0 and len(weights) == 3


def test_the_report_is_written_from_the_cells_alone(
    records: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labels_results.RESAMPLES", 50)
    for name in ("bbc", "hwu64"):
        for arm in ORDER:
            for seed in range(2):
                record = {**records[arm], "set": name, "seed": seed}
                keep(Cell(name, arm, RECIPES.of(name, arm), seed), record, tmp_path / "cells")
    page = tmp_path / "lora.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_report(LoraCells(tmp_path / "cells", RECIPES), page)
    text = page.read_text()
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n") and "old" not in text
    assert "| recommended by head, taught " in text and "star, nine batches" in text


def test_a_cell_is_kept_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = planned(["bbc"], ["random"], RECIPES, range(1))
    monkeypatch.setattr(study_lora, "shared_model", lambda name, device: None)
    monkeypatch.setattr(study_lora, "run", lambda cell, model, load_texts, shared: _record(cell))
    assert study_lora.run_cell(cell, {}, "model", "cpu", tmp_path, tmp_path) == (cell, _record(cell))
    assert missing([cell], tmp_path) == []


def test_finished_cells_are_skipped_and_read_by_their_recipe(tmp_path: Path) -> None:
    cells = planned(["bbc", "hwu64"], ["random", "random, taught"], RECIPES, range(2))
    assert [cell.arm for cell in cells[:4]] == ["random", "random", "random, taught", "random, taught"]
    keep(cells[0], _record(cells[0]), tmp_path)
    keep(cells[2], _record(cells[2]), tmp_path)
    other = replace(cells[0], recipe=Recipe(steps=9))
    keep(other, _record(other) | {"accuracy": [0, 0]}, tmp_path)
    assert missing(cells, tmp_path) == [cells[1], *cells[3:]]
    kept = LoraCells(tmp_path, RECIPES)
    assert kept.records("bbc", "random")[0]["accuracy"] == [0.5, 0.75]
    assert kept.records("bbc", "random, taught")[0]["recipe"] == "taught,steps=3"
    assert kept.records("hwu64", "random") == {}


def _record(cell: Cell) -> dict[str, Any]:
    return {
        "set": cell.set,
        "arm": cell.arm,
        "recipe": cell.recipe.name,
        "seed": cell.seed,
        "accuracy": [0.5, 0.75],
    }
