"""The cells of ``study_open.py`` (set, arm, seed): which there are, how one runs, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labels_cells import unpacked_columns
from open_arms import ARMS
from open_run import GRADES, Campaign, SharedModel
from open_sets import SETS, Row, draw

from star_al.common.files import replacing
from star_al.types import FloatArray, IntArray


@dataclass(frozen=True)
class Cell:
    """One campaign: ``seed`` decides on the texts and on everything random in it."""

    set: str
    arm: str
    seed: int

    def path(self, folder: Path) -> Path:
        """The file of the finished cell."""
        name = self.arm.replace(", ", "+").replace(" ", "_")
        return folder / self.set / f"{name}-{self.seed}.json"


def planned(sets: Sequence[str], arms: Sequence[str], seeds: Iterable[int]) -> list[Cell]:
    """All cells, seed by seed; each set with all arms before the next set."""
    return [Cell(name, arm, seed) for seed in seeds for name in sets for arm in arms]


def missing(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Those of some cells that are not finished, in their order."""
    return [cell for cell in cells if not cell.path(folder).exists()]


def keep(cell: Cell, record: Mapping[str, Any], folder: Path) -> None:
    """Write the record of a finished cell."""
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(json.dumps(record) + "\n", encoding="utf-8")


def run(cell: Cell, model: SharedModel, rows: Sequence[Row]) -> dict[str, Any]:
    """Run a cell and return its record."""
    pool, test = draw(cell.set, rows, cell.seed)
    campaign = Campaign(cell.set, ARMS[cell.arm], pool, test, cell.seed, model)
    found = campaign.run()
    seconds = {f"{what}_s": round(seconds, 1) for what, seconds in campaign.seconds.items()}
    return {
        "set": cell.set,
        "arm": cell.arm,
        "seed": cell.seed,
        "test": len(test),
        **found,
        **seconds,
        "seconds": round(sum(campaign.seconds.values()), 1),
    }


def grades_of(record: Mapping[str, Any]) -> FloatArray:
    """The grade of each test text at each count, (R, T)."""
    return np.array([unpacked_columns(text) for text in record["grades"]]) / GRADES


class OpenCells:
    """The finished cells in a folder, as ``SetResults`` reads them.

    Args:
        folder: The folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self, set_name: str, arm: str) -> dict[int, dict[str, Any]]:
        """The records of an arm by seed."""
        path = Cell(set_name, arm, 0).path(self._folder)
        found = [
            json.loads(each.read_text(encoding="utf-8"))
            for each in path.parent.glob(f"{path.stem.removesuffix('-0')}-*.json")
        ]
        return {record["seed"]: record for record in sorted(found, key=lambda record: record["seed"])}

    def test_targets(self, set_name: str) -> dict[int, IntArray]:
        """A column of each test text by seed. Answers have none, and texts alone are counted."""
        return {
            seed: np.zeros(record["test"], dtype=np.int64)
            for arm in ARMS
            for seed, record in self.records(set_name, arm).items()
        }


def sets_with(cells: OpenCells) -> list[str]:
    """The sets that have finished cells."""
    return [name for name in SETS if cells.test_targets(name)]
