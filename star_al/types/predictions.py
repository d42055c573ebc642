"""What models predict. Log-probabilities are natural logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from star_al.types.arrays import FloatArray
from star_al.types.json_values import JsonValue


@dataclass(frozen=True)
class Categorical:
    """Distributions over columns, by K samples of the posterior.

    Shape:
        log_probs_N_K_C: Float64 natural logs; after exp, each row sums to one. Options that an item does
            not have are −inf at the end of its row. Sample k is the same function for every item.

    Raises:
        ValueError: Wrong shape, NaN, or a row that is not a distribution.
    """

    item_ids: tuple[str, ...]
    log_probs_N_K_C: FloatArray

    def __post_init__(self) -> None:
        log_probs = self.log_probs_N_K_C
        if log_probs.ndim != 3 or log_probs.shape[0] != len(self.item_ids):
            raise ValueError(f"log_probs has shape {log_probs.shape}, expected ({len(self.item_ids)}, K, C)")
        if log_probs.dtype != np.float64:
            raise ValueError(f"log_probs is {log_probs.dtype}, expected float64")
        if np.isnan(log_probs).any() or (log_probs > 1e-6).any():
            raise ValueError("log_probs has NaN or positive values")
        totals = np.exp(log_probs).sum(axis=-1)
        if totals.size and np.abs(totals - 1).max() > 1e-4:
            raise ValueError(f"a row sums to {totals.flat[np.abs(totals - 1).argmax()]:.6f}, not to 1")

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class Predictions(Categorical):
    """What a learner answers: distributions over answers, and what else it knows of them.

    Attributes:
        answers: The label value that each column stands for: one tuple for all items if their labels are known
            beforehand, or a tuple for each item whose answers were found by asking the model. An item's columns
            beyond its tuple have probability 0.
        open_ended: True if the last column with a value stands for any other answer, with None as its value.
        signals: Further figures of the items, (N,) each, by name, such as the length of what was written.
        texts: What was written for each of ``answers`` where that is more than the answer; empty elsewhere.

    Raises:
        ValueError: As of ``Categorical``; or answers, texts or signals that do not fit the items or the columns.
    """

    answers: tuple[tuple[JsonValue, ...], ...]
    open_ended: bool = False
    signals: Mapping[str, FloatArray] = field(default_factory=dict)
    texts: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.texts and list(map(len, self.texts)) != list(map(len, self.answers)):
            raise ValueError("there is not a text for each answer")
        if len(self.answers) not in (1, len(self)):
            raise ValueError(f"{len(self.answers)} tuples of answers for {len(self)} items")
        for row, answers in enumerate(self.answers):
            beyond = self.log_probs_N_K_C[row if len(self.answers) > 1 else slice(None), ..., len(answers) :]
            if np.isfinite(beyond).any():
                raise ValueError(f"columns beyond the {len(answers)} answers of row {row} have a probability")
            if self.open_ended and answers[-1:] != (None,):
                raise ValueError(f"the answers of row {row} do not end with None, which stands for any other")
        for name, values_N in self.signals.items():
            if values_N.shape != (len(self),):
                raise ValueError(f"the signal {name} has shape {values_N.shape}, expected ({len(self)},)")
            if not np.isfinite(values_N).all():
                raise ValueError(f"the signal {name} has values that are not finite")

    def answers_of(self, row: int) -> tuple[JsonValue, ...]:
        """Return the values of the columns of one row."""
        return self.answers[row if len(self.answers) > 1 else 0]


@dataclass(frozen=True, slots=True)
class BasePrediction:
    """The frozen base model's prediction for one item, (C,) float64 natural logs.

    Attributes:
        log_prior_C: Its answer to a content-free input, for contextual calibration (Zhao et al. 2021).
        answers: The values of the columns where answers are open, such as what it wrote by itself and None for any
            other answer; empty if the task knows the values.
        uncertainty: How unsure it is, for the blend, where that is not the entropy of the columns.
    """

    item_id: str
    log_probs_C: FloatArray
    log_prior_C: FloatArray | None = None
    answers: tuple[JsonValue, ...] = ()
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True)
class HeldOutPrediction:
    """The prediction of a round's model for one audit or calibration item.

    Attributes:
        model: ``adapted`` or ``shadow``; a round without an adapter has its base model as ``adapted``.
        log_probs_C: The predictive mean, not temperature-scaled, (C,) float64 natural logs.
        uncertainty: By the campaign's measure, over all samples; ``None`` for the shadow, and if the
            measure needs other items (EPIG).
        answers: The values of the columns where answers are open; empty if the task knows the values.
        signals: What else the model told of the item, by name.
    """

    item_id: str
    model: str
    log_probs_C: FloatArray
    uncertainty: float | None = None
    answers: tuple[JsonValue, ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict)
