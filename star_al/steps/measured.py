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
from star_al.stats.platt import fit_platt, right_probabilities
from star_al.stats.temperature import Temperature, apply_temperature, fit_temperature
from star_al.steps.answers import Answers, Split, base_model_answers
from star_al.task import Task
from star_al.task.columns import grade_of, is_open
from star_al.types import Evaluation, FloatArray, IntArray, Item, PlattScaling, Role


def temperature_of(answers: Answers, calibration: Split) -> Temperature:
    """Fit a temperature to a model's answers to the calibration items."""
    return fit_temperature(answers.log_probs_N_C, calibration.targets(answers))


def platt_of(answers: Answers, calibration: Split) -> tuple[PlattScaling | None, str]:
    """Fit the probability that an answer counts as right, where answers are graded; see ``fit_platt``."""
    if not calibration.task.is_graded or not len(calibration):
        return None, ""
    right_N = answered_items(answers, calibration).right_N
    return fit_platt(_log_p(answers, calibration.items, calibration.task), answers.signals, right_N)


def confidences(
    answers: Answers, items: Sequence[Item], task: Task, platt: PlattScaling | None
) -> FloatArray:
    """How sure a model is of its answers (N,): by ``platt``, or else the probabilities of the predicted columns."""
    log_p_N = _log_p(answers, items, task)
    return np.exp(log_p_N) if platt is None else right_probabilities(platt, log_p_N, answers.signals)


def _log_p(answers: Answers, items: Sequence[Item], task: Task) -> FloatArray:
    columns_N = [column for column, _ in answers.predicted(task, items)]
    log_p_N: FloatArray = answers.log_probs_N_C[np.arange(len(items)), columns_N]
    return log_p_N


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


def scaled(
    model: str,
    answers: Answers,
    split: Split,
    role: Role,
    fitted: Temperature,
    platt: PlattScaling | None = None,
) -> list[Evaluation]:
    """Evaluations of a model: raw, and scaled by temperature, and its confidence by ``platt``, if they were fitted."""
    rows = [evaluation(model, "raw", answers, split, role, 1.0)]
    if fitted.n:
        scaled_N_C = apply_temperature(answers.log_probs_N_C, fitted.value)
        cooled = replace(answers, log_probs_N_C=scaled_N_C)
        sure_N = None if platt is None else confidences(answers, split.items, split.task, platt)
        rows.append(evaluation(model, "temperature", cooled, split, role, fitted.value, sure_N))
    return rows


def evaluation(
    model: str,
    scaling: str,
    answers: Answers,
    split: Split,
    role: Role,
    temperature: float,
    confidence_N: FloatArray | None = None,
) -> Evaluation:
    """The metrics of a model's answers to a split; open ones may have another confidence than their probability."""
    targets_N = split.targets(answers)
    if is_open(split.task):
        return _of_open_answers(model, scaling, answers, split, targets_N, role, temperature, confidence_N)
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
    confidence_N: FloatArray | None,
) -> Evaluation:
    answered = answered_items(answers, split, confidence_N)
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


def answered_items(answers: Answers, split: Split, confidence_N: FloatArray | None = None) -> Answered:
    """A model's answers beside what people said, graded; the confidence is their probability if none is given."""
    values = [value for _, value in answers.predicted(split.task, split.items)]
    grades_N = np.array(
        [
            grade_of(split.task, item, value, gold) or 0.0
            for item, value, gold in zip(split.items, values, split.golds, strict=True)
        ]
    )
    return Answered(
        items=split.items,
        answers=values,
        golds=split.golds,
        grades_N=grades_N,
        right_N=grades_N >= split.task.right_at,
        confidence_N=confidences(answers, split.items, split.task, None)
        if confidence_N is None
        else confidence_N,
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
