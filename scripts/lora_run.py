"""Run one campaign of ``study_lora.py`` in memory: choose, answer, train and measure."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from blend_grades import Grades
from labels_choices import CHOOSERS, View, highest
from labels_data import Split
from labels_learners import Head
from lora_arms import Arm
from lora_delivery import HELD_OUT, delivered
from lora_model import Lora
from lora_sets import Sizes
from recipe_cells import measured

from star_al.acquire.blend import blend, blend_ranks, pool_ranks, scheduled_weight
from star_al.acquire.embeddings import unit_vectors
from star_al.acquire.measures import predictive_entropy
from star_al.stats.label_bias import batch_bias, fit_bias, without_bias
from star_al.steps.blend_weight import PRIOR
from star_al.types import FloatArray, IntArray

LAST_SCHEDULED = 9
"""The round in which STAR's schedule reaches its last weight."""


class Campaign:
    """A campaign without a database.

    Args:
        arm: How it chooses and trains.
        of: The texts.
        sizes: How many.
        lora: The model.
    """

    def __init__(self, arm: Arm, of: Split, sizes: Sizes, lora: Lora) -> None:
        self._arm, self._of, self._sizes, self._lora = arm, of, sizes, lora
        self._head = Head(of)
        self._rows_n: IntArray = np.zeros(0, dtype=np.int64)
        self._points_P_d = unit_vectors(of.pool_P_d)
        self._grades = Grades()
        self.weights: list[float] = []

    def run(self) -> dict[str, Any]:
        """Buy labels up to the last count; train and measure at each.

        Returns:
            Lists with a value for each count, and the weights of the adapted model in each blended batch.
        """
        found = []
        for count in self._sizes.counts:
            self._buy(count)
            self._train()
            found.append(self._measured())
        names = list(found[0])
        return {**{name: [each[name] for each in found] for name in names}, "weights": self.weights}

    # -- training and measuring ----------------------------------------------------------------------------

    def _train(self) -> None:
        self._fit_head()
        self._lora.fit(self._rows_n, self._head.predict_pool())

    def _fit_head(self) -> None:
        self._head.fit(self._rows_n, self._of.targets_P[self._rows_n])

    def _measured(self) -> dict[str, Any]:
        targets_T = self._of.test_targets_T
        head_T_C, lora_T_C = self._head.predict_test(), self._lora.predict_test()
        head = measured(head_T_C, targets_T)
        return {
            "labels": len(self._rows_n),
            **measured(lora_T_C, targets_T),
            "head_accuracy": head["accuracy"],
            "head_nll": head["nll"],
            **delivered(
                head_T_C, lora_T_C, targets_T, self._of.seed, held_out=min(HELD_OUT, len(targets_T) // 4)
            ),
            "chosen": hashlib.sha256(self._rows_n.astype("<i8").tobytes()).hexdigest()[:16],
        }

    # -- choosing ------------------------------------------------------------------------------------------

    def _buy(self, count: int) -> None:
        """Ask for labels until there are so many."""
        if not len(self._rows_n):
            self._ask(self._start(count))
        elif self._arm.scorer == "head":
            self._buy_by_head(count)
        elif self._arm.scorer == "lora":
            self._buy_by_lora(count)
        else:
            self._ask(CHOOSERS[self._arm.then](self._view(count - len(self._rows_n), None)))

    def _ask(self, chosen: IntArray) -> None:
        rows_n = np.concatenate([self._rows_n, chosen])
        if len(set(rows_n.tolist())) < len(rows_n):
            raise ValueError(f"a text was asked for twice: {chosen.tolist()}")
        self._rows_n = rows_n

    def _view(self, k: int, log_probs_P_C: FloatArray | None) -> View:
        answers_n = self._of.targets_P[self._rows_n]
        return View(self._of, self._points_P_d, self._rows_n, answers_n, log_probs_P_C, k)

    def _start(self, k: int) -> IntArray:
        by_names = self._head.without_labels()
        assert by_names is not None
        return CHOOSERS[self._arm.start](self._view(k, by_names[: len(self._of.texts_P)]))

    def _buy_by_head(self, count: int) -> None:
        while len(self._rows_n) < count:
            self._fit_head()
            k = min(self._sizes.batch, count - len(self._rows_n))
            self._ask(CHOOSERS[self._arm.then](self._view(k, self._head.predict_pool())))

    def _buy_by_lora(self, count: int) -> None:
        """Ask for the arm's number of batches; LoRA is trained between two of them."""
        ends = np.linspace(len(self._rows_n), count, self._arm.batches + 1).round().astype(int)[1:]
        for number, end in enumerate(ends):
            if number:
                self._train()
            self._ask(self._by_lora(int(end) - len(self._rows_n)))

    def _by_lora(self, k: int) -> IntArray:
        view = self._view(k, None)
        rest = view.unlabelled
        log_probs_M_C = self._lora.predict_pool(rest)
        if self._arm.blend == "alone":
            log_probs_P_C = np.zeros((len(self._of.texts_P), log_probs_M_C.shape[1]))
            log_probs_P_C[rest] = log_probs_M_C
            return CHOOSERS[self._arm.then](self._view(k, log_probs_P_C))
        adapted_M = predictive_entropy(log_probs_M_C[:, None, :])
        base_M = self._base_entropy(rest)
        if self._arm.blend == "schedule":
            weight = self._scheduled()
            chosen = highest(blend(adapted_M, base_M, weight, "minmax"), k)
        else:
            weights_J = self._grades.weights(np.array(PRIOR[:2]))
            weight = float(weights_J[0])
            chosen = highest(blend_ranks([adapted_M, base_M], weights_J.tolist(), "minmax"), k)
            ranks_M_J = np.stack([pool_ranks(adapted_M), pool_ranks(base_M)], axis=1)
            wrong_M = log_probs_M_C.argmax(axis=1) != self._of.targets_P[rest]
            self._grades.add(ranks_M_J[chosen], wrong_M[chosen])
        self.weights.append(round(weight, 4))
        return rest[chosen]

    def _scheduled(self) -> float:
        """λ of STAR's schedule; with fewer batches than it has rounds, the mean of those that a batch stands for."""
        n_batches = self._arm.batches * (len(self._sizes.counts) - 1)
        n_stands_for = LAST_SCHEDULED / n_batches
        number = len(self.weights)
        rounds = range(round(number * n_stands_for) + 1, round((number + 1) * n_stands_for) + 1)
        return float(np.mean([scheduled_weight("schedule", each, 0.5) for each in rounds]))

    def _base_entropy(self, rows: IntArray) -> FloatArray:
        """The base model's entropy, as STAR has it, or without its label bias, as the prequential blend does."""
        base_P_C = self._lora.base_P_C
        if self._arm.blend == "prequential":
            targets_n = self._of.targets_P[self._rows_n]
            base_P_C = without_bias(
                base_P_C, fit_bias(base_P_C[self._rows_n], targets_n, batch_bias(base_P_C))
            )
        return predictive_entropy(base_P_C[rows][:, None, :])
