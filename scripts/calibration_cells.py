"""Train and predict one cell of the study of ``bench_calibration.py``.

A cell is one data set, seed, number of labels and method. Methods that start from an ordinary adapter share it among
the cells of the same set, seed and number of labels. All predictions are stored, so that the report can compute any
measure later.
"""

from __future__ import annotations

import ctypes
import gc
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import psutil
import torch
from calibration_data import Settings, Split, Study
from filelock import FileLock

from star_al import rng
from star_al.acquire.measures import bald, predictive_mean_log
from star_al.app.compose import posterior_method
from star_al.common.files import replacing
from star_al.config.spec import (
    CLoraSpec,
    EnsembleSpec,
    LaplaceSpec,
    MapSpec,
    McDropoutSpec,
    PosteriorSpec,
    TfbSpec,
)
from star_al.models.backbone import load_backbone
from star_al.models.learner import LoraLearner
from star_al.models.posterior import Method, Posterior, Training
from star_al.models.posterior.point import PostHoc
from star_al.stats.temperature import contextual_calibration
from star_al.task import make_task
from star_al.types import FloatArray, JsonObject

NEWS = "bbc.jsonl"
"""File with BBC news in the study's folder."""
MAKING = "making"
"""Folder for unfinished files."""

METHODS: Mapping[str, Callable[[int], PosteriorSpec]] = {
    "map": lambda samples: MapSpec(kind="map"),
    "mc_dropout": lambda samples: McDropoutSpec(samples=samples),
    "ensemble": lambda samples: EnsembleSpec(kind="ensemble"),
    "laplace": lambda samples: LaplaceSpec(kind="laplace", samples=samples),
    "clora": lambda samples: CLoraSpec(kind="clora", samples=samples),
    "tfb": lambda samples: TfbSpec(kind="tfb", samples=samples),
    "laplace_last_layer": lambda samples: LaplaceSpec(
        kind="laplace", samples=samples, subset="last_layer", prior_precision="evidence"
    ),
    "laplace_evidence": lambda samples: LaplaceSpec(
        kind="laplace", samples=samples, prior_precision="evidence"
    ),
    "clora_token": lambda samples: CLoraSpec(kind="clora", samples=samples, context="token"),
}
"""Posterior settings by row name, most important first."""

BASE = "base"
"""Row name of the model without training."""


@dataclass(frozen=True)
class Cell:
    """One cell of the study; the base model has 0 labels."""

    set: str
    seed: int
    labels: int
    method: str

    @property
    def name(self) -> str:
        """Name of the cell's file, without the suffix."""
        return f"{self.set}-{self.labels:04d}-{self.method}-{self.seed}"


# -- a worker -------------------------------------------------------------------------------------------


class Workplace:
    """The data and the model, which a worker process loads once."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self._settings = settings
        self._out = out
        self._study = Study(settings, out / NEWS)
        self._backbone = load_backbone(settings.model, revision=None, dtype="bfloat16", device="cpu")
        _ = self._backbone.readout  # loads the weights now, so that no cell's cost includes it

    def learner(self, name: str, posterior: PosteriorSpec, method: Method) -> LoraLearner:
        """Return a learner for a set and a posterior that uses the shared base model."""
        spec = self._study.specs[name].model_copy(update={"posterior": posterior})
        learner = LoraLearner(make_task(spec.task), spec, self._settings.model, method)
        learner.backbone = self._backbone
        return learner

    # -- cells -------------------------------------------------------------------------------------------

    def run(self, cell: Cell) -> JsonObject:
        """Train, predict and return the record of the cell."""
        split = self._study.split(cell.set, cell.seed, cell.labels)
        run = self._run_base if cell.method == BASE else self._run_posterior
        measured = run(cell, split)
        return {**asdict(cell), **measured, "versions": self._backbone.versions()}

    def _run_base(self, cell: Cell, split: Split) -> dict[str, Any]:
        learner = self.learner(cell.set, MapSpec(kind="map"), posterior_method(MapSpec(kind="map")))
        with Meter() as meter:
            predictions = learner.base_predict(split.predicted, _nowhere)
        log_probs_N_C = np.stack([one.log_probs_C for one in predictions])
        priors = [one.log_prior_C for one in predictions if one.log_prior_C is not None]
        if priors:
            log_probs_N_C = contextual_calibration(log_probs_N_C, np.stack(priors))
        return {
            "samples": 1,
            **self._parts(cell, split, log_probs_N_C[:, None]),
            "cut": learner.truncated,
            "seconds": {"train": 0.0, "score": meter.cpu, "spent": meter.wall},
            "peak_mib": {"train": 0.0, "score": meter.peak_mib},
        }

    def _run_posterior(self, cell: Cell, split: Split) -> dict[str, Any]:
        posterior = METHODS[cell.method](self._settings.samples)
        method = posterior_method(posterior)
        shared: dict[str, float] = {}
        spent = 0.0
        if is_post_hoc(method):
            folder, shared, spent = self._shared_adapter(cell, split)
            method = Refined(method, folder)
        learner = self.learner(cell.set, posterior, method)
        with tempfile.TemporaryDirectory(dir=self._out / MAKING) as made:
            with Meter() as training:
                _fit(learner, split, cell, Path(made))
            draws = range(posterior.samples) if posterior.samples > 1 else None
            with Meter() as scoring:
                seed = rng.derive_seed(cell.seed, cell.labels, "bench/draws")
                predictions = learner.predict(
                    Path(made), split.predicted, draws=draws, seed=seed, advance=_nowhere
                )
            record = json.loads((Path(made) / "star_al.json").read_text())
        return {
            "samples": posterior.samples,
            "artefact": {key: record[key] for key in record if key not in ("model_key", "format", "dtype")},
            **self._parts(cell, split, predictions.log_probs_N_K_C),
            "cut": learner.truncated,
            "seconds": {
                "train": shared.get("cpu", 0.0) + training.cpu,
                "score": scoring.cpu,
                "spent": spent + training.wall + scoring.wall,
            },
            "peak_mib": {
                "train": max(shared.get("peak_mib", 0.0), training.peak_mib),
                "score": scoring.peak_mib,
            },
        }

    def _parts(self, cell: Cell, split: Split, log_probs_N_K_C: FloatArray) -> dict[str, Any]:
        """Return predictive means, mutual information and true label columns by part: test, calibration, ood."""
        task = make_task(self._study.specs[cell.set].task)
        labelled = {"test": split.test, "calibration": split.calibration, "ood": ()}
        bounds = np.cumsum([len(split.test), len(split.calibration)])
        means = np.split(predictive_mean_log(log_probs_N_K_C), bounds)
        information = np.split(bald(log_probs_N_K_C), bounds)
        return {
            part: {
                "log_probs": [[_plain(value) for value in row] for row in mean_M_C],
                "bald": [_plain(value) for value in bald_M],
                "columns": [task.column(item, value) for item, value in pairs],
            }
            for (part, pairs), mean_M_C, bald_M in zip(labelled.items(), means, information, strict=True)
        }

    def _shared_adapter(self, cell: Cell, split: Split) -> tuple[Path, dict[str, float], float]:
        """Return the shared adapter's folder, its training cost, and the seconds spent on it by this call."""
        folder = self._out / "adapters" / f"{cell.set}-{cell.labels:04d}-{cell.seed}"
        spent = 0.0
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                posterior = MapSpec(kind="map")
                learner = self.learner(cell.set, posterior, posterior_method(posterior))
                with tempfile.TemporaryDirectory(dir=self._out / MAKING) as parent:
                    made = Path(parent) / "adapter"
                    made.mkdir()
                    with Meter() as meter:
                        _fit(learner, split, cell, made)
                    write_json(made / "cost.json", {"cpu": meter.cpu, "peak_mib": meter.peak_mib})
                    made.rename(folder)
                spent = meter.wall
        cost: dict[str, float] = json.loads((folder / "cost.json").read_text())
        return folder, cost, spent


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


def is_post_hoc(method: Method) -> TypeGuard[PostHoc]:
    """Return whether the method starts from an ordinary adapter (``PostHoc``)."""
    return isinstance(method, PostHoc)


def _fit(learner: LoraLearner, split: Split, cell: Cell, folder: Path) -> None:
    seed = rng.derive_seed(cell.seed, cell.labels, "bench/fit")
    learner.fit(split.train, seed=seed, folder=folder, parent=None, advance=_nowhere)


def _plain(value: float) -> float | None:
    """Round to six decimals; −∞, which JSON cannot hold, becomes ``None``."""
    return round(float(value), 6) if np.isfinite(value) else None


def _nowhere(_: int) -> None:
    """Ignore the progress."""


class Meter:
    """Measures a block: wall seconds, CPU seconds, and the highest memory of the process.

    CPU seconds depend less on other load than wall seconds. Memory is RSS, read 20 times a second.
    """

    wall = 0.0
    cpu = 0.0
    peak_mib = 0.0

    def __enter__(self) -> Meter:
        """Free unused memory and start."""
        gc.collect()
        _trim()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.wall, self.cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_mib = max(self.peak_mib, process.memory_info().rss / 2**20)
            if self._done.wait(0.05):
                return


def _trim() -> None:
    """Return freed memory to the system, if the C library can do that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file that is always whole."""
    with replacing(path) as new:
        new.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


# -- the worker's process -------------------------------------------------------------------------------

_workplace: list[Workplace] = []  # one in each worker process


def start_worker(settings: Settings, out: Path, threads: int) -> None:
    """Prepare a worker process; called once in each."""
    torch.set_num_threads(threads)
    _workplace[:] = [Workplace(settings, out)]


def run_cell(cell: Cell, file: Path) -> JsonObject:
    """Run a cell in a worker process, write its record and return it."""
    record = _workplace[0].run(cell)
    write_json(file, record)
    return record
