"""What the finished cells of ``study_labels.py`` say: curves, labels needed and the bars, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from labels_arms import BY_HAND, RIVALS
from labels_cells import unpacked, unpacked_columns
from labels_data import SETS
from numpy.typing import NDArray

from star_al import rng
from star_al.stats.over_items import (
    Figure,
    Resampled,
    ResampledCurve,
    accuracy_resampled,
    difference,
    gain_target,
    geometric_mean,
    item_weights,
    labels_ratio,
    macro_f1_resampled,
    resampled_curve,
    seed_weights,
)
from star_al.stats.over_seeds import labels_needed
from star_al.types import FloatArray, IntArray

RESAMPLES = 1000
SHARE = 0.95
"""Share of the rival's gain that labels are counted to."""


class FinishedCells(Protocol):
    """The finished cells of a study."""

    def records(self, set_name: str, arm: str) -> dict[int, dict[str, Any]]:
        """The records of an arm by seed."""

    def test_targets(self, set_name: str) -> dict[int, IntArray]:
        """Columns of the true labels of the test texts by seed."""


class SetResults:
    """The finished cells of one set.

    Args:
        name: The set.
        cells: All finished cells.
    """

    def __init__(self, name: str, cells: FinishedCells) -> None:
        self.name, self._cells = name, cells
        self._targets = cells.test_targets(name)
        self.records = cache(self._records)
        self._weights = cache(self._drawn_weights)
        self._resampled = cache(self._resampled_accuracy)
        self.curve = cache(self._curve)
        self.ratio = cache(self._ratio)

    def _records(self, arm: str) -> dict[int, dict[str, Any]]:
        return self._cells.records(self.name, arm)

    def has(self, *arms: str) -> bool:
        """True if these arms have a finished seed in common."""
        return bool(self.seeds(*arms))

    def seeds(self, *arms: str) -> tuple[int, ...]:
        """The seeds that all of these arms have finished."""
        return tuple(sorted(set.intersection(*(set(self.records(arm)) for arm in arms))))

    def _curve(self, arm: str, seeds: tuple[int, ...]) -> ResampledCurve:
        """The accuracy of an arm over some of its seeds."""
        records = [self.records(arm)[seed] for seed in seeds]
        return resampled_curve(
            records[0]["labels"],
            np.array([record["accuracy"] for record in records]),
            np.array([self._resampled(arm, seed) for seed in seeds]),
            self._over_seeds(seeds),
        )

    def mean_curve(self, arm: str, metric: str) -> tuple[list[int], FloatArray]:
        """Labels, and the mean of a metric over all finished seeds."""
        records = list(self.records(arm).values())
        return records[0]["labels"], np.mean([record[metric] for record in records], axis=0)

    def _ratio(self, arm: str, reference: str) -> Resampled:
        """Labels of an arm to ``SHARE`` of the reference's gain, divided by the reference's."""
        seeds = self.seeds(arm, reference)
        return labels_ratio(self.curve(arm, seeds), self.curve(reference, seeds), SHARE)

    def labels_of(self, reference: str) -> float:
        """Labels that the reference itself needs to ``SHARE`` of its gain."""
        curve = self.curve(reference, self.seeds(reference))
        found = labels_needed(curve.labels_R, curve.mean_R, gain_target(curve.mean_R, SHARE))
        return float("inf") if found is None else found

    def labels_to_end(self, arm: str, reference: str) -> Resampled:
        """Labels of an arm to all of the reference's gain, divided by those at the reference's end."""
        seeds = self.seeds(arm, reference)
        return labels_ratio(self.curve(arm, seeds), self.curve(reference, seeds), 1.0)

    def area_difference(self, arm: str, reference: str) -> Figure:
        """Difference of the areas under the curves."""
        seeds = self.seeds(arm, reference)
        return difference(self.curve(arm, seeds).area, self.curve(reference, seeds).area).figure

    def areas(self, arm: str, seeds: tuple[int, ...]) -> FloatArray:
        """The area under the curve of each seed, (S,)."""
        records = [self.records(arm)[seed] for seed in seeds]
        return np.array(
            [
                np.trapezoid(record["accuracy"], record["labels"]) / np.ptp(record["labels"])
                for record in records
            ]
        )

    def macro_f1_difference(self, arm: str, reference: str) -> Figure:
        """Difference of macro-F1 at half of the budget."""
        seeds = self.seeds(arm, reference)
        return difference(self._macro_f1(arm, seeds), self._macro_f1(reference, seeds)).figure

    def _macro_f1(self, arm: str, seeds: tuple[int, ...]) -> Resampled:
        half = str(SETS[self.name].half)
        values_B_S = []
        for seed in seeds:
            predicted_N = unpacked_columns(self.records(arm)[seed]["between"][half]["predicted"])
            targets_N = self._targets[seed]
            n_labels = int(max(predicted_N.max(), targets_N.max())) + 1
            values_B_S.append(macro_f1_resampled(predicted_N, targets_N, n_labels, self._weights(seed)))
        resampled_B = np.einsum("bs,sb->b", self._over_seeds(seeds), np.array(values_B_S))
        return Resampled(
            float(np.mean(self.between(arm, SETS[self.name].half, "macro_f1", seeds))), resampled_B
        )

    def between(self, arm: str, n_labels: int, metric: str, seeds: Sequence[int] | None = None) -> FloatArray:
        """A metric of each seed at ``n_labels`` labels, (S,)."""
        records = self.records(arm)
        chosen = sorted(records) if seeds is None else seeds
        return np.array([records[seed]["between"][str(n_labels)][metric] for seed in chosen])

    def _over_seeds(self, seeds: tuple[int, ...]) -> FloatArray:
        random = rng.generator(len(seeds), 0, f"study/{self.name}/resampled seeds")
        return seed_weights(len(seeds), RESAMPLES, random)

    def _drawn_weights(self, seed: int) -> FloatArray:
        random = rng.generator(seed, 0, f"study/{self.name}/resampled items")
        return item_weights(len(self._targets[seed]), RESAMPLES, random)

    def _resampled_accuracy(self, arm: str, seed: int) -> FloatArray:
        correct_R_N: NDArray[np.bool_] = np.array(
            [unpacked(text, len(self._targets[seed])) for text in self.records(arm)[seed]["correct"]]
        )
        return accuracy_resampled(correct_R_N, self._weights(seed))


def pooled(found: Sequence[SetResults], arm: str, reference: str) -> Figure | None:
    """The geometric mean of the labels needed over the sets; None if a set is missing."""
    if len(found) < len(SETS) or not all(each.has(arm, reference) for each in found):
        return None
    return geometric_mean([each.ratio(arm, reference) for each in found]).figure


def best_by_hand(found: SetResults) -> str | None:
    """The strength of the logistic regression whose curve is highest: rivals get their best."""
    there = [arm for arm in BY_HAND if found.has(arm)]
    seeds = found.seeds(*there) if there else ()
    return max(there, key=lambda arm: found.areas(arm, seeds).mean()) if seeds else None


@dataclass(frozen=True)
class Bar:
    """A bar of the study.

    Attributes:
        what: What is asked for.
        asked: The bar in words.
        figure: What was measured, in words.
        met: True if it is met; None if cells are missing.
    """

    what: str
    asked: str
    figure: str
    met: bool | None


def bars(found: Sequence[SetResults]) -> list[Bar]:
    """All bars."""
    return [
        _by_hand_bar(found),
        _labels_bar(found, "Choices alone, same head", "recommended", "random", 0.45, 0.60, 0.90),
        _labels_bar(
            found,
            "Choices alone, 10 % of the answers wrong",
            "recommended, noise",
            "random, noise",
            0.60,
            None,
            None,
        ),
        _rivals_bar(found),
        *(_macro_f1_bar(each) for each in found if each.name in ("sms_spam", "banking77_tail")),
        *(_ece_bar(each) for each in found),
        *(_zero_shot_bar(each) for each in found if each.name in ("banking77", "hwu64")),
    ]


def _by_hand_bar(found: Sequence[SetResults]) -> Bar:
    what, asked = "All together against by hand", "≤ 30 % pooled, interval below 45 %, no set above 60 %"
    ratios = []
    for each in found:
        rival = best_by_hand(each)
        if rival is None or not each.has("recommended", rival):
            return Bar(what, asked, MISSING, None)
        ratios.append((each.name, each.ratio("recommended", rival)))
    return _ratios_bar(what, asked, ratios, 0.30, 0.45, 0.60)


def _labels_bar(
    found: Sequence[SetResults],
    what: str,
    arm: str,
    reference: str,
    most: float,
    most_high: float | None,
    most_set: float | None,
) -> Bar:
    asked = f"≤ {most:.0%} pooled".replace("%", " %")
    if most_high is not None and most_set is not None:
        asked += f", interval below {100 * most_high:.0f} %, no set above {100 * most_set:.0f} %"
    if not all(each.has(arm, reference) for each in found):
        return Bar(what, asked, MISSING, None)
    ratios = [(each.name, each.ratio(arm, reference)) for each in found]
    return _ratios_bar(what, asked, ratios, most, most_high, most_set)


def _ratios_bar(
    what: str,
    asked: str,
    ratios: Sequence[tuple[str, Resampled]],
    most: float,
    most_high: float | None,
    most_set: float | None,
) -> Bar:
    if len(ratios) < len(SETS):
        return Bar(what, asked, MISSING, None)
    figure = geometric_mean([ratio for _, ratio in ratios]).figure
    worst_name, worst = max(ratios, key=lambda each: each[1].value)
    met = (
        figure.value <= most
        and (most_high is None or figure.high < most_high)
        and (most_set is None or worst.value <= most_set)
    )
    return Bar(what, asked, f"{percent(figure)}; worst set {worst_name}: {percent(worst.figure)}", met)


def _rivals_bar(found: Sequence[SetResults]) -> Bar:
    what, asked = (
        "Against the best of scikit-activeml and small-text",
        "no more labels than the better, on any set",
    )
    lines, met = [], True
    for each in found:
        there = [arm for arm in RIVALS if each.has("recommended", arm)]
        if not there:
            return Bar(what, asked, MISSING, None)
        worst = max(there, key=lambda arm: each.ratio("recommended", arm).value)
        ratio = each.ratio("recommended", worst)
        lines.append(f"{each.name}: {percent(ratio.figure)} of {worst}")
        met = met and ratio.value <= 1.0
    return Bar(what, asked, "; ".join(lines), met if len(found) == len(SETS) else None)


def _macro_f1_bar(each: SetResults) -> Bar:
    what, asked = f"Macro-F1 at half of the budget, {each.name}", "≥ 5 points above random, interval above 0"
    if not each.has("recommended", "random"):
        return Bar(what, asked, MISSING, None)
    found = each.macro_f1_difference("recommended", "random")
    return Bar(what, asked, points(found), found.value >= 0.05 and found.low > 0)


def _ece_bar(each: SetResults) -> Bar:
    most, at = 0.02 if each.name in ("bbc", "sms_spam") else 0.04, SETS[each.name].ece_at
    what, asked = f"ECE of the head at {at} labels, {each.name}", f"within {most} of its noise floor"
    figures, met = [], True
    for arm in ("recommended", "random"):
        if not each.has(arm):
            return Bar(what, asked, MISSING, None)
        ece, floor = (float(each.between(arm, at, metric).mean()) for metric in ("ece", "ece_floor"))
        figures.append(f"{arm}: {ece:.3f}, floor {floor:.3f}")
        met = met and ece - floor <= most
    return Bar(what, asked, "; ".join(figures), met)


def _zero_shot_bar(each: SetResults) -> Bar:
    what, asked = f"Zero-shot accuracy by the labels' names, {each.name}", "≥ 55 %"
    if not each.has("recommended"):
        return Bar(what, asked, MISSING, None)
    mean = float(np.mean([record["zero_shot"] for record in each.records("recommended").values()]))
    return Bar(what, asked, f"{100 * mean:.1f} %", mean >= 0.55)


MISSING = "cells are missing"


def percent(figure: Figure) -> str:
    """A ratio as percentage with its interval."""
    if not np.isfinite(figure.value):
        return f"not reached (above {100 * figure.low:.0f} %)" if np.isfinite(figure.low) else "not reached"
    high = f"{100 * figure.high:.0f}" if np.isfinite(figure.high) else "∞"
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {high})"


def points(figure: Figure) -> str:
    """A difference of shares in percentage points with its interval."""
    return f"{100 * figure.value:+.1f} ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"
