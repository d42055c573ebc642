"""Train, sample and measure one cell of ``bench_calibration.py``: a set, a number of labels, a posterior and a draw.

Posteriors that start from an ordinary adapter share it among the cells of the same model, set, number of labels and
draw. Each posterior is sampled twice, independently, so that the report can tell whether two sets of samples agree
about which texts the model does not know.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from labels_cells import packed
from labels_data import Split, Texts
from labels_learners import Head
from recipe_cells import draw_texts
from recipes import Recipe, campaign
from scipy.stats import spearmanr

from star_al import rng
from star_al.acquire.measures import bald, predictive_entropy, predictive_mean_log
from star_al.app.language_learners import posterior_method
from star_al.common.files import replacing
from star_al.config.spec import CampaignSpec
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.learner import LoraLearner
from star_al.models.posterior import Method, Posterior, Training
from star_al.models.posterior.point import PostHoc
from star_al.ports import Pool, ignore
from star_al.stats import metrics
from star_al.stats.ece_floor import ece_floor
from star_al.stats.temperature import apply_temperature, fit_temperature
from star_al.task import closed, make_task
from star_al.types import FloatArray, IntArray, Item, JsonObject

TEST, SAMPLED, SECOND, CALIBRATION = 300, 100, 50, 30
"""Test texts; those of them that samples predict; those that a second set predicts; calibration texts."""

STEPS, RATE = 40, 2e-3
"""Optimiser steps of 8 texts, and the highest learning rate. Query and value projections of all blocks are adapted."""

FEW_LABELS = 10
"""With more labels, training moves up the right label's own tokens alone (``adapter.loss: answer``)."""


@dataclass(frozen=True)
class Row:
    """A row of the study.

    Attributes:
        posterior: ``posterior`` of the campaign; ``None`` for the head beside the language model.
        dropout: ``adapter.dropout``. Rows of another dropout do not share an adapter.
    """

    posterior: Mapping[str, Any] | None
    dropout: float = 0.1


SAMPLES, HEAD_SAMPLES = 10, 64
"""Samples of a set, by a language model and by a head."""

_LAPLACE = {"kind": "laplace", "samples": SAMPLES, "prior_mean": "start"}

ROWS: Mapping[str, Row] = {
    "map": Row({"kind": "map"}),
    "mc_dropout": Row({"kind": "mc_dropout", "samples": SAMPLES}),
    "laplace": Row(_LAPLACE),
    "laplace τ=10000": Row({**_LAPLACE, "prior_precision": 10000.0}),
    "laplace τ=100": Row({**_LAPLACE, "prior_precision": 100.0}),
    "mc_dropout p=0.3": Row({"kind": "mc_dropout", "samples": SAMPLES}, dropout=0.3),
    "mc_dropout, samples p=0.5": Row({"kind": "mc_dropout", "samples": SAMPLES, "dropout": 0.5}),
    "tfb": Row({"kind": "tfb", "samples": SAMPLES, "rule": "predictions", "tolerance": 0.01}),
    "tfb by loss": Row({"kind": "tfb", "samples": SAMPLES, "rule": "loss", "tolerance": 0.003}),
    "laplace by evidence": Row({**_LAPLACE, "prior_precision": "evidence"}),
    "ensemble": Row({"kind": "ensemble", "members": 6}),
    "clora": Row({"kind": "clora", "samples": SAMPLES}),
    "head": Row(None),
}
"""Rows by name, the most telling ones first."""


@dataclass(frozen=True)
class Cell:
    """One posterior: ``draw`` decides on the texts, on everything random in training, and on the samples."""

    set: str
    labels: int
    row: str
    draw: int

    def path(self, folder: Path) -> Path:
        """The file of the finished cell."""
        row = re.sub("[^a-z0-9.=_]+", "-", self.row.replace("τ", "tau"))
        return folder / self.set / f"{self.labels:03d}" / f"{row}-{self.draw}.json"


def keep(cell: Cell, record: Mapping[str, Any], folder: Path) -> None:
    """Write the record of a finished cell."""
    path = cell.path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def finished(folder: Path) -> list[dict[str, Any]]:
    """Return the records of all finished cells."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/*/[!.]*.json"))]


def missing(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """Those of some cells that are not finished, in their order."""
    return [cell for cell in cells if not cell.path(folder).exists()]


class Workplace:
    """The model, the texts and the adapters that cells share.

    Args:
        model: The language model, as a folder or a name on the hub.
        load_texts: Loads a set by its name.
        adapters: Folder for shared adapters.
    """

    def __init__(self, model: str, load_texts: Callable[[str], Texts], adapters: Path) -> None:
        self._model, self._adapters = model, adapters
        texts = cache(load_texts)
        self._drawn = cache(lambda name, draw: draw_texts(name, texts(name), draw))

    @cached_property
    def _backbone(self) -> Backbone:
        backbone = load_backbone(self._model, revision=None, dtype="bfloat16", device="auto")
        _ = backbone.readout  # loads the weights now, so that no cell's seconds include it
        return backbone

    def run(self, cell: Cell) -> dict[str, Any]:
        """Fit, sample and measure a cell; return its record."""
        of = self._drawn(cell.set, cell.draw)
        answers, seconds = self._head(cell, of) if cell.row == "head" else self._lora(cell, of)
        return {**vars(cell), "model": self._model_name, **answers.measured(of), **seconds}

    @property
    def _model_name(self) -> str:
        """The model without the place of its folder."""
        return Path(self._model).name if Path(self._model).is_dir() else self._model

    def _head(self, cell: Cell, of: Split) -> tuple[Answers, dict[str, Any]]:
        started = time.process_time()
        head = Head(of)
        rows_n: IntArray = np.arange(cell.labels)
        head.fit(rows_n, of.targets_P[rows_n])
        trained = time.process_time()
        first_T_K_C, second_T_K_C = (head.sample_test(range(HEAD_SAMPLES), seed=seed) for seed in (0, 1))
        scored = time.process_time()
        # A head that cross-validation has calibrated needs no calibration labels.
        answers = Answers(head.predict_test()[:TEST], None, first_T_K_C[:SAMPLED], second_T_K_C[:SECOND])
        return answers, {"train_s": round(trained - started, 1), "score_s": round(scored - trained, 1)}

    def _lora(self, cell: Cell, of: Split) -> tuple[Answers, dict[str, Any]]:
        row = ROWS[cell.row]
        shared_s, adapter = 0.0, None
        method = posterior_method(self._spec(cell).posterior)
        if _is_post_hoc(method):
            adapter = self._shared_adapter(cell)
            shared_s = float(json.loads((adapter / COST).read_text())["train_s"])
            method = Refined(method, adapter)
        learner = self._learner(cell, method)
        sets = _draws(row)
        n_test = SAMPLED if sets[0] else TEST
        test = [Item(f"test-{n}", text) for n, text in enumerate(of.texts_T[:n_test])]
        rows = range(len(of.texts_P) - CALIBRATION, len(of.texts_P))
        held_out = [Item(f"pool-{n}", of.texts_P[n]) for n in rows]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            started = time.process_time()
            self._fit(learner, cell, folder)
            trained = time.process_time()
            record = json.loads((folder / "star_al.json").read_text())

            def predict(items: list[Item], draws: range | None, seed: int) -> FloatArray:
                return learner.predict(folder, items, draws=draws, seed=seed, advance=ignore).log_probs_N_K_C

            first_N_K_C = predict([*test, *held_out], sets[0], 0)
            scored = time.process_time()
            second_N_K_C = predict(test[:SECOND], sets[1], 1) if sets[1] else None
        mean_N_C = predictive_mean_log(first_N_K_C)
        targets_H = of.targets_P[list(rows)]
        fitted = fit_temperature(mean_N_C[n_test:], targets_H)
        kept = ("prior_precision", "evidence_precision", "sigma", "changed")
        return Answers(mean_N_C[:n_test], fitted.value, first_N_K_C[:n_test], second_N_K_C), {
            "train_s": round(shared_s + trained - started, 1),
            "score_s": round(scored - trained, 1),
            **{key: record[key] for key in kept if key in record},
        }

    def _spec(self, cell: Cell, posterior: Mapping[str, Any] | None = None) -> CampaignSpec:
        labels, row = self._drawn(cell.set, cell.draw).labels, ROWS[cell.row]
        loss = "labels" if len(labels) <= FEW_LABELS else "answer"
        recipe = Recipe(loss=loss, targets="qv", steps=STEPS, rate=RATE, dropout=row.dropout)
        plain = campaign(cell.set, recipe, labels, self._model)
        tree = plain.model_dump() | {"posterior": dict(posterior or row.posterior or {})}
        return CampaignSpec.model_validate(tree)

    def _learner(self, cell: Cell, method: Method, posterior: Mapping[str, Any] | None = None) -> LoraLearner:
        spec = self._spec(cell, posterior)
        learner = LoraLearner(closed(make_task(spec.task)), spec, self._model, method)
        learner.model.backbone = self._backbone
        return learner

    def _fit(self, learner: LoraLearner, cell: Cell, folder: Path) -> None:
        of = self._drawn(cell.set, cell.draw)
        examples = [
            (Item(f"pool-{n}", of.texts_P[n]), of.labels[of.targets_P[n]]) for n in range(cell.labels)
        ]
        texts = {f"pool-{n}": text for n, text in enumerate(of.texts_P)}
        pool = Pool(tuple(sorted(texts)), lambda chosen: [Item(name, texts[name]) for name in chosen])
        seed = rng.derive_seed(cell.draw, cell.labels, "bench/fit")
        learner.fit(examples, pool=pool, seed=seed, folder=folder, parent=None, advance=ignore)

    def _shared_adapter(self, cell: Cell) -> Path:
        """Train the adapter that rows of the same dropout refine, unless it is there; return its folder."""
        folder = self._adapters / self._adapter_name(cell)
        if not folder.is_dir():
            plain = {"kind": "map"}
            learner = self._learner(cell, posterior_method(self._spec(cell, plain).posterior), plain)
            self._adapters.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._adapters) as parent:
                made = Path(parent) / "adapter"
                made.mkdir()
                started = time.process_time()
                self._fit(learner, cell, made)
                (made / COST).write_text(json.dumps({"train_s": time.process_time() - started}))
                _rename_unless_there(made, folder)
        return folder

    def _adapter_name(self, cell: Cell) -> str:
        """Name all that an adapter depends on."""
        model = str(Path(self._model).resolve()) if Path(self._model).is_dir() else self._model
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        recipe = f"{ROWS[cell.row].dropout:g}-{STEPS}-{RATE:g}"
        return f"{Path(self._model).name}-{digest}-{cell.set}-{cell.labels:03d}-{recipe}-{cell.draw}"


def _rename_unless_there(made: Path, folder: Path) -> None:
    """Rename a folder, unless another process made the same one in the meantime."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


COST = "cost.json"
"""What a shared adapter took to train, beside it."""


def _draws(row: Row) -> tuple[range | None, range | None]:
    """Return the numbers of the samples of two sets; without samples, ``None`` stands for the mode.

    The members of an ensemble are divided between the sets, since a seed does not draw others.
    """
    if row.posterior is None or row.posterior["kind"] == "map":
        return None, None
    if row.posterior["kind"] == "ensemble":
        members = row.posterior["members"]
        return range(members // 2), range(members // 2, members)
    return range(SAMPLES), range(SAMPLES)


@dataclass(frozen=True)
class Answers:
    """What a model says about the test texts.

    Attributes:
        mean_T_C: Predictive mean, log p̄.
        temperature: Of the predictive mean; ``None`` if the model calibrates itself.
        first_T_K_C: The samples.
        second_S_K_C: Other samples, for the first S texts; ``None`` without samples.
    """

    mean_T_C: FloatArray
    temperature: float | None
    first_T_K_C: FloatArray
    second_S_K_C: FloatArray | None

    def measured(self, of: Split) -> dict[str, Any]:
        """Return the measures."""
        targets_T = of.test_targets_T[: len(self.mean_T_C)]
        temperature = self.temperature or 1.0
        found: dict[str, Any] = {
            "accuracy": round(float((self.mean_T_C.argmax(axis=1) == targets_T).mean()), 5),
            "correct": packed(self.mean_T_C.argmax(axis=1) == targets_T),
            "texts": len(targets_T),
            "temperature": round(temperature, 4),
            "raw": calibration(self.mean_T_C, targets_T),
            "scaled": calibration(apply_temperature(self.mean_T_C, temperature), targets_T),
            "common": common(self.mean_T_C[:SAMPLED], temperature, targets_T[:SAMPLED]),
        }
        if self.second_S_K_C is not None:
            found |= spread(self.first_T_K_C, self.second_S_K_C)
        return found


def calibration(log_probs_T_C: FloatArray, targets_T: IntArray) -> dict[str, float]:
    """Return NLL, ECE, and the ECE that a perfectly calibrated model would show."""
    correct_T = log_probs_T_C.argmax(axis=1) == targets_T
    bins = metrics.reliability_bins(np.exp(log_probs_T_C.max(axis=1)), correct_T)
    return {
        "nll": round(metrics.nll(log_probs_T_C, targets_T), 5),
        "ece": round(metrics.ece(bins), 5),
        "floor": round(ece_floor(bins).mean, 5),
    }


def common(log_probs_S_C: FloatArray, temperature: float, targets_S: IntArray) -> dict[str, float]:
    """Return accuracy and NLL on the texts that all rows predict."""
    accuracy = float((log_probs_S_C.argmax(axis=1) == targets_S).mean())
    return {
        "accuracy": round(accuracy, 5),
        "nll": round(metrics.nll(log_probs_S_C, targets_S), 5),
        "scaled_nll": round(metrics.nll(apply_temperature(log_probs_S_C, temperature), targets_S), 5),
    }


def spread(first_T_K_C: FloatArray, second_S_K_C: FloatArray) -> dict[str, Any]:
    """Return how much samples differ, and whether two sets of them rank texts by BALD alike.

    Args:
        first_T_K_C: Log-probabilities of one set of samples.
        second_S_K_C: Those of another set, for the first S texts.

    Returns:
        ``spread``: mean BALD divided by mean entropy. ``agreement``: Spearman's ρ of BALD between the sets, by the
        number of samples.
    """
    share = bald(first_T_K_C).mean() / predictive_entropy(first_T_K_C).mean()
    counts = sorted({min(k, second_S_K_C.shape[1], first_T_K_C.shape[1]) for k in (3, 5, 10, 64)})
    return {
        "spread": round(float(share), 6),
        "agreement": {
            str(k): round(_agreement(first_T_K_C[: len(second_S_K_C), :k], second_S_K_C[:, :k]), 4)
            for k in counts
        },
    }


def _agreement(one_S_K_C: FloatArray, other_S_K_C: FloatArray) -> float:
    one_S, other_S = bald(one_S_K_C), bald(other_S_K_C)
    if not np.ptp(one_S) or not np.ptp(other_S):  # ρ is undefined, and samples that all agree rank nothing
        return 0.0
    return float(spearmanr(one_S, other_S).statistic)


class Refined:
    """A post-hoc method that copies a trained adapter instead of training one."""

    def __init__(self, method: PostHoc, trained: Path) -> None:
        self._method, self._trained = method, trained

    def steps(self, n_examples: int, adapter: Any, n_taught: int = 0) -> int:
        """See ``Method.steps``."""
        return self._method.steps(n_examples, adapter, n_taught)

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """See ``Method.fit``."""
        for file in self._trained.glob("adapter_*"):
            shutil.copy(file, folder)
        return self._method.refine(training, folder)

    def quick(self) -> Method:
        """Return the method that it refines with, doing little work."""
        return self._method.quick()

    def load(self, folder: Path, record: JsonObject) -> Posterior:
        """See ``Method.load``."""
        return self._method.load(folder, record)


def _is_post_hoc(method: Method) -> TypeGuard[PostHoc]:
    return isinstance(method, PostHoc)
