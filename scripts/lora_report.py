"""Write the tables of ``study_lora.py`` from its finished cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from labels_results import MISSING, Bar, SetResults, percent, points
from lora_arms import ORDER
from lora_cells import LoraCells
from lora_sets import SIZES
from markdown_tables import table, write_tables

from star_al.stats.over_items import Figure, Resampled, difference, geometric_mean
from star_al.types import FloatArray

NONE = "–"

TAUGHT_PAIRS = (
    ("recommended by head, taught", "random, taught"),
    ("recommended, taught", "random, taught"),
)
ALONE_PAIRS = tuple(
    (arm, "random")
    for arm in (
        "recommended by head",
        "recommended",
        "entropy",
        "star",
        "star, prequential",
        "star, nine batches",
    )
)
STAR_PAIRS = (
    ("recommended", "star"),
    ("recommended", "star, nine batches"),
    ("recommended by head", "star"),
    ("star, prequential", "star"),
    ("star, prequential", "entropy"),
)
TEACHING_PAIRS = (
    ("random, taught", "random"),
    ("recommended by head, taught", "recommended by head"),
    ("recommended, taught", "recommended"),
)


def write_report(cells: LoraCells, page: Path) -> None:
    """Write the tables into the page.

    Raises:
        ValueError: The page lacks the lines that the tables stand between.
    """
    found = [SetResults(name, cells) for name in SIZES if cells.test_targets(name)]
    text = "\n\n".join(sections(found))
    write_tables(page, text)
    print(text)


def sections(found: Sequence[SetResults]) -> Iterator[str]:
    """Yield the generated part of the page."""
    if not found:
        yield "No cell has finished."
        return
    yield "### Bars\n\n" + bars_table(found)
    yield "### Choice of texts, LoRA taught by the head of its own labels\n\n" + pairs_table(
        found, TAUGHT_PAIRS
    )
    yield "### Choice of texts, LoRA alone\n\n" + pairs_table(found, ALONE_PAIRS)
    yield "### STAR\n\n" + pairs_table(found, STAR_PAIRS)
    yield "### What teaching is worth\n\n" + pairs_table(found, TEACHING_PAIRS)
    yield "### Curves\n\n" + curves_table(found)
    yield "### What is delivered\n\n" + delivered_table(found)
    yield "### Costs\n\n" + costs_table(found)


# -- comparisons ----------------------------------------------------------------------------------------


def pairs_table(found: Sequence[SetResults], pairs: Sequence[tuple[str, str]]) -> str:
    """Labels needed in % of those of the reference, and the difference of AULC, on each set and pooled."""
    there = [pair for pair in pairs if any(one.has(*pair) for one in found)]
    if not there:
        return "No two cells that can be compared have finished."
    heading = ["", "against", *(one.name for one in found), "pooled", "seeds"]
    rows = []
    for pair in there:
        cells = [_compared(one, pair) for one in found]
        rows.append([*pair, *cells, _pooled(found, pair), _seeds(found, pair)])
    return table(heading, rows)


def _compared(one: SetResults, pair: tuple[str, str]) -> str:
    if not one.has(*pair):
        return NONE
    return f"{percent(one.ratio(*pair).figure)}; AULC {points(one.area_difference(*pair))}"


def _pooled(found: Sequence[SetResults], pair: tuple[str, str]) -> str:
    both = [one for one in found if one.has(*pair)]
    ratio, area = pooled_ratio(both, pair), pooled_area(both, pair)
    return f"{percent(ratio)}; AULC {points(area)}"


def pooled_ratio(found: Sequence[SetResults], pair: tuple[str, str]) -> Figure:
    """Return the geometric mean over sets of the labels needed."""
    return geometric_mean([one.ratio(*pair) for one in found]).figure


def pooled_area(found: Sequence[SetResults], pair: tuple[str, str]) -> Figure:
    """Return the mean over sets of the differences of the areas under the curves."""
    each = [_area_difference(one, pair) for one in found]
    value = float(np.mean([one.value for one in each]))
    return Resampled(value, np.mean([one.values_B for one in each], axis=0)).figure


def _area_difference(one: SetResults, pair: tuple[str, str]) -> Resampled:
    seeds = one.seeds(*pair)
    own, reference = (one.curve(arm, seeds) for arm in pair)
    return difference(own.area, reference.area)


def _seeds(found: Sequence[SetResults], pair: tuple[str, str]) -> str:
    counts = [len(one.seeds(*pair)) for one in found if one.has(*pair)]
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


# -- bars -----------------------------------------------------------------------------------------------


def bars_table(found: Sequence[SetResults]) -> str:
    """Each bar with its figure; a bar is open until all sets have the cells that it needs."""
    words = {True: "met", False: "**missed**", None: "open"}
    rows = [[words[bar.met], bar.what, bar.asked, bar.figure] for bar in bars(found)]
    return table(["", "what", "bar", "measured"], rows)


def bars(found: Sequence[SetResults]) -> list[Bar]:
    """Return all bars."""
    return [
        _labels_bar(found, "Recommended by head against random, both taught", TAUGHT_PAIRS[0]),
        _area_bar(found, "Recommended against STAR", ("recommended", "star"), clear=True),
        _area_bar(found, "Prequential blend against the schedule", ("star, prequential", "star"), clear=True),
        _area_bar(
            found, "Prequential blend against LoRA's entropy", ("star, prequential", "entropy"), clear=False
        ),
        _delivered_bar(found),
    ]


def _labels_bar(found: Sequence[SetResults], what: str, pair: tuple[str, str]) -> Bar:
    asked = "≤ 60 % of the labels pooled, interval below 90 %"
    both = [one for one in found if one.has(*pair)]
    if not both:
        return Bar(what, asked, MISSING, None)
    figure = pooled_ratio(both, pair)
    met = figure.value <= 0.60 and figure.high < 0.90
    return Bar(what, asked, f"{percent(figure)}{_of_sets(both)}", met if _all_sets(both) else None)


def _area_bar(found: Sequence[SetResults], what: str, pair: tuple[str, str], *, clear: bool) -> Bar:
    asked = "better AULC pooled, interval above 0" if clear else "AULC pooled not worse: interval not below 0"
    both = [one for one in found if one.has(*pair)]
    if not both:
        return Bar(what, asked, MISSING, None)
    figure = pooled_area(both, pair)
    met = figure.low > 0 if clear else figure.high >= 0
    return Bar(what, asked, f"{points(figure)}{_of_sets(both)}", met if _all_sets(both) else None)


def _all_sets(both: Sequence[SetResults]) -> bool:
    return len(both) == len(SIZES)


def _of_sets(both: Sequence[SetResults]) -> str:
    return "" if _all_sets(both) else f"; on {len(both)} of {len(SIZES)} sets so far"


# -- single arms ----------------------------------------------------------------------------------------


def curves_table(found: Sequence[SetResults]) -> str:
    """Accuracy of LoRA and of the head at each count, and LoRA's NLL and ECE at the last."""
    rows = []
    for one in found:
        for arm in ORDER:
            if not one.has(arm):
                continue
            labels, mean_R = one.mean_curve(arm, "accuracy")
            _, head_R = one.mean_curve(arm, "head_accuracy")
            last = [one.mean_curve(arm, metric)[1][-1] for metric in ("nll", "ece")]
            rows.append(
                [
                    one.name,
                    arm,
                    str(len(one.records(arm))),
                    " / ".join(map(str, labels)),
                    _percents(mean_R),
                    _percents(head_R),
                    *(f"{value:.3f}" for value in last),
                ]
            )
    heading = ["set", "arm", "seeds", "labels", "LoRA %", "head, same labels %", "NLL", "ECE"]
    return table(heading, rows)


def delivered_table(found: Sequence[SetResults]) -> str:
    """Accuracy of head and LoRA together, weighed on a few held-out labels, beside the better of the two."""
    rows = []
    for one in found:
        for arm in ORDER:
            if one.has(arm) and (gaps_R := _gaps(one, arm)) is not None:
                labels, mean_R = one.mean_curve(arm, "delivered")
                rows.append(
                    [
                        one.name,
                        arm,
                        str(len(one.records(arm))),
                        " / ".join(map(str, labels)),
                        _percents(mean_R),
                        " / ".join(f"{100 * gap:+.1f}" for gap in gaps_R),
                    ]
                )
    if not rows:
        return "No cell has measured it."
    return table(["set", "arm", "seeds", "labels", "delivered %", "to the better of both, points"], rows)


def _gaps(one: SetResults, arm: str) -> FloatArray | None:
    """How far what is delivered is above the better of head and LoRA, at each count; None without figures."""
    records = list(one.records(arm).values())
    if any("delivered" not in record for record in records):
        return None
    both_R, head_R, lora_R = (one.mean_curve(arm, f"delivered{name}")[1] for name in ("", "_head", "_lora"))
    gaps_R: FloatArray = both_R - np.maximum(head_R, lora_R)
    return gaps_R


def _delivered_bar(found: Sequence[SetResults]) -> Bar:
    what, asked = "What is delivered against the better of head and LoRA", "never more than 1 point below"
    gaps = [
        gaps_R for one in found for arm in ORDER if one.has(arm) and (gaps_R := _gaps(one, arm)) is not None
    ]
    if not gaps:
        return Bar(what, asked, MISSING, None)
    all_R = 100 * np.concatenate(gaps)
    n_counts = f"{len(all_R)} counts of {len(gaps)} sets and arms"
    figure = f"worst {all_R.min():+.1f}, mean {all_R.mean():+.1f} points over {n_counts}"
    return Bar(what, asked, figure, bool(all_R.min() >= -1.0))


def _percents(shares_R: FloatArray) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares_R)


def costs_table(found: Sequence[SetResults]) -> str:
    """CPU seconds of a cell, by what they are for."""
    rows = []
    for one in found:
        for arm in ORDER:
            if one.has(arm):
                records = list(one.records(arm).values())
                means = [
                    np.mean([record[name] for record in records])
                    for name in ("train_s", "pool_s", "test_s", "seconds")
                ]
                rows.append([one.name, arm, *(f"{mean:.0f}" for mean in means)])
    return table(["set", "arm", "training", "reading the pool", "reading the test", "in all"], rows)
