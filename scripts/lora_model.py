"""LoRA as the model of ``study_lora.py``: the product's learner on the texts of one split."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from labels_data import Split
from recipe_cells import lessons
from recipes import Recipe

from star_al.common.files import publish
from star_al.models.learner import LoraLearner
from star_al.ports import ignore
from star_al.rng import derive_seed
from star_al.types import FloatArray, IntArray, Item

SECONDS = "seconds.json"
"""The file of a shared adapter that says how long its training took."""


class Lora:
    """A LoRA that is trained anew for each number of labels, and the base model that it starts from.

    Args:
        learner: The product's learner.
        recipe: How it learns.
        of: The texts.
        shared: Folder of adapters for the starts that several campaigns have in common.
        n_shared: Labels of a start.
    """

    def __init__(
        self, learner: LoraLearner, recipe: Recipe, of: Split, shared: Path | None = None, n_shared: int = 0
    ) -> None:
        self._learner, self._recipe, self._of = learner, recipe, of
        self._shared, self._n_shared = shared, n_shared
        self._folder: TemporaryDirectory[str] | None = None
        self.seconds = {"train": 0.0, "pool": 0.0, "test": 0.0}

    def fit(self, rows_n: IntArray, head_P_C: FloatArray) -> None:
        """Train on labelled texts of the pool.

        Args:
            rows_n: Their rows.
            head_P_C: Log-probabilities by the head of the same labels, for a recipe by which it teaches.
        """
        self._forget()
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        kept = self._kept(rows_n)
        if kept is not None and kept.exists():
            shutil.copytree(kept, folder, dirs_exist_ok=True)
            self.seconds["train"] += json.loads((folder / SECONDS).read_text(encoding="utf-8"))
            return
        started = time.process_time()
        self._train(rows_n, head_P_C, folder)
        seconds = time.process_time() - started
        self.seconds["train"] += seconds
        if kept is not None:
            (folder / SECONDS).write_text(json.dumps(seconds), encoding="utf-8")
            _copy_whole(folder, kept)

    def _kept(self, rows_n: IntArray) -> Path | None:
        """Where the adapter is shared that is trained on these rows with this recipe; None if it is not a start."""
        if self._shared is None or len(rows_n) != self._n_shared:
            return None
        of = self._of
        parts = [of.name, of.seed, rows_n.tolist(), self._recipe.name, self._learner.versions()]
        return self._shared / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _train(self, rows_n: IntArray, head_P_C: FloatArray, folder: Path) -> None:
        of, labelled = self._of, rows_n.tolist()
        taught = None
        if self._recipe.kind == "taught":
            taught = lessons(of, frozenset(labelled), head_P_C, self._recipe)
        self._learner.fit(
            [
                (item, of.labels[of.targets_P[row]])
                for item, row in zip(self._pool(labelled), labelled, strict=True)
            ],
            seed=derive_seed(of.seed, len(labelled), "study/lora"),
            folder=folder,
            parent=None,
            advance=ignore,
            taught=taught,
        )

    def predict_pool(self, rows: IntArray) -> FloatArray:
        """Return log-probabilities (M, C) of some texts of the pool."""
        return self._predict(self._trained, self._pool(rows.tolist()), "pool")

    def predict_test(self) -> FloatArray:
        """Return log-probabilities (T, C) of the test texts."""
        items = [Item(f"test-{row}", text) for row, text in enumerate(self._of.texts_T)]
        return self._predict(self._trained, items, "test")

    @cached_property
    def base_P_C(self) -> FloatArray:
        """Log-probabilities of the whole pool by the base model."""
        return self._predict(None, self._pool(range(len(self._of.texts_P))), "pool")

    def close(self) -> None:
        """Delete the adapter."""
        self._forget()

    @property
    def _trained(self) -> Path:
        assert self._folder is not None, "nothing has been trained"
        return Path(self._folder.name)

    def _pool(self, rows: Sequence[int]) -> list[Item]:
        return [Item(f"pool-{row}", self._of.texts_P[row]) for row in rows]

    def _predict(self, folder: Path | None, items: Sequence[Item], what: str) -> FloatArray:
        started = time.process_time()
        found = self._learner.predict(folder, items, draws=None, seed=0, advance=ignore)
        self.seconds[what] += time.process_time() - started
        log_probs_N_C: FloatArray = found.log_probs_N_K_C[:, 0]
        return log_probs_N_C

    def _forget(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _copy_whole(folder: Path, target: Path) -> None:
    """Copy a folder so that another process sees all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as beside:
        whole = shutil.copytree(folder, Path(beside) / target.name)
        with suppress(OSError):  # another process was first
            publish(whole, target)
