"""Fit the head to the labels bought: choose features and settings by cross-validation, then fit on all labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from star_al.head.feature_reader import FeatureReader
from star_al.head.fitted_head import FittedHead
from star_al.head.folds import CrossValidation, Settings, combined, deal_folds
from star_al.head.inputs import (
    PRIOR_OF_KIND,
    PROTOTYPES,
    Examples,
    FeatureKind,
    HeadOptions,
    PoolTexts,
)
from star_al.head.laplace import UNKNOWN_VARIANCE, Posterior, jackknife_variance, measured_rows
from star_al.head.pool_rows import PoolRows
from star_al.head.ridge import RidgeProblem, Weights
from star_al.head.selection import Selected, default_settings, select_settings
from star_al.head.smoothing import HeldOut, Smoothing, choose_smoothing, smoothing_candidates
from star_al.types import Float32Array, FloatArray, IntArray, JsonObject

DEFAULTS = HeadOptions()


def fit_head(
    pool: PoolTexts, examples: Examples, n_labels: int, options: HeadOptions = DEFAULTS
) -> FittedHead:
    """Fit a head. The same arguments give the same head, whatever the number of threads.

    Args:
        pool: All texts of the pool, labelled ones too.
        examples: Labels of pool texts; there may be none.
        n_labels: C, at least 2. A label without examples is predicted by its offsets.
        options: What to choose and what is given.

    Raises:
        ValueError: A row or label is out of range, or there are no such features.
    """
    _check(pool, examples, n_labels)
    with threadpool_limits(1):  # several threads would add up in any order
        candidates = [
            _Candidate.of(pool, examples, n_labels, kind, options) for kind in options.kinds(pool.features)
        ]
        best = max(candidates, key=lambda each: each.score)
        return best.head(examples, n_labels, {each.kind: each.score for each in candidates})


@dataclass(frozen=True)
class _Candidate:
    """The best settings for one kind of features.

    Attributes:
        rows: The pool as it is read.
        offsets: Of the examples, (n, C) each.
        fold_weights: Weights of the fits that leave out one fold; none with fewer than two labelled texts.
        measured: Features and offsets of the pool texts on which the spread of the posterior is measured.
    """

    kind: FeatureKind
    rows: PoolRows
    features_n_r: FloatArray
    offsets: tuple[FloatArray, ...]
    problem: RidgeProblem
    settings: Settings
    fold_weights: dict[int, Weights]
    measured: tuple[Float32Array, tuple[FloatArray, ...]]
    smoothing: Smoothing
    score: float
    held_out_nll: float | None

    @classmethod
    def of(
        cls, pool: PoolTexts, examples: Examples, n_labels: int, kind: FeatureKind, options: HeadOptions
    ) -> _Candidate:
        rows = PoolRows.of(pool, FeatureReader.of(pool, kind), examples, prototypes=options.prototypes)
        features_n_r = rows.features_P_r[examples.rows_n].astype(np.float64)
        of_examples = rows.offsets(examples.rows_n)
        fold_n = deal_folds(examples.rows_n, examples.targets_n, options.seed)
        if rows.prototypes is not None and len(np.unique(fold_n)) > 1:
            of_examples = (*of_examples[:-1], _crossed(rows, examples, fold_n))
        problem = RidgeProblem.of(features_n_r, examples.targets_n, n_labels, examples.counts_n)
        candidates = smoothing_candidates(options.neighbours, pool.neighbours)
        rows_M = measured_rows(len(pool))
        measured = rows.features_P_r[rows_M], rows.offsets(rows_M)
        parts = (kind, rows, features_n_r, of_examples, problem)
        if len(np.unique(examples.rows_n)) < 2:
            return cls(*parts, default_settings(rows.offset_names), {}, measured, candidates[0], 0.0, None)
        selected = select_settings(CrossValidation(problem, of_examples, fold_n), rows.offset_names)
        held_out = _held_out(rows, examples, problem, fold_n, selected)
        smoothing, score = choose_smoothing(held_out, candidates)
        return cls(
            *parts,
            selected.settings,
            selected.fold_weights,
            measured,
            smoothing,
            score + PRIOR_OF_KIND[kind],
            -score / len(examples),
        )

    def head(self, examples: Examples, n_labels: int, scores: dict[FeatureKind, float]) -> FittedHead:
        offset_n_C = combined(self.offsets, self.settings.offset_weights_J)
        weights = self.problem.fit(
            self.settings.penalty, offset_n_C, start=next(iter(self.fold_weights.values()), None)
        )
        rows = np.arange(len(examples))
        rows_U, probs_U_C = examples.fixed(n_labels)
        offset_weights = self._offset_weights()
        weights_r_C = self.problem.basis_r_d.T @ weights.basis_r_C
        if self.rows.prototypes is not None:  # a linear function of the features, as the weights are
            weights_r_C = weights_r_C + offset_weights.pop(PROTOTYPES) * self.rows.prototypes.weights_r_C
        return FittedHead(
            reader=self.rows.reader,
            weights_r_C=weights_r_C,
            bias_C=weights.bias_C,
            offset_weights=offset_weights,
            posterior=Posterior(
                self.features_n_r.astype(np.float32),
                self.problem.logits(weights, offset_n_C, rows),
                self.problem.weights_n,
                self.settings.penalty.strength,
                self.settings.penalty.bias_sd,
                self._logit_variance(weights),
            ),
            smoothing=self.smoothing,
            fixed_rows_U=rows_U,
            fixed_probs_U_C=probs_U_C,
            record=self._record(len(examples), scores),
        )

    def _offset_weights(self) -> dict[str, float]:
        return dict(zip(self.rows.offset_names, self.settings.offset_weights_J, strict=True))

    def _logit_variance(self, weights: Weights) -> float:
        if not self.fold_weights:
            return UNKNOWN_VARIANCE
        features_M_r, offsets = self.measured
        each = [self._logits(features_M_r, offsets, of_fold) for of_fold in self.fold_weights.values()]
        probs_M_C = softmax(self._logits(features_M_r, offsets, weights), axis=1)
        return jackknife_variance(np.stack(each), probs_M_C)

    def _logits(
        self, features_M_r: Float32Array, offsets: tuple[FloatArray, ...], weights: Weights
    ) -> FloatArray:
        return _logits(self.problem, weights, self.settings, features_M_r, offsets)

    def _record(self, n: int, scores: dict[FeatureKind, float]) -> JsonObject:
        return {
            "labels": n,
            "features": self.kind,
            "components": self.rows.reader.width,
            "strength": self.settings.penalty.strength,
            "bias_sd": self.settings.penalty.bias_sd,
            "offset_weights": self._offset_weights(),
            "neighbours": self.smoothing.neighbours,
            "neighbour_weight": self.smoothing.weight,
            "temperature": self.smoothing.temperature,
            "held_out_nll": self.held_out_nll,
            "scores": {kind: scores[kind] for kind in sorted(scores)},
        }


def _crossed(rows: PoolRows, examples: Examples, fold_n: IntArray) -> FloatArray:
    """Compare examples with prototypes that were found without the labels of their fold, (n, C).

    To leave out an example's own text is not enough: its label has also moved the guesses about texts like it.
    """
    of_folds = []
    for fold in np.unique(fold_n):
        found = rows.find_prototypes(_others(examples, fold_n != fold))
        of_fold = rows.features_P_r[examples.rows_n[fold_n == fold]].astype(np.float64)
        of_folds.append(of_fold @ found.weights_r_C)
    compared_n_C: FloatArray = np.concatenate(of_folds)[np.argsort(np.argsort(fold_n, kind="stable"))]
    return compared_n_C


def _held_out(
    rows: PoolRows, examples: Examples, problem: RidgeProblem, fold_n: IntArray, selected: Selected
) -> HeldOut:
    """Predict each example's neighbours by the fit that did not see its fold."""
    pool = rows.pool
    own_n_C = np.exp(selected.held_out_n_C)
    around_n_k_C = np.zeros((len(examples), pool.neighbours, problem.n_labels), dtype=np.float32)
    if pool.graph is not None:
        for fold, weights in selected.fold_weights.items():
            inside = np.flatnonzero(fold_n == fold)
            near_m_k = pool.graph.indices_N_k[examples.rows_n[inside]].astype(np.int64)
            rows_V, place = np.unique(near_m_k, return_inverse=True)
            read = rows.features_P_r[rows_V], rows.offsets(rows_V)
            probs_V_C = softmax(_logits(problem, weights, selected.settings, *read), axis=1).astype(
                np.float32
            )
            _fix_labels(probs_V_C, rows_V, _others(examples, fold_n != fold), problem.n_labels)
            around_n_k_C[inside] = probs_V_C[place.reshape(near_m_k.shape)]
    return HeldOut(own_n_C, around_n_k_C, problem.targets_n, problem.weights_n)


def _logits(
    problem: RidgeProblem,
    weights: Weights,
    settings: Settings,
    features_V_r: Float32Array,
    offsets: tuple[FloatArray, ...],
) -> FloatArray:
    """Return the logits of texts, (V, C)."""
    logits_V_C: FloatArray = features_V_r @ (problem.basis_r_d.T @ weights.basis_r_C) + weights.bias_C
    offset_V_C = combined(offsets, settings.offset_weights_J)
    return logits_V_C if offset_V_C is None else logits_V_C + offset_V_C


def _others(examples: Examples, kept_n: IntArray) -> Examples:
    return Examples(examples.rows_n[kept_n], examples.targets_n[kept_n], examples.counts_n[kept_n])


def _fix_labels(probs_V_C: Float32Array, rows_V: IntArray, examples: Examples, n_labels: int) -> None:
    """Put labels in place of the predictions of labelled rows."""
    fixed_rows_U, fixed_probs_U_C = examples.fixed(n_labels)
    _, at_V, at_U = np.intersect1d(rows_V, fixed_rows_U, assume_unique=True, return_indices=True)
    probs_V_C[at_V] = fixed_probs_U_C[at_U]


def _check(pool: PoolTexts, examples: Examples, n_labels: int) -> None:
    if n_labels < 2:
        raise ValueError(f"a head needs at least two labels, not {n_labels}")
    if len(examples) and not 0 <= examples.rows_n.min() <= examples.rows_n.max() < len(pool):
        raise ValueError(f"an example's row is not in the pool of {len(pool)} texts")
    if len(examples) and not 0 <= examples.targets_n.min() <= examples.targets_n.max() < n_labels:
        raise ValueError(f"an example's label is not one of {n_labels}")
    for name, values_P_C in pool.offsets.items():
        if values_P_C.shape[1:] != (n_labels,) or not np.isfinite(values_P_C).all():
            raise ValueError(f"offset {name} must be finite, with {n_labels} columns")
