"""A learner without torch for tests of the loop: smoothed word counts, jittered for each posterior sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from star_al.errors import ModelError
from star_al.ports import Advance, Pool, Taught
from star_al.task import ClosedTask
from star_al.types import (
    BasePrediction,
    Float32Array,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
    Predictions,
)

EMBEDDING_WORDS = 24


class NumpyLearner:
    """Naive Bayes over words as a ``ports.Learner``; the base model derives its predictions from a hash of the text."""

    def __init__(self, task: ClosedTask, name: str = "numpy") -> None:
        self.task = task
        self.name = name
        self.base_calls: list[str] = []
        self.trained_on: list[int] = []
        self.taught: list[Taught | None] = []

    @property
    def base_key(self) -> str:
        return f"{self.name}-base of {', '.join(self.task.spec.label_names)}"  # labels are in the prompt

    @property
    def base_reads_pool(self) -> bool:
        return False

    @property
    def truncated(self) -> int:
        return 0

    def check(self, items: Sequence[Item] = ()) -> None:
        pass  # nothing to load, and every task works

    def versions(self) -> JsonObject:
        return {"learner": "numpy", "device": "cpu", "dtype": "float32"}

    def scoring_batch(self) -> SimpleNamespace:
        return SimpleNamespace(tokens=4096)  # as language models have it

    def with_other_prompt(self) -> NumpyLearner | None:
        return None  # there is no prompt

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        return n_examples + n_taught

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        self.base_calls += [item.item_id for item in items]
        advance(len(items))
        return [
            BasePrediction(item.item_id, _base_log_probs(item, self.task), self._prior(item))
            for item in items
        ]

    def _prior(self, item: Item) -> FloatArray | None:
        """Prediction for an empty text, if the task asks for contextual calibration."""
        if not self.task.spec.contextual_calibration:
            return None
        return _base_log_probs(replace(item, text=""), self.task)

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        counts: dict[str, list[float]] = {}
        width = max(len(self.task.choices(item)) for item, _ in examples)
        for item, value in examples:
            columns = self.task.shared_columns(item, value)
            for word in item.text.split():
                for column in columns:
                    counts.setdefault(word, [0.0] * width)[column] += 1.0 / len(columns)
            advance(1)
        if taught is not None:
            for item, probs_C in zip(taught.items, taught.probs_M_C, strict=True):
                for word in item.text.split():
                    row = counts.setdefault(word, [0.0] * width)
                    counts[word] = [old + taught.weight * p for old, p in zip(row, probs_C, strict=True)]
                advance(1)
        model = {"seed": seed, "parent": parent.name if parent else None, "counts": counts}
        if self.name != "numpy":
            model["name"] = self.name
        (folder / "model.json").write_text(json.dumps(model, sort_keys=True))
        self.trained_on.append(len(examples))
        self.taught.append(taught)
        return self.name

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        advance(len(items))
        ids = tuple(item.item_id for item in items)
        if folder is None:
            rows = [_base_log_probs(item, self.task)[None] for item in items]
            return Predictions(ids, _stack(rows, 1), (self.task.columns(items),))
        try:
            counts = json.loads((folder / "model.json").read_text())["counts"]
        except (OSError, ValueError) as exc:
            raise ModelError(f"{folder}: damaged adapter") from exc
        samples: Sequence[int | None] = [None] if draws is None else draws
        rows = [self._rows(item, counts, samples, seed) for item in items]
        return Predictions(ids, _stack(rows, len(samples)), (self.task.columns(items),))

    def export(
        self,
        folder: Path,
        out: Path,
        *,
        draws: range | None,
        seed: int,
        merged: bool,
        examples: Sequence[Item],
    ) -> JsonObject:
        raise ModelError("the NumPy learner is no language model")

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """Embed texts as bags of hashed words; with an adapter, append its predictions."""
        bags = np.array([_bag_of_words(item.text) for item in items])
        if folder is None:
            advance(len(items))
            return bags.astype(np.float32)
        predicted = self.predict(folder, items, draws=None, seed=0, advance=advance)
        return np.hstack([bags, np.exp(predicted.log_probs_N_K_C[:, 0])]).astype(np.float32)

    def _rows(
        self, item: Item, counts: dict[str, list[float]], samples: Sequence[int | None], seed: int
    ) -> FloatArray:
        n_labels = len(self.task.choices(item))
        rows = []
        for sample in samples:
            logits = _base_log_probs(item, self.task) * 0.1
            for word in item.text.split():
                jitter = 1.0 if sample is None else 0.5 + _unit(f"{seed}/{sample}/{word}")
                logits = logits + jitter * np.array(counts.get(word, [0.0] * n_labels))[:n_labels]
            rows.append(logits - np.logaddexp.reduce(logits))
        return np.stack(rows)


def _base_log_probs(item: Item, task: ClosedTask) -> FloatArray:
    logits = np.array([3.0 * _unit(f"{item.text}/{name}") for name in task.choices(item)])
    return np.asarray(logits - np.logaddexp.reduce(logits), dtype=np.float64)


def _bag_of_words(text: str) -> FloatArray:
    words = [int(_unit(word) * EMBEDDING_WORDS) for word in text.split()]
    return np.bincount(words, minlength=EMBEDDING_WORDS) / max(1, len(words))


def _stack(rows: Sequence[FloatArray], samples: int) -> FloatArray:
    width = max((row.shape[1] for row in rows), default=1)
    stacked = np.full((len(rows), samples, width), -np.inf)
    for position, row in enumerate(rows):
        stacked[position, :, : row.shape[1]] = row
    return stacked


def _unit(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2.0**48
