"""Answers of a round's models to labelled items, and how they are measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.measures import MEASURES, predictive_mean_log
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec import CampaignSpec
from star_al.parts import RoundParts
from star_al.ports import Learner
from star_al.stats import metrics
from star_al.stats.ece_floor import ece_in_words
from star_al.stats.figures import FIGURES
from star_al.stats.temperature import Temperature, apply_temperature
from star_al.steps.base_predictions import base_log_probs, pad
from star_al.steps.pool import SHARD_ITEMS, all_draws, ranking_draws
from star_al.types import Evaluation, FloatArray, HeldOutPrediction, IntArray, Item, Label, Role


@dataclass(frozen=True)
class Split:
    """Items with the columns of their labels; ``label_names`` are those of the item with most options."""

    items: tuple[Item, ...]
    targets_N: IntArray
    label_names: tuple[str, ...]

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items, in order."""
        return [item.item_id for item in self.items]


NO_ITEMS = Split((), np.zeros(0, dtype=np.int64), ())


def split_of(parts: RoundParts, role: Role, among: Collection[str] | None = None) -> Split:
    """The labelled items of a role, all of them if ``among`` is None."""
    labels: dict[str, Label] = parts.store.labels(parts.campaign.campaign_id, role)
    # Labels that came with the data do not make an audit item part of the sample before its turn.
    labels = {item_id: label for item_id, label in labels.items() if among is None or item_id in among}
    items = tuple(parts.store.items(parts.campaign.campaign_id, sorted(labels)))
    columns = [parts.task.column(item, labels[item.item_id].value) for item in items]
    return Split(items, np.array(columns, dtype=np.int64), parts.task.columns(items))


@dataclass(frozen=True)
class Answers:
    """Answers to N items.

    Attributes:
        log_probs_N_C: The predictive mean over all samples, padded with −inf.
        uncertainty_N: By the campaign's measure; None for a measure that needs other items (EPIG).
    """

    log_probs_N_C: FloatArray
    uncertainty_N: FloatArray | None


class RoundModel:
    """A model of a round: what it trained, or the base model if it trained nothing of this kind.

    Args:
        parts: The round.
        learner: What predicts.
        sha256: Its artefact; None for the base model.
        ranks: True if this kind of model ranks the pool.
    """

    def __init__(self, parts: RoundParts, learner: Learner, sha256: str | None, *, ranks: bool) -> None:
        self._parts, self._learner = parts, learner
        self._folder: Path | None = None if sha256 is None else parts.artefacts.path_of(sha256)
        self._draws = ranking_draws(parts.spec) if ranks else _draws_beside(parts, learner)
        self._is_head = ranks and parts.spec.head_ranks
        self._measure = MEASURES.get(parts.spec.acquisition.measure)
        self._seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "evaluate")

    def answers(self, split: Split) -> Answers:
        """Answers to all items of a split."""
        log_probs, uncertainty = self._predict(split.items, self._draws)
        if self._is_head and self._draws is not None:  # the samples are for the measure alone
            log_probs = self._predict(split.items, None)[0]
        return Answers(pad(log_probs), None if self._measure is None else np.array(uncertainty))

    def mean_log_probs(self, items: Sequence[Item]) -> FloatArray:
        """The prediction (N, C) of the posterior's mean or mode, padded with −inf."""
        return pad(self._predict(items, None)[0])

    def _predict(self, items: Sequence[Item], draws: range | None) -> tuple[list[FloatArray], list[float]]:
        """The predictive mean of each item, and its uncertainty by the measure."""
        rows: list[FloatArray] = []
        uncertainty: list[float] = []
        for log_probs_N_K_C in self._pages(items, draws):
            rows.extend(predictive_mean_log(log_probs_N_K_C))
            if self._measure is not None:
                per_option = self._parts.task.has_options
                uncertainty.extend(self._measure(log_probs_N_K_C, per_option=per_option))
        return rows, uncertainty

    def _pages(self, items: Sequence[Item], draws: range | None) -> Iterator[FloatArray]:
        """Log-probabilities (N, K, C) of all items, page by page."""
        if self._folder is None:  # the store has base predictions for all rounds, so the model need not run
            if items:
                item_ids = [item.item_id for item in items]
                yield base_log_probs(self._parts, item_ids, learner=self._learner)[:, None, :]
            return
        with self._parts.progress.task("Evaluating", len(items)) as advance:
            for page in pages(items, SHARD_ITEMS):
                yield self._learner.predict(
                    self._folder, page, draws=draws, seed=self._seed, advance=advance
                ).log_probs_N_K_C


def _draws_beside(parts: RoundParts, learner: Learner) -> range | None:
    """The samples of a model that does not rank; a head knows its predictive mean without any."""
    return None if learner is parts.head else all_draws(parts.spec)


def kept(parts: RoundParts, model: str, split: Split, answers: Answers) -> list[HeldOutPrediction]:
    """Answers as the store keeps them, without the padding; uncertainties of the ranking model alone."""
    # The measured blend weight reads them, and it weighs the ranking model against its base model alone.
    uncertainty_N = answers.uncertainty_N if model == parts.spec.ranking_model else None
    return [
        HeldOutPrediction(
            item.item_id,
            model,
            answers.log_probs_N_C[row, : len(parts.task.choices(item))].copy(),
            None if uncertainty_N is None else float(uncertainty_N[row]),
        )
        for row, item in enumerate(split.items)
    ]


def base_evaluations(parts: RoundParts, split: Split, role: Role, fitted: Temperature) -> list[Evaluation]:
    """Evaluations of the learner's base model: raw, contextually calibrated if configured, and scaled."""
    learner, item_ids = parts.learner, split.item_ids
    calibrated = base_log_probs(parts, item_ids, learner=learner)
    rows = scaled("base", calibrated, split, role, fitted)
    if not parts.spec.task.contextual_calibration:
        return rows
    # The first of ``rows`` is called raw but is calibrated: the store's predictions come calibrated by default,
    # and the temperature is fitted on top of that.
    raw = base_log_probs(parts, item_ids, learner=learner, contextual=False)
    return [
        evaluation("base", "raw", raw, split, role, 1.0),
        evaluation("base", "contextual", calibrated, split, role, 1.0),
        *rows[1:],
    ]


def scaled(
    model: str, log_probs_N_C: FloatArray, split: Split, role: Role, fitted: Temperature
) -> list[Evaluation]:
    """Evaluations of a model: raw, and scaled by temperature if one was fitted."""
    rows = [evaluation(model, "raw", log_probs_N_C, split, role, 1.0)]
    if fitted.n:
        scaled_N_C = apply_temperature(log_probs_N_C, fitted.value)
        rows.append(evaluation(model, "temperature", scaled_N_C, split, role, fitted.value))
    return rows


def evaluation(
    model: str, scaling: str, log_probs_N_C: FloatArray, split: Split, role: Role, temperature: float
) -> Evaluation:
    """The metrics of a model's predictions on a split."""
    return metrics.evaluate(
        log_probs_N_C,
        split.targets_N,
        split.label_names,
        model=model,
        scaling=scaling,
        split=role,
        temperature=temperature,
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
    beside += "".join(f", {figure.in_words(main)}" for figure in FIGURES[spec.task.kind])
    return (
        f"accuracy {main.accuracy:.3f}{base}{beside}, "
        f"ECE {ece_in_words(main)}, NLL {main.nll:.3f} on {count(main.n, 'text')}"
    )
