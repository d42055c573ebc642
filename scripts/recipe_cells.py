"""Train and measure one cell of ``bench_recipe.py``: a set, a recipe, a number of labels, their draw and a seed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from labels_cells import packed
from labels_data import SETS, Split, Texts, divided
from labels_learners import Head
from recipe_probe import beside, fit_beside, fit_probe
from recipes import Recipe, SharedModel, campaign
from scipy.special import softmax

from star_al import rng
from star_al.common.files import replacing
from star_al.ports import Taught, ignore
from star_al.rng import derive_seed
from star_al.stats import metrics
from star_al.types import FloatArray, IntArray, Item

TEST = 300
"""Test texts of a cell."""


@dataclass(frozen=True)
class Cell:
    """One training: ``draw`` decides on pool, test and labels, ``seed`` on everything random in training."""

    set: str
    labels: int
    recipe: Recipe
    draw: int
    seed: int

    def path(self, folder: Path) -> Path:
        """The file of the finished cell."""
        return folder / self.set / f"{self.labels:03d}" / f"{self.recipe.name}-{self.draw}-{self.seed}.json"


def keep(cell: Cell, record: Mapping[str, Any], folder: Path) -> None:
    """Write the record of a finished cell."""
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(json.dumps(record) + "\n", encoding="utf-8")


def finished(folder: Path) -> list[dict[str, Any]]:
    """Return the records of all finished cells."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*/[!.]*.json"))]


def missing(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Those of some cells that are not finished, in their order."""
    return [cell for cell in cells if not cell.path(folder).exists()]


def draw_texts(name: str, texts: Texts, draw: int) -> Split:
    """Draw pool and test of a set. The pool is in random order, and its first texts are labelled."""
    order_N = rng.generator(draw, 0, f"bench/recipe/{name}").permutation(len(texts.texts))
    test, pool = order_N[:TEST], order_N[TEST : TEST + SETS[name].pool]
    return divided(name, draw, texts, pool, test)


class Workplace:
    """The model and the texts that cells share, each loaded once.

    Args:
        model: The language model, as a folder or a name on the hub.
        load_texts: Loads a set by its name.
        states: Folder where the frozen model's states of texts are kept; None to keep none.
    """

    def __init__(self, model: str, load_texts: Callable[[str], Texts], states: Path | None = None) -> None:
        self.model, self._states = SharedModel(model), states
        self._texts = cache(load_texts)
        self._drawn = cache(lambda name, draw: draw_texts(name, self._texts(name), draw))
        self._head = cache(self._fit_head)

    def run(self, cell: Cell) -> dict[str, Any]:
        """Train and measure a cell; return its record."""
        measures = {"head": self._measure_head, "lpft": self._measure_beside_probe}
        found = measures.get(cell.recipe.kind, self._measure_lora)(cell)
        own = {name: value for name, value in vars(cell).items() if name != "recipe"}
        return {**own, "recipe": cell.recipe.name, **found}

    def _fit_head(self, name: str, labels: int, draw: int) -> tuple[Head, float]:
        """Fit the product's head to the labelled texts; return it with the seconds that this took."""
        of = self._drawn(name, draw)
        started = time.process_time()
        head = Head(of)
        rows_n: IntArray = np.arange(labels)
        head.fit(rows_n, of.targets_P[rows_n])
        return head, time.process_time() - started

    def _measure_head(self, cell: Cell) -> dict[str, Any]:
        head, seconds = self._head(cell.set, cell.labels, cell.draw)
        targets_T = self._drawn(cell.set, cell.draw).test_targets_T
        return {**measured(head.predict_test(), targets_T), "train_s": round(seconds, 1), "score_s": 0.0}

    def _measure_lora(self, cell: Cell) -> dict[str, Any]:
        of = self._drawn(cell.set, cell.draw)
        # A text's id is its place in the draw.
        states = None if self._states is None else self._states / str(cell.draw)
        learner = self.model.learner(cell.set, cell.recipe, of.labels, states)
        examples = [
            (Item(f"pool-{row}", of.texts_P[row]), of.labels[of.targets_P[row]]) for row in range(cell.labels)
        ]
        taught = None
        if cell.recipe.kind == "taught":
            head, _ = self._head(cell.set, cell.labels, cell.draw)
            taught = lessons(of, range(cell.labels), head.predict_pool(), cell.recipe)
        test = [Item(f"test-{row}", text) for row, text in enumerate(of.texts_T)]
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            learner.fit(
                examples,
                seed=derive_seed(cell.seed, cell.labels, "bench/recipe"),
                folder=Path(folder),
                parent=None,
                advance=ignore,
                taught=taught,
            )
            trained = time.process_time()
            found = learner.predict(Path(folder), test, draws=None, seed=0, advance=ignore)
            scored = time.process_time()
        return {
            **measured(found.log_probs_N_K_C[:, 0], of.test_targets_T),
            "train_s": round(trained - started, 1),
            "score_s": round(scored - trained, 1),
        }

    def _measure_beside_probe(self, cell: Cell) -> dict[str, Any]:
        of = self._drawn(cell.set, cell.draw)
        learner = self.model.learner(cell.set, cell.recipe, of.labels)
        test = [Item(f"test-{row}", text) for row, text in enumerate(of.texts_T)]
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            probe = fit_probe(learner, of, cell.labels)
            probed = time.process_time()
            adapter = campaign(cell.set, cell.recipe, of.labels, "none").adapter
            seed = derive_seed(cell.seed, cell.labels, "bench/recipe")
            fit_beside(learner, adapter, probe, of, seed=seed, folder=Path(folder))
            trained = time.process_time()
            found = learner.predict(Path(folder), test, draws=None, seed=0, advance=ignore)
            scored = time.process_time()
        alone = measured(probe.alone_T_C, of.test_targets_T)
        return {
            **measured(beside(found.log_probs_N_K_C[:, 0], probe.adds_T_C), of.test_targets_T),
            "probe_accuracy": alone["accuracy"],
            "probe_nll": alone["nll"],
            "probe_s": round(probed - started, 1),
            "train_s": round(trained - probed, 1),
            "score_s": round(scored - trained, 1),
        }


def lessons(of: Split, labelled: Collection[int], log_probs_P_C: FloatArray, recipe: Recipe) -> Taught:
    """Return the head's answers to all texts of the pool that are not labelled.

    Args:
        of: The texts.
        labelled: Their rows that are labelled.
        log_probs_P_C: What the head predicts for the pool.
        recipe: How sharp the answers are made, and what they count.
    """
    rows = [row for row in range(len(of.texts_P)) if row not in labelled]
    items = [Item(f"pool-{row}", of.texts_P[row]) for row in rows]
    return Taught(items, softmax(log_probs_P_C[rows] * recipe.sharpness, axis=1), recipe.weight)


def measured(log_probs_T_C: FloatArray, targets_T: IntArray) -> dict[str, Any]:
    """Return how good predictions of the test texts are."""
    predicted_T = log_probs_T_C.argmax(axis=1)
    correct_T = predicted_T == targets_T
    bins = metrics.reliability_bins(np.exp(log_probs_T_C.max(axis=1)), correct_T)
    return {
        "accuracy": round(float(correct_T.mean()), 5),
        "nll": round(metrics.nll(log_probs_T_C, targets_T), 5),
        "ece": round(metrics.ece(bins), 5),
        "correct": packed(correct_T),
    }
