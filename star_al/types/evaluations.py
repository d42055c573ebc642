"""How good a round's model is on held-out labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from star_al.types.items import Role


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One bin (low, high] of a reliability diagram; ``confidence`` and ``accuracy`` are ``None`` if empty."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model on the held-out split of a round.

    Attributes:
        model: ``base``, ``adapted``, ``shadow`` (the model of the control arm), ``head`` (beside a language
            model), or ``delivered`` (what both give together).
        scaling: ``raw``, ``contextual`` or ``temperature``. Where answers are graded, the last has the confidence of
            the round's ``platt``, if it was fitted.
        macro_f1: ``None`` where answers are open, as are the two that follow empty.
        recall: By label.
        confusion_C_C: Rows are true labels, columns predicted labels.
        brier: Ranges from 0 to 2.
        ece: By 15 equal-width bins of the top-1 confidence.
        ece_equal_mass: By 15 bins of equal mass.
        figures: Further figures of the kind of task, by key (``star_al.stats.figures``).
    """

    model: str
    scaling: str
    split: Role
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float | None
    recall: Mapping[str, float | None]
    confusion_C_C: tuple[tuple[int, ...], ...]
    nll: float
    brier: float
    ece: float
    ece_equal_mass: float
    temperature: float
    bins: tuple[CalibrationBin, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
