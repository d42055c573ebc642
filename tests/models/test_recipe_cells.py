"""The study of recipes: names, cells that are kept and skipped, trainings on a tiny model, and the tables."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import recipe_cells
from bench_recipe import grid, parse, planned
from labels_data import SETS, Sizes, Texts
from markdown_tables import BEGIN, END
from recipe_cells import Cell, Workplace, draw_texts, finished, keep, missing
from recipe_probe import beside, fit_beside, fit_probe
from recipe_report import spread_over_seeds, write_report
from recipes import Recipe, SharedModel, campaign

from star_al.ports import ignore
from star_al.types import Item
from support.tiny_model import build_tiny_model


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """120 texts with three labels, whose vectors are near the name of their label."""
    monkeypatch.setattr(recipe_cells, "TEST", 30)
    monkeypatch.setitem(SETS, "bbc", Sizes(10, 10, 30, 80, 30))
    random = np.random.default_rng(0)
    names_C_d = np.eye(3, 12, dtype=np.float32)
    targets_N = random.integers(3, size=120)
    vectors = names_C_d[targets_N] + 0.4 * random.standard_normal((120, 12))
    labels = ("politics", "sport", "tech")
    return Texts(
        tuple(f"The {labels[c]} text {n}" for n, c in enumerate(targets_N)),
        targets_N,
        labels,
        vectors.astype(np.float32),
        names_C_d,
    )


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Recipe(), "lora"),
        (Recipe(kind="taught", rate=5e-4, share=0.75), "taught,rate=0.0005,share=0.75"),
        (
            Recipe(loss="labels", targets="qv", steps=20, layers=6),
            "lora,loss=labels,targets=qv,steps=20,layers=6",
        ),
    ],
)
def test_a_recipe_is_read_from_its_name(recipe: Recipe, name: str) -> None:
    assert recipe.name == name
    assert Recipe.parse(name) == recipe


def test_an_unknown_setting_of_a_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="colour=red is no setting"):
        Recipe.parse("lora,colour=red")


def test_the_grid_names_each_recipe_once_and_begins_with_the_head() -> None:
    names = [recipe.name for recipe in grid()]
    assert len(set(names)) == len(names) and names[:3] == ["head", "lora", "taught"]
    assert all(Recipe.parse(name).name == name for name in names)


def test_finished_cells_are_skipped(tmp_path: Path) -> None:
    asked = parse(["--sets", "bbc", "--recipes", "head", "lora", "--seeds", "0", "1", "--out", str(tmp_path)])
    cells = list(dict.fromkeys(planned(asked)))
    assert [(cell.recipe.name, cell.seed) for cell in cells] == [("head", 0), ("lora", 0), ("lora", 1)]
    keep(cells[1], {"accuracy": 0.5}, tmp_path)
    assert missing(cells, tmp_path) == [cells[0], cells[2]]
    assert finished(tmp_path) == [{"accuracy": 0.5}]


def test_a_draw_has_no_text_both_in_pool_and_test(texts: Texts) -> None:
    drawn, other = draw_texts("bbc", texts, 0), draw_texts("bbc", texts, 1)
    assert len(drawn.texts_T) == 30 and len(drawn.texts_P) == 80
    assert not set(drawn.texts_T) & set(drawn.texts_P)
    assert drawn.texts_T != other.texts_T
    assert drawn.texts_T == draw_texts("bbc", texts, 0).texts_T


def test_cells_from_training_to_tables(texts: Texts, tmp_path: Path) -> None:
    model = build_tiny_model(tmp_path / "model")
    place = Workplace(str(model), lambda _: texts)
    recipes = [Recipe(kind="head"), *(Recipe(kind=kind, steps=4) for kind in ("lora", "taught", "lpft"))]
    for recipe in recipes:
        cell = Cell("bbc", 12, recipe, 0, 0)
        record = place.run(cell)
        assert 0 <= record["accuracy"] <= 1 and record["nll"] > 0
        assert {name: record[name] for name in ("set", "labels", "draw", "seed", "recipe")} == {
            "set": "bbc",
            "labels": 12,
            "draw": 0,
            "seed": 0,
            "recipe": recipe.name,
        }
        assert record["correct"] == place.run(cell)["correct"]
        keep(cell, record, tmp_path / "cells")
    page = tmp_path / "recipe.md"
    page.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n")
    write_report(tmp_path / "cells", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "### bbc, 12 labels" in text
    assert [text.count(f"| {recipe.name} ") for recipe in recipes] == [1] * len(recipes)


def test_the_spread_is_that_within_a_draw() -> None:
    def record(draw: int, accuracy: float) -> dict[str, float]:
        return {"draw": draw, "accuracy": accuracy}

    assert spread_over_seeds([record(0, 0.5), record(1, 0.9)]) is None
    records = [record(0, 0.50), record(0, 0.52), record(1, 0.90), record(1, 0.94), record(2, 0.1)]
    assert spread_over_seeds(records) == pytest.approx(((1 + 1 + 4 + 4) / 2) ** 0.5)


def test_lora_beside_a_probe_starts_at_the_probe_and_learns_on(texts: Texts, tmp_path: Path) -> None:
    model = SharedModel(str(build_tiny_model(tmp_path / "model")))
    recipe, of = Recipe(kind="lpft", steps=20, rate=1e-2), draw_texts("bbc", texts, 0)
    # Answers that no state foretells: the probe cannot learn them, and LoRA knows them by heart.
    of = replace(of, targets_P=np.random.default_rng(1).integers(3, size=len(of.texts_P)))
    learner = model.learner("bbc", recipe, of.labels)
    probe = fit_probe(learner, of, 12)
    test = [Item(f"test-{row}", text) for row, text in enumerate(of.texts_T)]
    base = learner.predict(None, test, draws=None, seed=0, advance=ignore).log_probs_N_K_C[:, 0]
    assert beside(base, probe.adds_T_C) == pytest.approx(probe.alone_T_C, abs=1e-6)
    assert probe.alone_T_C.std(axis=0).max() > 0.01  # it tells texts apart
    folder = tmp_path / "adapter"
    folder.mkdir()
    adapter = campaign("bbc", recipe, of.labels, "none").adapter
    fit_beside(learner, adapter, probe, of, seed=0, folder=folder)
    labelled = [Item(f"pool-{row}", of.texts_P[row]) for row in range(12)]
    found = learner.predict(folder, labelled, draws=None, seed=0, advance=ignore).log_probs_N_K_C[:, 0]
    rows, right = np.arange(12), of.targets_P[:12]
    learned = beside(found, probe.adds_n_C)[rows, right].mean()
    assert learned > probe.alone_n_C[rows, right].mean() + 0.05
