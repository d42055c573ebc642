"""Micro-F1 where a label is predicted from a threshold on that calibration texts chose for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from star_al.acquire.label_sets import signal_of
from star_al.stats.label_sets import AT_THRESHOLDS, chosen, micro_f1_of, thresholds
from star_al.steps.answers import Answers, Split
from star_al.types import Evaluation, FloatArray


def with_thresholds(
    evaluations: Sequence[Evaluation],
    calibration: tuple[Split, Answers],
    held_out: tuple[Split, Answers],
) -> list[Evaluation]:
    """Add the figure to evaluations of a model that tells the labels' probabilities; return others as they are.

    Args:
        evaluations: Of the held-out texts.
        calibration: Texts that choose the thresholds, with the model's answers; none of them is held out.
        held_out: Texts that the figure is of, with the model's answers.
    """
    (tuning, on_tuning), (split, answers) = calibration, held_out
    names = split.task.spec.label_names
    if not len(tuning) or not names or not {signal_of(name) for name in names} <= answers.signals.keys():
        return list(evaluations)
    levels_L = thresholds(_probs(on_tuning.signals, names), chosen(tuning.golds, names))
    predicted_N_L = _probs(answers.signals, names) >= levels_L
    figure = {AT_THRESHOLDS: micro_f1_of(predicted_N_L, chosen(split.golds, names))}
    return [replace(each, figures={**each.figures, **figure}) for each in evaluations]


def _probs(signals: Mapping[str, FloatArray], names: Sequence[str]) -> FloatArray:
    return np.stack([signals[signal_of(name)] for name in names], axis=1)
