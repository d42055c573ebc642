"""Run one cell of ``study_labels.py`` (set, arm, seed), and keep finished cells as lines of JSON files.

A cell's line holds everything that the report needs, so the tables can be made again without texts or encoder:
the metrics of each round, and for the bootstrap which test texts were predicted right.
"""

from __future__ import annotations

import base64
import json
import time
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labels_arms import ARMS, HEAD_REVISION, Arm
from labels_choices import CHOOSERS, View
from labels_data import SETS, Split, Texts, split, wrong_answers
from labels_learners import LEARNERS, Learner
from numpy.typing import NDArray

from star_al import rng
from star_al.acquire.embeddings import unit_vectors
from star_al.common.files import replacing
from star_al.stats import metrics
from star_al.types import FloatArray, IntArray

FLOOR_DRAWS = 200
"""Draws of right and wrong predictions for the noise floor of the ECE."""

TESTS = "tests"
"""Name of the file with the true labels of the test texts."""


@dataclass(frozen=True, order=True)
class Cell:
    """One run of the study."""

    seed: int
    set: str
    arm: str


def revision(arm: Arm) -> int:
    """The revision of what an arm uses; that of scikit-learn and the other packages does not change."""
    return HEAD_REVISION if "head" in arm.learner else 0


# -- one run --------------------------------------------------------------------------------------------


def run(cell: Cell, texts: Texts) -> dict[str, Any]:
    """Run a cell: choose, answer and learn until the budget is spent; measure after each batch."""
    # Few texts for many labels look like a regression to scikit-learn, which then warns in each round.
    warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
    began, arm = time.process_time(), ARMS[cell.arm]
    of = split(cell.set, texts, cell.seed)
    learner = LEARNERS[arm.learner](of)
    answers_P = wrong_answers(of, arm.wrong)
    at_start = learner.without_labels()
    rows_n: IntArray = np.zeros(0, dtype=np.int64)
    rounds, choosing = [], 0.0
    log_probs_P_C = None if at_start is None else at_start[: len(of.texts_P)]
    while len(rows_n) < of.sizes.budget:
        asked = time.process_time()
        rows_n = np.concatenate([rows_n, _choose(arm, of, rows_n, answers_P, log_probs_P_C)])
        choosing += time.process_time() - asked
        learner.fit(rows_n, answers_P[rows_n])
        log_probs_P_C = learner.predict_pool()
        rounds.append(_measured(learner.predict_test(), of.test_targets_T) | {"labels": len(rows_n)})
    seconds = time.process_time() - began
    between = {
        str(n): _closely_measured(learner, rows_n[:n], answers_P, of)
        for n in sorted({of.sizes.ece_at, of.sizes.half})
    }
    names = ("labels", "accuracy", "macro_f1", "nll", "ece", "correct")
    return {
        "set": cell.set,
        "arm": cell.arm,
        "seed": cell.seed,
        "revision": revision(arm),
        "zero_shot": None if at_start is None else _accuracy(at_start[len(of.texts_P) :], of.test_targets_T),
        **{name: [each[name] for each in rounds] for name in names},
        "between": between,
        "seconds": round(seconds, 2),
        "choosing": round(choosing, 2),
    }


def _choose(
    arm: Arm, of: Split, rows_n: IntArray, answers_P: IntArray, log_probs_P_C: FloatArray | None
) -> IntArray:
    name, k = (arm.then, of.sizes.batch) if len(rows_n) else (arm.start, of.sizes.start)
    k = min(k, of.sizes.budget - len(rows_n))
    view = View(of, unit_vectors(of.pool_P_d), rows_n, answers_P[rows_n], log_probs_P_C, k)
    chosen = CHOOSERS[name](view)
    if len(set(chosen.tolist()) - set(rows_n.tolist())) != k:
        raise ValueError(f"{name} chose {chosen.tolist()}, which are not {k} new texts")
    return chosen


def _measured(log_probs_T_C: FloatArray, targets_T: IntArray) -> dict[str, Any]:
    predicted_T = log_probs_T_C.argmax(axis=1)
    correct_T = predicted_T == targets_T
    confidence_T = np.exp(log_probs_T_C.max(axis=1))
    return {
        "accuracy": round(float(correct_T.mean()), 5),
        "macro_f1": round(metrics.macro_f1(predicted_T, targets_T), 5),
        "nll": round(metrics.nll(log_probs_T_C, targets_T), 5),
        "ece": round(metrics.ece(metrics.reliability_bins(confidence_T, correct_T)), 5),
        "correct": packed(correct_T),
    }


def _closely_measured(learner: Learner, rows_n: IntArray, answers_P: IntArray, of: Split) -> dict[str, Any]:
    """Learn from these texts alone and measure with predictions and the noise floor of the ECE."""
    learner.fit(rows_n, answers_P[rows_n])
    log_probs_T_C = learner.predict_test()
    found = _measured(log_probs_T_C, of.test_targets_T)
    found["ece_floor"] = round(ece_floor(np.exp(log_probs_T_C.max(axis=1)), of.seed), 5)
    found["predicted"] = packed_columns(log_probs_T_C.argmax(axis=1))
    del found["correct"]
    return found


def ece_floor(confidence_T: FloatArray, seed: int) -> float:
    """The mean ECE of predictions that are right exactly as often as their confidence says."""
    random = rng.generator(seed, 0, "study/ece floor")
    right_D_T = random.random((FLOOR_DRAWS, len(confidence_T))) < confidence_T
    bins = [metrics.reliability_bins(confidence_T, right_T) for right_T in right_D_T]
    return float(np.mean([metrics.ece(each) for each in bins]))


def _accuracy(log_probs_T_C: FloatArray, targets_T: IntArray) -> float:
    return round(metrics.accuracy(log_probs_T_C.argmax(axis=1), targets_T), 5)


# -- finished cells -------------------------------------------------------------------------------------


def packed(flags_N: NDArray[np.bool_]) -> str:
    """Flags as base64 of their bits."""
    return base64.b64encode(np.packbits(flags_N).tobytes()).decode("ascii")


def unpacked(text: str, n: int) -> NDArray[np.bool_]:
    """The ``n`` flags of ``packed``."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=n).astype(bool)


def packed_columns(columns_N: IntArray) -> str:
    """Columns below 256 as base64 of their compressed bytes."""
    return base64.b64encode(zlib.compress(columns_N.astype(np.uint8).tobytes(), 9)).decode("ascii")


def unpacked_columns(text: str) -> IntArray:
    """The columns of ``packed_columns``."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8).astype(np.int64)


class Cells:
    """The finished cells in a folder: one file for each set and arm, one line for each seed.

    Args:
        folder: The folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def records(self, set_name: str, arm: str) -> dict[int, dict[str, Any]]:
        """The records of an arm by seed; those of an earlier revision are left out."""
        found = {record["seed"]: record for record in self._lines(set_name, arm)}
        return {seed: record for seed, record in found.items() if record["revision"] == revision(ARMS[arm])}

    def test_targets(self, set_name: str) -> dict[int, IntArray]:
        """Columns of the true labels of the test texts by seed."""
        return {line["seed"]: unpacked_columns(line["targets"]) for line in self._lines(set_name, TESTS)}

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of some cells that are not finished, in their order."""
        asked = list(cells)
        there = {(name, arm): self.records(name, arm).keys() for name, arm in {(c.set, c.arm) for c in asked}}
        return [cell for cell in asked if cell.seed not in there[cell.set, cell.arm]]

    def add(self, record: Mapping[str, Any], texts: Texts) -> None:
        """Keep a finished cell, and the true labels of its test texts."""
        self._put(record["set"], record["arm"], record)
        if record["seed"] not in self.test_targets(record["set"]):
            targets_T = split(record["set"], texts, record["seed"]).test_targets_T
            self._put(record["set"], TESTS, {"seed": record["seed"], "targets": packed_columns(targets_T)})

    def _put(self, set_name: str, name: str, line: Mapping[str, Any]) -> None:
        lines = {each["seed"]: each for each in self._lines(set_name, name)} | {line["seed"]: line}
        path = self._path(set_name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(lines[seed], separators=(",", ":")) + "\n" for seed in sorted(lines))
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")

    def _lines(self, set_name: str, name: str) -> list[dict[str, Any]]:
        path = self._path(set_name, name)
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _path(self, set_name: str, name: str) -> Path:
        return self._folder / set_name / f"{name.replace(', ', '+').replace(' ', '_')}.jsonl"


def planned(sets: Iterable[str], arms: Iterable[str], seeds: int) -> list[Cell]:
    """All cells, seed by seed, so that a study that is stopped has complete seeds."""
    names, every = list(sets), list(arms)
    return [Cell(seed, name, arm) for seed in range(seeds) for name in names for arm in every]


def sets_of(cells: Iterable[Cell]) -> list[str]:
    """The sets that some cells need, in the order of ``SETS``."""
    needed = {cell.set for cell in cells}
    return [name for name in SETS if name in needed]
