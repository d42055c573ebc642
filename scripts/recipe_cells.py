"""Train and measure one cell of ``bench_recipe.py``: a set, a recipe, a number of labels, their draw and a seed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from labels_cells import packed
from labels_data import SETS, Split, Texts, divided
from labels_learners import Head
from scipy.special import softmax

from star_al import rng
from star_al.app.compose import posterior_method
from star_al.common.files import replacing
from star_al.config.spec import CampaignSpec
from star_al.head.label_names import plain_name
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.learner import LoraLearner
from star_al.ports import Taught, ignore
from star_al.rng import derive_seed
from star_al.stats import metrics
from star_al.task import make_task
from star_al.types import FloatArray, IntArray, Item

TEST, MAX_TOKENS = 300, 64
"""Test texts of a cell, and tokens of a prompt: so that a cell takes a few minutes."""

PROMPTS = {
    "bbc": ("Topics: {labels}.", "Topic:"),
    "sms_spam": ("Kinds of text messages: {labels}.", "Kind:"),
    "banking77": ("Questions to a bank, and what they are about.", "About:"),
    "hwu64": ("Orders to a home assistant, and what they are about.", "About:"),
}
"""Instruction, and what comes after the text. With 64 or 77 labels, a list of them would be longer than the texts."""


@dataclass(frozen=True)
class Recipe:
    """How a model learns.

    Attributes:
        kind: The head alone, LoRA, or LoRA taught by the head.
        loss: ``adapter.loss``.
        rate: ``adapter.learning_rate``.
        targets: ``q, v`` or all linear layers.
        steps: Optimiser steps, in all.
        batch: Texts of a minibatch.
        layers: Adapted blocks, the last ones; ``None`` for all.
        average: ``adapter.average``.
        share: ``adapter.taught_share``.
        weight: What a taught text counts.
        sharpness: Power that the head's probabilities are raised to before they are taught.
        decay: ``adapter.weight_decay_b``.
        dropout: ``adapter.dropout``.
    """

    kind: Literal["head", "lora", "taught"] = "lora"
    loss: str = "answer"
    rate: float = 1e-3
    targets: Literal["qv", "all"] = "all"
    steps: int = 60
    batch: int = 8
    layers: int | None = None
    average: float = 0.0
    share: float = 0.5
    weight: float = 1.0
    sharpness: float = 1.0
    decay: float = 0.5
    dropout: float = 0.1

    @property
    def name(self) -> str:
        """The kind, and every setting that is not the default, as it is written in a file's name."""
        plain = Recipe()
        own = [
            f"{field.name}={getattr(self, field.name):g}"
            if isinstance(getattr(self, field.name), float)
            else f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.name != "kind" and getattr(self, field.name) != getattr(plain, field.name)
        ]
        return ",".join([self.kind, *own])

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read what ``name`` writes.

        Raises:
            ValueError: A part is no setting of a recipe.
        """
        kind, *parts = text.split(",")
        known = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        values: dict[str, Any] = {"kind": kind}
        for part in parts:
            name, _, value = part.partition("=")
            if name not in known:
                raise ValueError(f"{text}: {part} is no setting of a recipe; known are {', '.join(known)}")
            like = type(known[name]) if known[name] is not None else int
            values[name] = like(value)
        return cls(**values)


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


class SharedModel:
    """A language model that is loaded once for all trainings.

    Args:
        name: The model, as a folder or a name on the hub.
        device: ``model.device``.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        self._name, self._device = name, device

    @cached_property
    def _backbone(self) -> Backbone:
        backbone = load_backbone(self._name, revision=None, dtype="bfloat16", device=self._device)
        _ = backbone.readout  # loads the weights now, so that no cell's seconds include it
        return backbone

    def learner(self, set_name: str, recipe: Recipe, labels: Sequence[str]) -> LoraLearner:
        """Return a learner for a set and a recipe."""
        spec = campaign(set_name, recipe, labels, self._name)
        learner = LoraLearner(make_task(spec.task), spec, self._name, posterior_method(spec.posterior))
        learner.backbone = self._backbone
        return learner


class Workplace:
    """The model and the texts that cells share, each loaded once.

    Args:
        model: The language model, as a folder or a name on the hub.
        load_texts: Loads a set by its name.
    """

    def __init__(self, model: str, load_texts: Callable[[str], Texts]) -> None:
        self.model = SharedModel(model)
        self._texts = cache(load_texts)
        self._drawn = cache(lambda name, draw: draw_texts(name, self._texts(name), draw))
        self._head = cache(self._fit_head)

    def run(self, cell: Cell) -> dict[str, Any]:
        """Train and measure a cell; return its record."""
        found = self._measure_head(cell) if cell.recipe.kind == "head" else self._measure_lora(cell)
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
        learner = self.model.learner(cell.set, cell.recipe, of.labels)
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


def campaign(name: str, recipe: Recipe, labels: Sequence[str], model: str) -> CampaignSpec:
    """Return the settings of a set and a recipe, as a campaign has them."""
    instruction, after = PROMPTS[name.removesuffix("_tail")]
    return CampaignSpec.model_validate(
        {
            "name": "recipe",
            "data": {"path": "pool.jsonl"},
            "task": {
                "kind": "classification",
                "labels": [{"name": name, "verbaliser": plain_name(name)} for name in labels],
                "chat_template": False,
                "instruction": instruction,
                "template": f"{{text}}\n\n{after}",
            },
            "model": {"name": model, "dtype": "bfloat16", "max_tokens": MAX_TOKENS, "batch_tokens": 1024},
            "adapter": {
                "loss": recipe.loss,
                "learning_rate": recipe.rate,
                "target_modules": "all-linear" if recipe.targets == "all" else ["q_proj", "v_proj"],
                "epochs": 1,
                "min_steps": recipe.steps,
                "batch_size": recipe.batch,
                "layers": recipe.layers,
                "average": recipe.average,
                "taught_share": recipe.share,
                "weight_decay_b": recipe.decay,
                "dropout": recipe.dropout,
            },
            "posterior": {"kind": "map"},
            "evaluation": {"kind": "none"},
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )


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
