"""Run one campaign of ``study_open.py`` in memory: choose, answer, train and measure."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from labels_cells import packed_columns
from labels_choices import highest
from open_arms import Arm
from open_sets import SETS, Row

from star_al import rng
from star_al.acquire.blend import blend, normalise, scheduled_weight
from star_al.acquire.embeddings import centred_directions, unit_vectors
from star_al.acquire.facility_location import FacilityLocation
from star_al.acquire.greedy import GreedyRule, greedy_batch
from star_al.acquire.herding import herding
from star_al.acquire.idds import Idds
from star_al.acquire.measures import predictive_mean_log, uncertainties
from star_al.acquire.typiclust import typical_order
from star_al.app.language_learners import language_learner
from star_al.config.spec import FROM_FILE, CampaignSpec
from star_al.models.backbone import Backbone, load_backbone
from star_al.ports import ignore
from star_al.task import make_task
from star_al.task.columns import grade_of, predicted_value
from star_al.types import Float32Array, FloatArray, IntArray, Item, Predictions

if TYPE_CHECKING:
    from star_al.app.language_learners import LanguageLearner

LAST_SCHEDULED = 9
"""The round in which STAR's schedule reaches its last weight."""

SHORTLIST = 3
"""Texts whose samples are drawn, for each text of a batch: those of the highest ``nll``."""

GRADES = 250
"""Steps of a grade that is kept."""


class SharedModel:
    """A language model that is loaded once for all cells.

    Args:
        name: The model, as a folder or a name on the hub.
        device: ``model.device``.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        self._name, self._device = name, device

    @cached_property
    def _backbone(self) -> Backbone:
        backbone = load_backbone(self._name, revision=None, dtype="auto", device=self._device)
        _ = backbone.readout  # loads the weights now, so that no cell's seconds include it
        return backbone

    def learner(self, spec: CampaignSpec) -> LanguageLearner:
        """Return the product's learner for a campaign."""
        learner = language_learner(spec, self._name)
        learner.model.backbone = self._backbone
        return learner


def campaign(set_name: str, measure: str, draws: int = 1) -> CampaignSpec:
    """Return the settings of a set, as a campaign has them; all that is not named is the default."""
    of = SETS[set_name]
    return CampaignSpec.model_validate(
        {
            "name": "open",
            "data": {"path": "pool.jsonl"},
            "task": {**of.task, **({"draws": draws} if of.is_written else {})},
            "model": {"name": "model", "max_tokens": 160, "batch_tokens": 768},
            "posterior": {"kind": "mc_dropout", "samples": 3},
            "acquisition": {"preset": "none", "measure": measure, "batch": {"kind": "top_k"}},
            "annotator": {"kind": "oracle", "gold": "answer"},
        },
        context=FROM_FILE,
    )


class Campaign:
    """A campaign without a database.

    Args:
        set_name: The set.
        arm: How it chooses.
        pool: The texts to choose from, with their answers.
        test: The texts to measure on, with theirs.
        seed: Decides on everything random.
        model: The language model.
    """

    def __init__(
        self, set_name: str, arm: Arm, pool: Sequence[Row], test: Sequence[Row], seed: int, model: SharedModel
    ) -> None:
        self._of, self._arm, self._seed = SETS[set_name], arm, seed
        self._pool = [(Item(f"pool-{place}", text), answer) for place, (text, answer) in enumerate(pool)]
        self._test = [(Item(f"test-{place}", text), answer) for place, (text, answer) in enumerate(test)]
        cheap = "token_entropy" if arm.measure == "token_entropy" else "nll"
        self._plain = campaign(set_name, cheap if self._of.is_written else arm.of_sets)
        self._task = make_task(self._plain.task)
        self._learner = model.learner(self._plain)
        self._sampling = self._learner
        if self._of.is_written and arm.samples:
            self._sampling = model.learner(campaign(set_name, str(arm.measure), arm.draws))
        self._rows: list[int] = []
        self._adapter: TemporaryDirectory[str] | None = None
        self._batches = 0
        self.seconds: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Buy labels up to the last count; train and measure at each. Return lists with a value for each count."""
        found: list[Mapping[str, Any]] = []
        try:
            for count in self._of.counts:
                for what, step in (("choosing", self._buy), ("training", self._train)):
                    self._timed(what, step, count)
                found.append(self._timed("measuring", self._measured, count))
        finally:
            self._forget()
        return {name: [each[name] for each in found] for name in found[0]}

    def _timed(self, what: str, step: Any, count: int) -> Any:
        began = time.process_time()
        done = step(count)
        self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - began
        return done

    # -- training and measuring ----------------------------------------------------------------------------

    def _train(self, count: int) -> None:
        self._forget()
        self._adapter = TemporaryDirectory()
        seed = rng.derive_seed(self._seed, count, "study/open")
        examples = [self._pool[row] for row in self._rows]
        self._learner.fit(examples, seed=seed, folder=self._folder, parent=None, advance=ignore)

    def _measured(self, count: int) -> dict[str, Any]:
        items = [item for item, _ in self._test]
        found = self._learner.predict(self._folder, items, draws=None, seed=0, advance=ignore)
        mean_N_C = predictive_mean_log(found.log_probs_N_K_C)
        said = [
            predicted_value(self._task, item, mean_N_C[row], found.answers_of(row))
            for row, item in enumerate(items)
        ]
        grades_N = np.array(
            [
                grade_of(self._task, item, answer, gold) or 0.0
                for answer, (item, gold) in zip(said, self._test, strict=True)
            ]
        )
        kept_N = np.round(GRADES * grades_N).astype(np.int64)
        return {
            "labels": count,
            "accuracy": round(float(kept_N.mean() / GRADES), 5),
            "grades": packed_columns(kept_N),
            "chosen": hashlib.sha256(np.array(self._rows, dtype="<i8").tobytes()).hexdigest()[:16],
        }

    @property
    def _folder(self) -> Path:
        assert self._adapter is not None, "nothing has been trained"
        return Path(self._adapter.name)

    def _forget(self) -> None:
        if self._adapter is not None:
            self._adapter.cleanup()
            self._adapter = None

    # -- choosing ------------------------------------------------------------------------------------------

    def _buy(self, count: int) -> None:
        """Ask for labels until there are so many."""
        k = count - len(self._rows)
        if self._arm.batch == "idds":
            self._rows += self._by_idds(k)
        elif self._arm.measure is None or (not self._rows and self._arm.start == "random"):
            self._rows += [row for row in self._random_order if row not in self._rows][:k]
        elif not self._rows:
            self._rows += self._start(k)
        else:
            self._rows += self._ranked(k)
            self._batches += 1

    @cached_property
    def _random_order(self) -> list[int]:
        random = rng.generator(self._seed, 0, "study/open/random")
        return [int(row) for row in random.permutation(len(self._pool))]

    def _start(self, k: int) -> list[int]:
        points_P_d = self._directions
        if self._arm.start == "typical":
            seed = rng.derive_seed(self._seed, 0, "study/open/typical") % 2**32
            return [int(row) for row in typical_order(points_P_d.astype(np.float64), k, seed).order_N[:k]]
        return _greedy(herding(points_P_d, points_P_d[:0]), np.arange(len(points_P_d)), k)

    def _by_idds(self, k: int) -> list[int]:
        rest = np.setdiff1d(np.arange(len(self._pool)), self._rows)
        units_P_d = unit_vectors(self._embedded_P_d)
        return _greedy(Idds(units_P_d[rest], units_P_d[self._rows]), rest, k)

    @cached_property
    def _embedded_P_d(self) -> Float32Array:
        """The untrained model's states of the pool's texts."""
        return self._learner.embed(None, [item for item, _ in self._pool], ignore)

    @cached_property
    def _directions(self) -> Float32Array:
        """Unit vectors of the pool's texts from their centre, as in the product."""
        centre_d = self._embedded_P_d.mean(axis=0, dtype=np.float64)
        return centred_directions(self._embedded_P_d, centre_d).astype(np.float32)

    def _ranked(self, k: int) -> list[int]:
        rest = np.setdiff1d(np.arange(len(self._pool)), self._rows)
        rest, scores_M = self._scores(rest, k)
        if self._arm.batch == "top_k":
            return [int(row) for row in rest[highest(scores_M, k)]]
        weights_M, points_P_d = normalise(scores_M, "minmax"), self._directions
        return _greedy(FacilityLocation(points_P_d[rest], weights_M, points_P_d[self._rows]), rest, k)

    def _scores(self, rest: IntArray, k: int) -> tuple[IntArray, FloatArray]:
        """Return the rows that are ranked, and their uncertainties."""
        arm, is_written = self._arm, self._of.is_written
        measure = str(arm.measure) if is_written else arm.of_sets
        if arm.samples and is_written:
            by_nll_M = uncertainties(self._predict(rest), "nll")
            rest = rest[np.sort(highest(by_nll_M, SHORTLIST * k))]
        sampled = arm.samples and (is_written or measure == "bald")
        scores_M = uncertainties(self._predict(rest, arm.samples if sampled else 0), measure)
        if not arm.blended:
            return rest, scores_M
        base_M = uncertainties(self._of_base, measure)[rest]
        return rest, blend(scores_M, base_M, self._scheduled(), "minmax")

    def _predict(self, rows: IntArray, samples: int = 0) -> Predictions:
        learner = self._sampling if samples else self._learner
        items = [self._pool[row][0] for row in rows.tolist()]
        draws = range(samples) if samples else None
        return learner.predict(self._folder, items, draws=draws, seed=self._seed, advance=ignore)

    @cached_property
    def _of_base(self) -> Predictions:
        """What the base model says of the whole pool."""
        items = [item for item, _ in self._pool]
        return self._learner.predict(None, items, draws=None, seed=0, advance=ignore)

    def _scheduled(self) -> float:
        """λ of STAR's schedule: the mean over the rounds that a batch stands for, as there are fewer batches."""
        stands_for = LAST_SCHEDULED / (len(self._of.counts) - 1)
        rounds = range(round(self._batches * stands_for) + 1, round((self._batches + 1) * stands_for) + 1)
        return float(np.mean([scheduled_weight("schedule", each, 0.5) for each in rounds]))


def _greedy(rule: GreedyRule, candidates: IntArray, k: int) -> list[int]:
    return [int(candidates[pick.position]) for pick in greedy_batch(rule, [], len(candidates), k)]
