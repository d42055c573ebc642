"""Fit a head for multiple choice: choose features and settings by cross-validation, then fit on all answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from star_al.head.choice_head import FittedChoiceHead
from star_al.head.choice_inputs import SIMILARITY, ChoiceTexts, by_question
from star_al.head.choice_scaling import ChoiceScaling, within_questions
from star_al.head.conditional_logit import ConditionalLogit
from star_al.head.coordinate_search import Axis, coordinate_search
from star_al.head.folds import combined, deal_folds
from star_al.head.inputs import PRIOR_OF_KIND, ZERO_SHOT, FeatureKind, HeadOptions
from star_al.stats.temperature import fit_temperature
from star_al.types import FloatArray, IntArray, JsonObject

STRENGTHS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
"""Grid of α, for features whose differences within a question have mean squared length 1."""

OFFSET_WEIGHTS = {SIMILARITY: (0.0, 2.0, 5.0, 10.0, 15.0, 20.0), ZERO_SHOT: (0.0, 0.25, 0.5, 1.0)}
"""Grids of the offsets' weights; 0 leaves an offset out."""

DEFAULT_STRENGTH = 3.0
DEFAULT_OFFSET_WEIGHTS = {SIMILARITY: 2.0, ZERO_SHOT: 0.5}

_STRENGTH_SD = 0.7  # in powers of ten
_OFFSET_SDS = {SIMILARITY: 5.0, ZERO_SHOT: 0.5}


class _Settings(NamedTuple):
    """Strength α, and a weight for each offset."""

    strength: float
    offset_weights_J: tuple[float, ...]


class _Scored(NamedTuple):
    """A score in nats, and held-out log-probabilities (n, C)."""

    score: float
    held_out_n_C: FloatArray


def fit_choice_head(
    pool: ChoiceTexts, rows_n: IntArray, targets_n: IntArray, options: HeadOptions
) -> FittedChoiceHead:
    """Fit a head. The same arguments give the same head, whatever the number of threads.

    Args:
        pool: All questions of the pool, answered ones too.
        rows_n: Which question each answer is for; there may be none.
        targets_n: The column of the option that is right.
        options: What to choose and what is given; neighbours do not apply.

    Raises:
        ValueError: A question has no such option.
    """
    if len(rows_n) and (targets_n >= pool.counts_N[rows_n]).any():
        raise ValueError("an answer is not one of its question's options")
    with threadpool_limits(1):  # several threads would add up in any order
        names = tuple(sorted(pool.offsets))
        candidates = [
            _Candidate.of(pool, rows_n, targets_n, kind, names, options.seed)
            for kind in options.kinds(pool.features)
        ]
        best = max(candidates, key=lambda each: each.score)
        return best.head({each.kind: each.score for each in candidates})


@dataclass(frozen=True)
class _Candidate:
    """The best settings for one kind of features."""

    kind: FeatureKind
    scalings: dict[str, ChoiceScaling]
    problem: ConditionalLogit
    offset_names: tuple[str, ...]
    offsets: tuple[FloatArray, ...]
    settings: _Settings
    temperature: float
    score: float
    held_out_nll: float | None

    @classmethod
    def of(
        cls,
        pool: ChoiceTexts,
        rows_n: IntArray,
        targets_n: IntArray,
        kind: FeatureKind,
        names: tuple[str, ...],
        seed: int,
    ) -> _Candidate:
        scalings = {each: ChoiceScaling.of(pool, each) for each in _parts(kind)}
        answered = pool.some(rows_n)
        present = answered.present_N_C
        blocks = [scaling.apply(answered.features[each]) for each, scaling in scalings.items()]
        features_R_r = within_questions(np.concatenate(blocks, axis=1) / np.sqrt(len(blocks)), answered)
        problem = ConditionalLogit(by_question(features_R_r, present, 0.0), present, targets_n)
        offsets = tuple(by_question(answered.offsets[name], present, 0.0) for name in names)
        settings = _Settings(DEFAULT_STRENGTH, tuple(DEFAULT_OFFSET_WEIGHTS[name] for name in names))
        parts = (kind, scalings, problem, names, offsets)
        if len(np.unique(rows_n)) < 2:
            return cls(*parts, settings, 1.0, 0.0, None)
        search = _Search(problem, names, offsets, deal_folds(rows_n, targets_n, seed))
        settings = search.best(settings)
        scored = search.scored(settings)
        temperature = fit_temperature(scored.held_out_n_C, targets_n).value
        nll = -_log_likelihood(scored.held_out_n_C, targets_n) / len(targets_n)
        return cls(*parts, settings, temperature, scored.score + PRIOR_OF_KIND[kind], nll)

    def head(self, scores: dict[FeatureKind, float]) -> FittedChoiceHead:
        offsets_n_C = _combined(self.problem, self.offsets, self.settings)
        strength = self.settings.strength
        weights_r = self.problem.fit(strength, offsets_n_C)
        return FittedChoiceHead(
            scalings=self.scalings,
            weights_r=weights_r,
            offset_weights=dict(zip(self.offset_names, self.settings.offset_weights_J, strict=True)),
            precision_r_r=self.problem.precision(weights_r, strength, offsets_n_C),
            temperature=self.temperature,
            record=self._record(scores),
        )

    def _record(self, scores: dict[FeatureKind, float]) -> JsonObject:
        return {
            "labels": len(self.problem.targets_n),
            "features": self.kind,
            "components": self.problem.features_n_C_r.shape[2],
            "strength": self.settings.strength,
            "offset_weights": dict(zip(self.offset_names, self.settings.offset_weights_J, strict=True)),
            "temperature": self.temperature,
            "held_out_nll": self.held_out_nll,
            "scores": {kind: scores[kind] for kind in sorted(scores)},
        }


@dataclass(frozen=True)
class _Search:
    """Searches settings by cross-validated likelihood."""

    problem: ConditionalLogit
    offset_names: tuple[str, ...]
    offsets: tuple[FloatArray, ...]
    fold_n: IntArray
    _tried: dict[_Settings, _Scored] = field(default_factory=dict)
    _weights: dict[int, FloatArray] = field(default_factory=dict)

    def best(self, settings: _Settings) -> _Settings:
        axes: list[Axis[_Settings]] = [
            *(
                Axis(OFFSET_WEIGHTS[name], partial(_with_weight, place=place))
                for place, name in enumerate(self.offset_names)
            ),
            Axis(STRENGTHS, _with_strength),
        ]
        return coordinate_search(settings, axes, lambda each: self.scored(each).score)

    def scored(self, settings: _Settings) -> _Scored:
        if settings not in self._tried:
            held_out_n_C = self._held_out(settings)
            score = _log_likelihood(held_out_n_C, self.problem.targets_n)
            self._tried[settings] = _Scored(score + self._log_prior(settings), held_out_n_C)
        return self._tried[settings]

    def _held_out(self, settings: _Settings) -> FloatArray:
        """Predict each fold by a fit on the others; each fit starts from the last one of its fold."""
        offsets_n_C = _combined(self.problem, self.offsets, settings)
        held_out_n_C = np.empty(self.problem.present_n_C.shape)
        for fold in range(int(self.fold_n.max()) + 1):
            inside_n = self.fold_n == fold
            self._weights[fold] = self.problem.fit(
                settings.strength, offsets_n_C, rows=np.flatnonzero(~inside_n), start=self._weights.get(fold)
            )
            held_out_n_C[inside_n] = self.problem.log_probs(self._weights[fold], offsets_n_C)[inside_n]
        return held_out_n_C

    def _log_prior(self, settings: _Settings) -> float:
        total = (math.log10(settings.strength / DEFAULT_STRENGTH) / _STRENGTH_SD) ** 2
        for name, weight in zip(self.offset_names, settings.offset_weights_J, strict=True):
            total += ((weight - DEFAULT_OFFSET_WEIGHTS[name]) / _OFFSET_SDS[name]) ** 2
        return -0.5 * total


def _with_strength(settings: _Settings, strength: float) -> _Settings:
    return settings._replace(strength=strength)


def _with_weight(settings: _Settings, weight: float, *, place: int) -> _Settings:
    weights = list(settings.offset_weights_J)
    weights[place] = weight
    return settings._replace(offset_weights_J=tuple(weights))


def _combined(problem: ConditionalLogit, offsets: tuple[FloatArray, ...], settings: _Settings) -> FloatArray:
    total = combined(offsets, settings.offset_weights_J)
    return np.zeros(problem.present_n_C.shape) if total is None else total


def _log_likelihood(log_probs_n_C: FloatArray, targets_n: IntArray) -> float:
    return float(log_probs_n_C[np.arange(len(targets_n)), targets_n].sum())


def _parts(kind: FeatureKind) -> tuple[str, ...]:
    return ("encoder", "model") if kind == "both" else (kind,)
