"""How a round's models are measured by their answers to labelled items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from star_al.common.wording import count
from star_al.config.spec import CampaignSpec
from star_al.parts import RoundParts
from star_al.stats import metrics
from star_al.stats.answered import Answered
from star_al.stats.ece_floor import ece_in_words
from star_al.stats.figures import figures_in_words, measured_figures
from star_al.stats.temperature import Temperature, apply_temperature, fit_temperature
from star_al.steps.answers import Answers, Split, base_model_answers
from star_al.task.columns import grade_of, is_open
from star_al.types import Evaluation, IntArray, Role


def temperature_of(answers: Answers, calibration: Split) -> Temperature:
    """Fit a temperature to a model's answers to the calibration items."""
    return fit_temperature(answers.log_probs_N_C, calibration.targets(answers))


def base_evaluations(parts: RoundParts, split: Split, role: Role, fitted: Temperature) -> list[Evaluation]:
    """Evaluations of the learner's base model: raw, contextually calibrated if configured, and scaled."""
    calibrated = base_model_answers(parts, split, learner=parts.learner)
    rows = scaled("base", calibrated, split, role, fitted)
    if not parts.spec.task.contextual_calibration:
        return rows
    # The first of ``rows`` is called raw but is calibrated: the store's predictions come calibrated by default,
    # and the temperature is fitted on top of that.
    raw = base_model_answers(parts, split, learner=parts.learner, contextual=False)
    return [
        evaluation("base", "raw", raw, split, role, 1.0),
        evaluation("base", "contextual", calibrated, split, role, 1.0),
        *rows[1:],
    ]


def scaled(model: str, answers: Answers, split: Split, role: Role, fitted: Temperature) -> list[Evaluation]:
    """Evaluations of a model: raw, and scaled by temperature if one was fitted."""
    rows = [evaluation(model, "raw", answers, split, role, 1.0)]
    if fitted.n:
        scaled_N_C = apply_temperature(answers.log_probs_N_C, fitted.value)
        cooled = replace(answers, log_probs_N_C=scaled_N_C)
        rows.append(evaluation(model, "temperature", cooled, split, role, fitted.value))
    return rows


def evaluation(
    model: str, scaling: str, answers: Answers, split: Split, role: Role, temperature: float
) -> Evaluation:
    """The metrics of a model's answers to a split."""
    targets_N = split.targets(answers)
    if is_open(split.task):
        return _of_open_answers(model, scaling, answers, split, targets_N, role, temperature)
    return metrics.evaluate(
        answers.log_probs_N_C,
        targets_N,
        split.label_names,
        model=model,
        scaling=scaling,
        split=role,
        temperature=temperature,
    )


def _of_open_answers(
    model: str,
    scaling: str,
    answers: Answers,
    split: Split,
    targets_N: IntArray,
    role: Role,
    temperature: float,
) -> Evaluation:
    answered = answered_items(answers, split)
    return metrics.evaluate_answers(
        answers.log_probs_N_C,
        targets_N,
        answered,
        measured_figures(split.task.spec.kind, answered),
        model=model,
        scaling=scaling,
        split=role,
        temperature=temperature,
    )


def answered_items(answers: Answers, split: Split) -> Answered:
    """A model's answers beside what people said, graded."""
    predicted = answers.predicted(split.task, split.items)
    values = [value for _, value in predicted]
    grades_N = np.array(
        [
            grade_of(split.task, item, value, gold) or 0.0
            for item, value, gold in zip(split.items, values, split.golds, strict=True)
        ]
    )
    columns_N = [column for column, _ in predicted]
    return Answered(
        items=split.items,
        answers=values,
        golds=split.golds,
        grades_N=grades_N,
        right_N=grades_N >= split.task.right_at,
        confidence_N=np.exp(answers.log_probs_N_C[np.arange(len(split)), columns_N]),
        label_names=split.task.spec.label_names,
    )


def evaluations_in_words(evaluations: Sequence[Evaluation], spec: CampaignSpec) -> str:
    """Accuracy and calibration of the models that were measured."""
    last = {one.model: one for one in evaluations}
    if "adapted" not in last and "head" not in last:
        return "no held-out labels, so no metrics"
    main = last.get("adapted") or last["head"]
    untrained = "by label names alone" if spec.has_head_learner else "base"
    base = f" ({untrained} {last['base'].accuracy:.3f})" if "base" in last else ""
    beside = f", head {last['head'].accuracy:.3f}" if main.model == "adapted" and "head" in last else ""
    if "delivered" in last:
        beside += f", delivered {last['delivered'].accuracy:.3f}"
    beside += "".join(f", {words}" for words in figures_in_words(spec.task.kind, main))
    return (
        f"accuracy {main.accuracy:.3f}{base}{beside}, "
        f"ECE {ece_in_words(main)}, NLL {main.nll:.3f} on {count(main.n, 'text')}"
    )
