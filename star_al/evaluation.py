"""Measure a round's model on its held-out split, fit its temperature, and predict the stop set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from star_al import metrics, rng
from star_al.acquire.measures import predictive_mean_log
from star_al.calibration import Temperature, apply_temperature, fit_temperature
from star_al.config import CampaignSpec
from star_al.parts import Parts
from star_al.scoring import SHARD_ITEMS, all_draws, base_log_probs, pad
from star_al.types import Evaluation, FloatArray, IntArray, Item, Label, Role, Round


@dataclass(frozen=True)
class Measured:
    """What the evaluate step found out; no evaluations without a held-out split."""

    evaluations: tuple[Evaluation, ...]
    temperature: Temperature
    base_temperature: Temperature
    stop_set: dict[str, int]


@dataclass(frozen=True)
class _Split:
    """Items with their targets; the label names span the widest item."""

    items: tuple[Item, ...]
    targets_N: IntArray
    label_names: tuple[str, ...]

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]


def evaluate_round(parts: Parts, round_: Round, spec: CampaignSpec) -> Measured:
    """Metrics of base and adapted model, raw and scaled, as ``spec.evaluation`` asks for.

    Temperatures are fitted on the calibration items alone: they are random and never trained on.
    """
    calibration = _split(parts, Role.CALIBRATION)
    held_out = _split(parts, Role(spec.evaluation.kind)) if spec.evaluation.kind != "none" else None
    adapted = _Adapted(parts, round_, spec)
    temperature = fit_temperature(adapted.log_probs(calibration.items), calibration.targets_N)
    base_temperature = fit_temperature(_base(parts, calibration), calibration.targets_N)
    evaluations: tuple[Evaluation, ...] = ()
    if held_out is not None and held_out.items:
        role = Role(spec.evaluation.kind)
        evaluations = (
            *_base_evaluations(parts, held_out, role, base_temperature),
            *_scaled("adapted", adapted.log_probs(held_out.items), held_out, role, temperature),
        )
    return Measured(evaluations, temperature, base_temperature, _stop_set(parts, adapted, spec))


class _Adapted:
    """The round's model; the base model in a round without adapter."""

    def __init__(self, parts: Parts, round_: Round, spec: CampaignSpec) -> None:
        self._parts = parts
        self._folder: Path | None = (
            None if round_.adapter_sha256 is None else parts.artefacts.path_of(round_.adapter_sha256)
        )
        self._draws = all_draws(spec)
        self._seed = rng.derive_seed(parts.campaign.seed, round_.index, "evaluate")

    def log_probs(self, items: Sequence[Item]) -> FloatArray:
        """The predictive mean (N, C) over all samples, −inf padded."""
        return self._predict(items, self._draws)

    def mean_log_probs(self, items: Sequence[Item]) -> FloatArray:
        """The prediction (N, C) of the posterior's mean or mode, −inf padded."""
        return self._predict(items, None)

    def _predict(self, items: Sequence[Item], draws: range | None) -> FloatArray:
        if not items:
            return np.zeros((0, 1))
        if self._folder is None:
            return base_log_probs(self._parts, [item.item_id for item in items])
        rows: list[FloatArray] = []
        with self._parts.progress.task("Evaluating", len(items)) as advance:
            for start in range(0, len(items), SHARD_ITEMS):
                page = items[start : start + SHARD_ITEMS]
                predictions = self._parts.learner.predict(
                    self._folder, page, draws=draws, seed=self._seed, advance=advance
                )
                rows.extend(predictive_mean_log(predictions.log_probs_N_K_C))
        return pad(rows)


def _split(parts: Parts, role: Role) -> _Split:
    labels: dict[str, Label] = parts.store.labels(parts.campaign.campaign_id, role)
    items = tuple(parts.store.items(parts.campaign.campaign_id, sorted(labels)))
    columns = [parts.task.column(item, labels[item.item_id].value) for item in items]
    names = max((parts.task.label_names(item) for item in items), key=len, default=())
    return _Split(items, np.array(columns, dtype=np.int64), names)


def _base(parts: Parts, split: _Split) -> FloatArray:
    return base_log_probs(parts, split.item_ids) if split.items else np.zeros((0, 1))


def _base_evaluations(parts: Parts, split: _Split, role: Role, fitted: Temperature) -> list[Evaluation]:
    """Raw, contextually calibrated if asked, and temperature-scaled as configured."""
    rows = _scaled("base", base_log_probs(parts, split.item_ids), split, role, fitted)
    if not parts.spec.task.contextual_calibration:
        return rows
    raw = base_log_probs(parts, split.item_ids, contextual=False)
    return [
        _evaluate("base", "raw", raw, split, role, 1.0),
        _evaluate("base", "contextual", base_log_probs(parts, split.item_ids), split, role, 1.0),
        *rows[1:],
    ]


def _scaled(
    model: str, log_probs_N_C: FloatArray, split: _Split, role: Role, fitted: Temperature
) -> list[Evaluation]:
    """Raw, and temperature-scaled where a temperature was fitted."""
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


def _stop_set(parts: Parts, adapted: _Adapted, spec: CampaignSpec) -> dict[str, int]:
    """Predicted columns on a fixed random part of the first pool, by the posterior mean."""
    size = spec.evaluation.stop_set
    if size == 0:
        return {}
    campaign = parts.campaign
    first_pool = parts.store.pool_ids(campaign.campaign_id, 0)
    chosen = sorted(rng.draw(first_pool, size, rng.derive_seed(campaign.seed, 0, "stop set")))
    items = parts.store.items(campaign.campaign_id, chosen)
    columns_N = adapted.mean_log_probs(items).argmax(axis=1) if items else []
    return {item_id: int(column) for item_id, column in zip(chosen, columns_N, strict=True)}
