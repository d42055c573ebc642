"""Compare the strategies of a study: learning curves, the area under them, and the labels they save.

Every strategy is compared with ``random`` of the same posterior, paired by seed (docs/methods.md, "Metrics"):
runs with the same seed share their held-out items and their first batch. ``study_results`` reads a study from
the store; all else is pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from star_al import rng
from star_al.common.wording import count
from star_al.config.spec import CampaignSpec
from star_al.ports import Store
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
from star_al.stats.ranking_model import has_ended, rows_by_ranker
from star_al.types import FloatArray, IntArray, JsonObject, Study

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
        return self.reference is None and _is_random(self.strategy)

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


def study_results(store: Store, study: Study) -> Comparison:
    """Compare the finished runs of a study, as the store has them."""
    runs = [_read_run(store, run.strategy, run.seed, run.campaign) for run in study.runs]
    posterior = study.config.get("posterior")
    return compare(study.name, runs, str(posterior["kind"]) if isinstance(posterior, Mapping) else None)


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
    names = sorted(by_strategy, key=lambda strategy: (not _is_random(strategy), strategy))
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


def _is_random(strategy: str) -> bool:
    return strategy.partition(POSTERIOR_MARK)[0] == REFERENCE


def in_words(comparison: Comparison) -> list[str]:
    """The results as sentences: one line for each strategy, then the cautions."""
    lines = [_strategy_in_words(each) for each in comparison.strategies if not each.is_reference]
    if any(_is_random(each.strategy) and each.reference for each in comparison.strategies):
        lines.append(f"Every {REFERENCE} asks for the same texts; only the posterior differs.")
    return [*lines, *cautions(comparison)]


def cautions(comparison: Comparison) -> list[str]:
    """Reasons to read the figures with care."""
    found = []
    if comparison.strategies and not any(_is_random(each.strategy) for each in comparison.strategies):
        found.append(f"No run of {REFERENCE} has finished, so there is nothing to compare with.")
    if comparison.strategies and comparison.rough:
        found.append(f"Fewer than {FEW_SEEDS} seeds: the intervals are rough.")
    elif comparison.strategies and not comparison.headline:
        found.append(f"{count(comparison.seeds, 'seed')}: a claim needs at least {HEADLINE_SEEDS}.")
    compared = sum(each.aulc_difference is not None for each in comparison.strategies)
    if compared > 1:
        found.append(f"{compared} strategies are compared; p is not corrected for that.")
    if comparison.above_majority is False:
        found.append("No model is above the majority class: this data set cannot tell strategies apart.")
    return found


def _strategy_in_words(curve: StrategyCurve) -> str:
    difference, reference = curve.aulc_difference, curve.reference or REFERENCE
    if difference is None:
        return f"{curve.strategy}: no seed in common with {reference} has finished."
    seeds = count(difference.seeds, "seed")
    if difference.mean == 0 and difference.p is None:
        verdict = f"the same area under the curve as {reference} ({seeds})"
    elif difference.p is None:
        verdict = f"AULC {difference.mean:+.4f} against {reference}, which cannot be tested ({seeds})"
    elif difference.p >= 0.05:
        figures = f"AULC {difference.mean:+.4f}, p = {difference.p:.2g}, {seeds}"
        verdict = f"no clear difference to {reference} ({figures})"
    else:
        side = "better" if difference.mean > 0 else "worse"
        verdict = f"{side} than {reference} (AULC {difference.mean:+.4f}, p = {difference.p:.2g}, {seeds})"
    saving = curve.saving_at(0.95)
    saved = f"; {saving_in_words(saving, reference)}" if saving else ""
    return f"{curve.strategy}: {verdict}{saved}.{_beside_in_words(curve)}"


def _beside_in_words(curve: StrategyCurve) -> str:
    """What the other model reached, beside the one that ranked the texts; empty without one."""
    if curve.beside_final is None:
        return ""
    main = "head" if curve.beside == "language model" else "language model"
    both = curve.delivered_final
    together = "" if both is None else f", and what is delivered of both {both.mean:.1%}"
    other = f"the {curve.beside} {curve.beside_final.mean:.1%}"
    return f" At the end the {main} has {curve.final.mean:.1%}, {other}{together}."


def saving_in_words(saving: Saving, reference: str) -> str:
    """How many labels are saved compared with the reference, in words."""
    share = f"{saving.share:.0%} of {reference}'s gain"
    if saving.reference_labels is None:
        return f"{reference} gains nothing that could be reached"
    if saving.saving is None or saving.labels is None:
        return f"{share} is not reached"
    counts = f"{saving.labels:.0f} instead of {saving.reference_labels:.0f}"
    if round(saving.saving, 2) == 0:
        return f"{share} with as many labels ({counts})"
    more = "fewer" if saving.saving > 0 else "more"
    return f"{share} with {abs(saving.saving):.0%} {more} labels ({counts})"


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


# -- from the store -------------------------------------------------------------------------------------


def _read_run(store: Store, strategy: str, seed: int, name: str) -> RunCurve:
    campaign = store.find_campaign(name)
    if campaign is None:
        return RunCurve(strategy, seed, name, finished=False)
    spec = CampaignSpec.model_validate(campaign.config)
    rows = rows_by_ranker(store.history(campaign.campaign_id), spec.ranking_model)
    measured = [row for row in rows if row["accuracy"] is not None]
    if not measured:
        return RunCurve(strategy, seed, name, finished=False, seconds=_seconds(rows))
    repeats = _repeats(store, campaign.campaign_id, spec)

    def bought(row: JsonObject) -> int:
        before = sum(n for index, n in repeats.items() if index < _number(row["round"]))
        return int(_number(row["labels_bought"])) + before

    beside = [row for row in measured if row["beside_accuracy"] is not None]
    delivered = [row for row in measured if row["delivered_accuracy"] is not None]
    bases = [_number(row["base_accuracy"]) for row in measured if row["base_accuracy"] is not None]
    return RunCurve(
        strategy=strategy,
        seed=seed,
        campaign=name,
        finished=has_ended(rows, spec.ranking_model),
        labels_R=tuple(map(bought, measured)),
        accuracy_R=tuple(_number(row["accuracy"]) for row in measured),
        beside=None if not beside else "head" if spec.ranking_model == "adapted" else "language model",
        beside_labels_R=tuple(map(bought, beside)),
        beside_accuracy_R=tuple(_number(row["beside_accuracy"]) for row in beside),
        delivered_labels_R=tuple(map(bought, delivered)),
        delivered_accuracy_R=tuple(_number(row["delivered_accuracy"]) for row in delivered),
        base_accuracy=bases[0] if bases else None,
        majority=_majority(store, campaign.campaign_id, int(_number(measured[-1]["round"]))),
        seconds=_seconds(rows),
        stop_reason=None if rows[-1]["stop_reason"] is None else str(rows[-1]["stop_reason"]),
    )


def _repeats(store: Store, campaign_id: int, spec: CampaignSpec) -> Counter[int]:
    """Repeated answers to one item, by the round that asked; −1 stands for held-out items, asked before all rounds."""
    # A campaign counts a label per item, but each further person who answers costs as much as the first.
    repeats: Counter[int] = Counter()
    if spec.labelling.overlap == 1:
        return repeats
    asked_in = {
        query.query_id: (query.item_id, query.round_index if query.purpose == "pool" else -1)
        for query in store.queries(campaign_id)
    }
    seen: set[str] = set()
    for answer in store.annotations(campaign_id):
        if answer.skipped or answer.revision > 1:  # a correction is no further answer
            continue
        item_id, round_index = asked_in[answer.query_id]
        repeats[round_index] += item_id in seen
        seen.add(item_id)
    return repeats


def _majority(store: Store, campaign_id: int, round_index: int) -> float | None:
    for evaluation in store.evaluations(campaign_id, round_index):
        # Rows are true labels, so the matrix of any model gives the same counts.
        counts = [sum(row) for row in evaluation.confusion_C_C]
        return max(counts) / sum(counts) if counts else None
    return None


def _seconds(rows: Sequence[JsonObject]) -> float:
    return sum(_number(row["seconds"]) for row in rows if row["seconds"] is not None)


def _number(value: object) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"{value!r} is no number")
