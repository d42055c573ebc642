"""Compare the strategies of a study: learning curves, the area under them, and the labels they save.

Every strategy is compared with ``random`` of the same posterior, paired by seed (docs/methods.md, "Metrics"):
runs with the same seed share their held-out items and their first batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from star_al import rng
from star_al.stats import metrics
from star_al.stats.over_seeds import (
    Curves,
    Difference,
    Estimate,
    Saving,
    mean_curve,
    mean_interval,
    on_common_points,
    paired_difference,
    resamples,
    savings,
)
from star_al.types import FloatArray, IntArray

REFERENCE = "random"
"""The strategy that the others are compared with."""

POSTERIOR_MARK = "@"
"""Separates a strategy from the posterior that it runs with: ``entropy@laplace``."""

SHARES = (0.90, 0.95, 0.99)
"""Shares of the accuracy that ``random`` gains, at which the labels needed are compared."""

FEW_SEEDS, HEADLINE_SEEDS = 5, 10
"""Intervals are rough with fewer seeds than the first; a claim needs at least the second."""


@dataclass(frozen=True, slots=True)
class RunCurve:
    """The learning curve of one run: accuracy of its R rounds by the number of labels bought.

    Labels at the start, labels of audit and calibration items, and repeated answers to one item all count as
    bought. A run that is not ``finished`` may have no points yet.

    Attributes:
        strategy: The strategy.
        seed: The seed.
        campaign: The campaign's name.
        finished: True if a rule has stopped the campaign.
        labels_R: Labels bought.
        accuracy_R: Accuracy of the model that ranks the pool.
        base_accuracy: Accuracy of the base model.
        majority: Share of the most frequent label among the held-out items.
        seconds: Time that all rounds took.
        stop_reason: Why the campaign stopped.
        beside: The other model that was measured: ``head`` or ``language model``; None without one.
        beside_labels_R: Labels bought when it was.
        beside_accuracy_R: Its accuracy.
        delivered_labels_R: Labels bought when both models were weighed.
        delivered_accuracy_R: Accuracy of what they give together.
    """

    strategy: str
    seed: int
    campaign: str
    finished: bool
    labels_R: tuple[int, ...] = ()
    accuracy_R: tuple[float, ...] = ()
    base_accuracy: float | None = None
    majority: float | None = None
    seconds: float = 0.0
    stop_reason: str | None = None
    beside: str | None = None
    beside_labels_R: tuple[int, ...] = ()
    beside_accuracy_R: tuple[float, ...] = ()
    delivered_labels_R: tuple[int, ...] = ()
    delivered_accuracy_R: tuple[float, ...] = ()

    @property
    def aulc(self) -> float | None:
        """Area under the curve divided by its span; None if the span is empty."""
        return metrics.aulc(self.labels_R, self.accuracy_R)


@dataclass(frozen=True, slots=True)
class StrategyCurve:
    """A strategy over its finished seeds.

    Attributes:
        strategy: The strategy.
        seeds: Its finished seeds.
        labels_R: Labels bought.
        accuracy_R: Mean accuracy over seeds.
        low_R: Lower bounds of its bootstrap interval; None for one seed.
        high_R: Upper bounds.
        final: Accuracy of the last round.
        aulc: Area under the learning curve.
        paired: Seeds that the reference has finished too.
        final_difference: Difference of ``final`` to the reference; None without paired seeds.
        aulc_difference: Difference of ``aulc`` to the reference; None without paired seeds.
        savings: Labels saved compared with the reference; empty without paired seeds.
        seconds: Mean time of a run.
        reference: The strategy to compare with (``reference_of``).
        beside: The other model of these runs, as in ``RunCurve``.
        beside_final: Its accuracy in the last round; None if not all runs measured it there.
        beside_labels_R: Labels bought when all runs measured it; empty if that was in one round alone.
        beside_accuracy_R: Its mean accuracy over seeds.
        delivered_final: Accuracy of both models together, in the last round, likewise.
        delivered_labels_R: Labels bought when both were weighed, likewise.
        delivered_accuracy_R: Their mean accuracy together.
    """

    strategy: str
    seeds: tuple[int, ...]
    labels_R: tuple[float, ...]
    accuracy_R: tuple[float, ...]
    low_R: tuple[float, ...] | None
    high_R: tuple[float, ...] | None
    final: Estimate
    aulc: Estimate | None
    paired: tuple[int, ...] = ()
    final_difference: Difference | None = None
    aulc_difference: Difference | None = None
    savings: tuple[Saving, ...] = ()
    seconds: float = 0.0
    reference: str | None = None
    beside: str | None = None
    beside_final: Estimate | None = None
    beside_labels_R: tuple[float, ...] = ()
    beside_accuracy_R: tuple[float, ...] = ()
    delivered_final: Estimate | None = None
    delivered_labels_R: tuple[float, ...] = ()
    delivered_accuracy_R: tuple[float, ...] = ()

    @property
    def is_reference(self) -> bool:
        """True if others are compared with it, and it is compared with none."""
        return self.reference is None and is_random(self.strategy)

    def saving_at(self, share: float) -> Saving | None:
        """The saving at one of ``SHARES``."""
        return next((saving for saving in self.savings if saving.share == share), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results of a study so far.

    Attributes:
        study: The study's name.
        strategies: Strategies with a finished run: ``random`` first, the others by name.
        runs: All runs, finished or not.
        base_accuracy: Mean over finished runs; None without any.
        majority: Mean share of the majority class; None without finished runs.
    """

    study: str
    strategies: tuple[StrategyCurve, ...]
    runs: tuple[RunCurve, ...]
    base_accuracy: float | None
    majority: float | None

    @property
    def seeds(self) -> int:
        """The smallest number of seeds behind a figure; 0 without finished runs."""
        return min((len(each.paired or each.seeds) for each in self.strategies), default=0)

    @property
    def rough(self) -> bool:
        """True if there are too few seeds for intervals that can be relied on."""
        return self.seeds < FEW_SEEDS

    @property
    def headline(self) -> bool:
        """True if there are enough seeds for a claim."""
        return self.seeds >= HEADLINE_SEEDS

    @property
    def above_majority(self) -> bool | None:
        """True if the base model, or the whole interval of a strategy's accuracy, is above the majority class.

        None if that is not known.
        """
        if self.majority is None or self.base_accuracy is None:
            return None
        finals = [each.final.mean if each.final.low is None else each.final.low for each in self.strategies]
        return max([self.base_accuracy, *finals]) > self.majority

    def strategy(self, name: str) -> StrategyCurve | None:
        """One of the strategies."""
        return next((each for each in self.strategies if each.strategy == name), None)


def compare(name: str, runs: Sequence[RunCurve], posterior: str | None = None) -> Comparison:
    """Compare finished runs.

    Args:
        name: The study's name.
        runs: All runs of the study; unfinished ones are listed but not compared.
        posterior: The kind of posterior in the campaign file.
    """
    by_strategy: dict[str, dict[int, RunCurve]] = {}
    for run in runs:
        if run.finished and run.labels_R:
            by_strategy.setdefault(run.strategy, {})[run.seed] = run
    planned = {run.strategy for run in runs}
    names = sorted(by_strategy, key=lambda strategy: (not is_random(strategy), strategy))
    against = {name: reference_of(name, planned, posterior) for name in names}
    done = [run for by_seed in by_strategy.values() for run in by_seed.values()]
    return Comparison(
        study=name,
        strategies=tuple(
            _strategy(name, by_strategy[name], against[name], by_strategy.get(against[name] or "", {}))
            for name in names
        ),
        runs=tuple(runs),
        base_accuracy=_mean([run.base_accuracy for run in done]),
        majority=_mean([run.majority for run in done]),
    )


def reference_of(strategy: str, planned: Collection[str], posterior: str | None) -> str | None:
    """The strategy that another is compared with: ``random`` of the same posterior.

    If that is not planned, and for a ``random`` that names a posterior, it is ``random`` of the campaign's own
    posterior. Every ``random`` asks for the same texts.

    Args:
        strategy: The strategy to compare.
        planned: All strategies of the study.
        posterior: The kind of posterior in the campaign file.

    Returns:
        The reference; None if the strategy is compared with none.
    """
    own = (REFERENCE, f"{REFERENCE}{POSTERIOR_MARK}{posterior}")
    if strategy in own:
        return None
    _, mark, named = strategy.partition(POSTERIOR_MARK)
    candidates = (f"{REFERENCE}{mark}{named}", *own)
    return next((each for each in candidates if each in planned and each != strategy), None)


def is_random(strategy: str) -> bool:
    """True for ``random``, also of a posterior of its own."""
    return strategy.partition(POSTERIOR_MARK)[0] == REFERENCE


def _strategy(
    name: str, runs: Mapping[int, RunCurve], against: str | None, reference: Mapping[int, RunCurve]
) -> StrategyCurve:
    seeds = tuple(sorted(runs))
    own = _curves(runs, seeds)
    mean_R, low_R, high_R = mean_curve(own.accuracy_S_R, _resamples(len(seeds)))
    finals_S = _finals(runs, seeds)
    curve = StrategyCurve(
        strategy=name,
        seeds=seeds,
        labels_R=tuple(own.labels_R.tolist()),
        accuracy_R=tuple(mean_R.tolist()),
        low_R=None if low_R is None else tuple(low_R.tolist()),
        high_R=None if high_R is None else tuple(high_R.tolist()),
        final=mean_interval(finals_S),
        aulc=None if (aulc_S := _aulcs(runs, seeds)) is None else mean_interval(aulc_S),
        seconds=float(np.mean([run.seconds for run in runs.values()])),
        reference=against,
        **_beside(list(runs.values())),
    )
    paired = tuple(seed for seed in seeds if seed in reference)
    return curve if not paired else _against(curve, runs, reference, paired)


def _beside(runs: Sequence[RunCurve]) -> dict[str, Any]:
    """What a strategy's curve has of the other model and of both together; empty if not all runs measured it."""
    found: dict[str, Any] = {}
    for name in ("beside", "delivered"):
        curves = [
            (getattr(run, f"{name}_labels_R"), getattr(run, f"{name}_accuracy_R"), run.labels_R[-1])
            for run in runs
        ]
        if not all(labels and labels[-1] == last for labels, _, last in curves):
            return found
        found[f"{name}_final"] = mean_interval(np.array([accuracy[-1] for _, accuracy, _ in curves]))
        if name == "beside":
            found["beside"] = runs[0].beside
        if all(len(labels) > 1 for labels, _, _ in curves):
            labels_R, accuracy_S_R = on_common_points([(labels, accuracy) for labels, accuracy, _ in curves])
            found[f"{name}_labels_R"] = tuple(labels_R.tolist())
            found[f"{name}_accuracy_R"] = tuple(accuracy_S_R.mean(axis=0).tolist())
    return found


def _against(
    curve: StrategyCurve,
    runs: Mapping[int, RunCurve],
    reference: Mapping[int, RunCurve],
    paired: tuple[int, ...],
) -> StrategyCurve:
    """The curve with its differences and savings compared with the reference."""
    positions_B_S = _resamples(len(paired))
    own_S, other_S = _aulcs(runs, paired), _aulcs(reference, paired)
    return replace(
        curve,
        paired=paired,
        final_difference=paired_difference(_finals(runs, paired), _finals(reference, paired), positions_B_S),
        aulc_difference=(
            None if own_S is None or other_S is None else paired_difference(own_S, other_S, positions_B_S)
        ),
        savings=savings(_curves(runs, paired), _curves(reference, paired), SHARES, positions_B_S),
    )


def _resamples(n_seeds: int) -> IntArray:
    """Resamples that depend on the number of seeds alone, so that adding a strategy changes no figure."""
    return resamples(n_seeds, rng.generator(0, 0, f"bootstrap of {n_seeds} seeds"))


def _curves(runs: Mapping[int, RunCurve], seeds: Sequence[int]) -> Curves:
    return Curves(*on_common_points([(runs[seed].labels_R, runs[seed].accuracy_R) for seed in seeds]))


def _finals(runs: Mapping[int, RunCurve], seeds: Sequence[int]) -> FloatArray:
    return np.array([runs[seed].accuracy_R[-1] for seed in seeds])


def _aulcs(runs: Mapping[int, RunCurve], seeds: Sequence[int]) -> FloatArray | None:
    values = [runs[seed].aulc for seed in seeds]
    return None if None in values else np.array(values, dtype=np.float64)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
