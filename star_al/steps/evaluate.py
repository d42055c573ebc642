"""Measure a round's model on its held-out split, fit its temperature, and predict the stop set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.acquire.measures import MEASURES, predictive_mean_log
from star_al.common.paging import pages
from star_al.parts import RoundParts
from star_al.stats import metrics
from star_al.stats.temperature import Temperature, apply_temperature, fit_temperature
from star_al.steps.base_predictions import base_log_probs, pad
from star_al.steps.held_out import audit_so_far
from star_al.steps.pool import SHARD_ITEMS, all_draws
from star_al.types import Evaluation, FloatArray, HeldOutPrediction, IntArray, Item, Label, Role


@dataclass(frozen=True)
class EvaluationResults:
    """What the evaluate step found out.

    Attributes:
        evaluations: Metrics by model and scaling; none without a held-out split.
        temperature: Temperature of the adapted model.
        base_temperature: Temperature of the base model.
        stop_set: The predicted column of each item of the stop set.
        held_out: Predictions of the audit and calibration items. Those of a test file are not kept, as it may
            be large.
    """

    evaluations: tuple[Evaluation, ...]
    temperature: Temperature
    base_temperature: Temperature
    stop_set: dict[str, int]
    held_out: tuple[HeldOutPrediction, ...]


@dataclass(frozen=True)
class _Split:
    """Items with the columns of their labels; ``label_names`` are those of the item with most options."""

    items: tuple[Item, ...]
    targets_N: IntArray
    label_names: tuple[str, ...]

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]


_EMPTY = _Split((), np.zeros(0, dtype=np.int64), ())


def evaluate_round(parts: RoundParts) -> EvaluationResults:
    """Measure the round's models on the held-out split that ``evaluation`` names.

    The base and the adapted model are measured raw and scaled by temperature, the control arm's shadow raw.
    Temperatures are fitted on the calibration items alone, which are random and never trained on.
    """
    round_, spec = parts.round, parts.spec
    calibration = _split(parts, Role.CALIBRATION)
    role = Role(spec.evaluation.kind) if spec.evaluation.kind != "none" else None
    turn = audit_so_far(parts) if role is Role.AUDIT else None
    held_out = _split(parts, role, turn) if role is not None else _EMPTY
    adapted = _Model(parts, round_.adapter_sha256)
    on_calibration, on_held_out = adapted.answers(calibration), adapted.answers(held_out)
    temperature = fit_temperature(on_calibration.log_probs_N_C, calibration.targets_N)
    base_temperature = fit_temperature(_base(parts, calibration), calibration.targets_N)
    evaluations: list[Evaluation] = []
    kept = _kept(parts, "adapted", calibration, on_calibration)
    if role is not None and held_out.items:
        evaluations += _base_evaluations(parts, held_out, role, base_temperature)
        evaluations += _scaled("adapted", on_held_out.log_probs_N_C, held_out, role, temperature)
        kept += _kept(parts, "adapted", held_out, on_held_out) if role is Role.AUDIT else []
        if round_.shadow_sha256 is not None:
            shadow = _shadow(parts, held_out, on_held_out)
            evaluations.append(_evaluate("shadow", "raw", shadow.log_probs_N_C, held_out, role, 1.0))
            kept += _kept(parts, "shadow", held_out, shadow) if role is Role.AUDIT else []
    return EvaluationResults(
        evaluations=tuple(evaluations),
        temperature=temperature,
        base_temperature=base_temperature,
        stop_set=_stop_set(parts, adapted),
        held_out=tuple(kept),
    )


@dataclass(frozen=True)
class _Answers:
    """Answers to N items.

    Attributes:
        log_probs_N_C: The predictive mean over all samples, padded with −inf.
        uncertainty_N: By the campaign's measure; None for a measure that needs other items (EPIG).
    """

    log_probs_N_C: FloatArray
    uncertainty_N: FloatArray | None


class _Model:
    """The model with an adapter of the round; the base model if ``sha256`` is None."""

    def __init__(self, parts: RoundParts, sha256: str | None) -> None:
        self._parts = parts
        self._folder: Path | None = None if sha256 is None else parts.artefacts.path_of(sha256)
        self._draws = all_draws(parts.spec)
        self._measure = MEASURES.get(parts.spec.acquisition.measure)
        self._seed = rng.derive_seed(parts.campaign.seed, parts.round.index, "evaluate")

    def answers(self, split: _Split) -> _Answers:
        """Answers to all items of a split."""
        log_probs, uncertainty = self._predict(split.items, self._draws)
        return _Answers(pad(log_probs), None if self._measure is None else np.array(uncertainty))

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
                per_option = self._parts.task.is_multiple_choice
                uncertainty.extend(self._measure(log_probs_N_K_C, per_option=per_option))
        return rows, uncertainty

    def _pages(self, items: Sequence[Item], draws: range | None) -> Iterator[FloatArray]:
        """Log-probabilities (N, K, C) of all items, page by page."""
        if self._folder is None:  # the store has base predictions for all rounds, so the model need not run
            if items:
                yield base_log_probs(self._parts, [item.item_id for item in items])[:, None, :]
            return
        with self._parts.progress.task("Evaluating", len(items)) as advance:
            for page in pages(items, SHARD_ITEMS):
                yield self._parts.learner.predict(
                    self._folder, page, draws=draws, seed=self._seed, advance=advance
                ).log_probs_N_K_C


def _shadow(parts: RoundParts, held_out: _Split, of_adapted: _Answers) -> _Answers:
    """The shadow's answers; as long as the shadow is the adapted model, that model's."""
    if parts.round.shadow_sha256 == parts.round.adapter_sha256:
        return of_adapted
    return _Model(parts, parts.round.shadow_sha256).answers(held_out)


def _kept(parts: RoundParts, model: str, split: _Split, answers: _Answers) -> list[HeldOutPrediction]:
    """Answers as the store keeps them, without the padding; uncertainties of the adapted model alone."""
    # The measured blend weight reads them, and it weighs the adapted model against the base model alone.
    uncertainty_N = answers.uncertainty_N if model == "adapted" else None
    return [
        HeldOutPrediction(
            item.item_id,
            model,
            answers.log_probs_N_C[row, : len(parts.task.label_names(item))].copy(),
            None if uncertainty_N is None else float(uncertainty_N[row]),
        )
        for row, item in enumerate(split.items)
    ]


def _split(parts: RoundParts, role: Role, among: Collection[str] | None = None) -> _Split:
    """The labelled items of a role, all of them if ``among`` is None."""
    labels: dict[str, Label] = parts.store.labels(parts.campaign.campaign_id, role)
    # Labels that came with the data do not make an audit item part of the sample before its turn.
    labels = {item_id: label for item_id, label in labels.items() if among is None or item_id in among}
    items = tuple(parts.store.items(parts.campaign.campaign_id, sorted(labels)))
    columns = [parts.task.column(item, labels[item.item_id].value) for item in items]
    names = max((parts.task.label_names(item) for item in items), key=len, default=())
    return _Split(items, np.array(columns, dtype=np.int64), names)


def _base(parts: RoundParts, split: _Split) -> FloatArray:
    return base_log_probs(parts, split.item_ids) if split.items else np.zeros((0, 1))


def _base_evaluations(parts: RoundParts, split: _Split, role: Role, fitted: Temperature) -> list[Evaluation]:
    """Evaluations of the base model: raw, contextually calibrated if configured, and scaled by temperature."""
    rows = _scaled("base", base_log_probs(parts, split.item_ids), split, role, fitted)
    if not parts.spec.task.contextual_calibration:
        return rows
    # The first of ``rows`` is called raw but is calibrated: the store's predictions come calibrated by default,
    # and the temperature is fitted on top of that.
    raw = base_log_probs(parts, split.item_ids, contextual=False)
    return [
        _evaluate("base", "raw", raw, split, role, 1.0),
        _evaluate("base", "contextual", base_log_probs(parts, split.item_ids), split, role, 1.0),
        *rows[1:],
    ]


def _scaled(
    model: str, log_probs_N_C: FloatArray, split: _Split, role: Role, fitted: Temperature
) -> list[Evaluation]:
    """Evaluations of a model: raw, and scaled by temperature if one was fitted."""
    rows = [_evaluate(model, "raw", log_probs_N_C, split, role, 1.0)]
    if fitted.n:
        scaled_N_C = apply_temperature(log_probs_N_C, fitted.value)
        rows.append(_evaluate(model, "temperature", scaled_N_C, split, role, fitted.value))
    return rows


def _evaluate(
    model: str, scaling: str, log_probs_N_C: FloatArray, split: _Split, role: Role, temperature: float
) -> Evaluation:
    return metrics.evaluate(
        log_probs_N_C,
        split.targets_N,
        split.label_names,
        model=model,
        scaling=scaling,
        split=role,
        temperature=temperature,
    )


def _stop_set(parts: RoundParts, adapted: _Model) -> dict[str, int]:
    """Columns that the posterior's mean or mode predicts on a random sample of the first pool.

    The sample is the same in every round.
    """
    size = parts.spec.evaluation.stop_set
    if size == 0:
        return {}
    campaign = parts.campaign
    first_pool = parts.store.pool_ids(campaign.campaign_id, 0)
    chosen = sorted(rng.draw(first_pool, size, rng.derive_seed(campaign.seed, 0, "stop set")))
    items = parts.store.items(campaign.campaign_id, chosen)
    columns_N = adapted.mean_log_probs(items).argmax(axis=1) if items else []
    return {item_id: int(column) for item_id, column in zip(chosen, columns_N, strict=True)}
