"""The cells of ``study_lora.py`` (set, arm, recipe, seed): which there are, how one runs, and where it is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labels_cells import packed_columns, unpacked_columns
from labels_data import Split, Texts
from lora_arms import ARMS
from lora_model import Lora
from lora_run import Campaign
from lora_sets import SIZES, small_split
from recipes import Recipe, SharedModel

from star_al.common.files import replacing
from star_al.config.spec.campaign import MANY_LABELS
from star_al.types import IntArray


@dataclass(frozen=True)
class Recipes:
    """How LoRA learns.

    Attributes:
        alone: From its labels alone, on a set with few labels.
        alone_many: From its labels alone, on a set with many labels, as the product draws the line.
        taught: From the head too, on a set with few labels.
        taught_many: From the head too, on a set with many labels.
    """

    alone: Recipe
    alone_many: Recipe
    taught: Recipe
    taught_many: Recipe

    def of(self, set_name: str, arm: str) -> Recipe:
        """The recipe of a set and an arm."""
        many = SIZES[set_name].labels >= MANY_LABELS
        if ARMS[arm].taught:
            return self.taught_many if many else self.taught
        return self.alone_many if many else self.alone


@dataclass(frozen=True)
class Cell:
    """One campaign: ``seed`` decides on the texts and on everything random in training."""

    set: str
    arm: str
    recipe: Recipe
    seed: int

    def path(self, folder: Path) -> Path:
        """The file of the finished cell."""
        name = self.arm.replace(", ", "+").replace(" ", "_")
        return folder / self.set / self.recipe.name / f"{name}-{self.seed}.json"


def planned(sets: Sequence[str], arms: Sequence[str], recipes: Recipes, seeds: Iterable[int]) -> list[Cell]:
    """All cells, seed by seed; each arm on all sets before the next arm."""
    return [Cell(name, arm, recipes.of(name, arm), seed) for seed in seeds for arm in arms for name in sets]


def missing(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Those of some cells that are not finished, in their order."""
    return [cell for cell in cells if not cell.path(folder).exists()]


def keep(cell: Cell, record: Mapping[str, Any], folder: Path) -> None:
    """Write the record of a finished cell."""
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(json.dumps(record) + "\n", encoding="utf-8")


def run(
    cell: Cell, model: SharedModel, load_texts: Callable[[str], Texts], shared: Path | None = None
) -> dict[str, Any]:
    """Run a cell and return its record.

    Args:
        cell: The cell.
        model: The language model.
        load_texts: Loads an encoded set by its name.
        shared: Folder in which arms with the same start find the adapter that the first of them trained.
    """
    began = time.process_time()
    of = small_split(cell.set, load_texts(cell.set), cell.seed)
    with TemporaryDirectory() as states, closing(_lora(cell, of, model, Path(states), shared)) as lora:
        found = Campaign(ARMS[cell.arm], of, SIZES[cell.set], lora).run()
    return {
        "set": cell.set,
        "arm": cell.arm,
        "recipe": cell.recipe.name,
        "seed": cell.seed,
        "dtype": model.dtype,
        **found,
        **{f"{what}_s": round(seconds, 1) for what, seconds in lora.seconds.items()},
        "seconds": round(time.process_time() - began, 1),
        "targets": packed_columns(of.test_targets_T),
    }


def _lora(cell: Cell, of: Split, model: SharedModel, states: Path, shared: Path | None) -> Lora:
    learner = model.learner(cell.set, cell.recipe, of.labels, states)
    return Lora(learner, cell.recipe, of, shared, SIZES[cell.set].counts[0])


class LoraCells:
    """The finished cells in a folder, as ``SetResults`` reads them.

    Args:
        folder: The folder; it need not exist.
        recipes: The recipes whose cells are read.
    """

    def __init__(self, folder: Path, recipes: Recipes) -> None:
        self._folder, self._recipes = folder, recipes

    def records(self, set_name: str, arm: str) -> dict[int, dict[str, Any]]:
        """The records of an arm by seed."""
        path = Cell(set_name, arm, self._recipes.of(set_name, arm), 0).path(self._folder)
        found = [
            json.loads(each.read_text(encoding="utf-8"))
            for each in path.parent.glob(f"{path.stem.removesuffix('-0')}-*.json")
        ]
        return {record["seed"]: record for record in sorted(found, key=lambda record: record["seed"])}

    def test_targets(self, set_name: str) -> dict[int, IntArray]:
        """Columns of the true labels of the test texts by seed."""
        return {
            seed: unpacked_columns(record["targets"])
            for arm in ARMS
            for seed, record in self.records(set_name, arm).items()
        }
