"""Write the tables and plots of ``study_labels.py`` from its finished cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from labels_arms import PARTS_LEFT_OUT, RIVALS, RULES, WRONG
from labels_cells import Cells
from labels_data import SETS
from labels_plots import draw_curves, draw_labels, draw_overview
from labels_results import SetResults, bars, best_by_hand, percent, points
from markdown_tables import table, write_tables
from scipy import stats

from star_al.stats.over_items import geometric_mean, holm

PAGE, FIGURES = "labels-saved.md", "labels.json"
NONE = "–"


@dataclass(frozen=True)
class Compared:
    """An arm, and the arm that it is compared with on each set; None where there is none."""

    arm: str
    references: Mapping[str, str | None]


def write_report(cells: Cells, folder: Path) -> None:
    """Write the tables into the page, the figures beside the cells, and the plots into the images of the docs."""
    found = [SetResults(name, cells) for name in SETS]
    found = [each for each in found if each.has("random")]
    write_tables(folder / PAGE, "\n\n".join(sections(found)))
    tree = [asdict(bar) for bar in bars(found)]
    (folder / "data" / FIGURES).write_text(
        json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    images = folder.parent / "images"
    draw_overview(found, images / "labels-saved.svg")
    draw_curves(found, images / "labels-curves.svg")
    draw_labels(found, images / "labels-needed.svg")
    print("\n\n".join(sections(found)))


def sections(found: Sequence[SetResults]) -> Iterator[str]:
    """The generated part of the page."""
    yield "### Bars\n\n" + bars_table(found)
    yield "### All together against by hand\n\n" + labels_table(found, _by_hand(found))
    yield "### Choices alone\n\n" + labels_table(found, _against("random", RULES, found), corrected=True)
    yield "### What each part is worth\n\n" + labels_table(found, _parts(found))
    yield "### Wrong answers\n\n" + labels_table(found, _wrong(found))
    yield "### Other packages\n\n" + labels_table(found, _rivals(found))
    yield "### Accuracy and macro-F1\n\n" + accuracy_table(found)
    yield "### Calibration and names\n\n" + calibration_table(found)


def bars_table(found: Sequence[SetResults]) -> str:
    """Each bar with its figure; those that are missed come first."""
    words = {True: "met", False: "**missed**", None: "open"}
    rows = [[words[bar.met], bar.what, bar.asked, bar.figure] for bar in bars(found)]
    rows.sort(key=lambda row: list(words.values()).index(row[0]) if row[0] != "**missed**" else -1)
    return table(["", "what", "bar", "measured"], rows)


# -- labels needed --------------------------------------------------------------------------------------


def _by_hand(found: Sequence[SetResults]) -> list[Compared]:
    rivals = {each.name: best_by_hand(each) for each in found}
    names = ("recommended", "random", "recommended, plain head", "random, plain head")
    return [Compared(name, rivals) for name in names]


def _against(reference: str, arms: Sequence[str], found: Sequence[SetResults]) -> list[Compared]:
    return [Compared(arm, {each.name: reference for each in found}) for arm in arms]


def _parts(found: Sequence[SetResults]) -> list[Compared]:
    return [each for arm, reference in PARTS_LEFT_OUT for each in _against(reference, [arm], found)]


def _wrong(found: Sequence[SetResults]) -> list[Compared]:
    return [each for arm, reference in WRONG for each in _against(reference, [arm], found)]


def _rivals(found: Sequence[SetResults]) -> list[Compared]:
    rivals = {each.name: best_by_hand(each) for each in found}
    return [Compared(arm, rivals) for arm in ("recommended", "recommended, logistic", *RIVALS)]


def labels_table(
    found: Sequence[SetResults], compared: Sequence[Compared], *, corrected: bool = False
) -> str:
    """Labels needed in % of those of the reference, on each set and pooled.

    Args:
        found: The sets.
        compared: The arms.
        corrected: True to add how many of the differences in AULC remain with Holm's correction.
    """
    there = [each for each in compared if any(_has(one, each) for one in found)]
    if not there:
        return "No run has finished."
    heading = [
        "",
        *(f"{each.name}, {_reference_labels(each, there[0])}" for each in found),
        "pooled",
        "seeds",
        "s a run",
    ]
    clear = _clear(found, there) if corrected else {}
    rows = []
    for each in there:
        cells = [_cell(one, each, clear) for one in found]
        rows.append([each.arm, *cells, _pooled(found, each), _seeds(found, each), _seconds(found, each.arm)])
    return table(heading, rows)


def _has(one: SetResults, compared: Compared) -> bool:
    reference = compared.references.get(one.name)
    return reference is not None and one.has(compared.arm, reference)


def _reference_labels(one: SetResults, compared: Compared) -> str:
    reference = compared.references.get(one.name)
    if reference is None or not one.has(reference):
        return NONE
    return f"{one.labels_of(reference):.0f} labels"


def _cell(one: SetResults, compared: Compared, clear: Mapping[tuple[str, str], bool]) -> str:
    reference = compared.references.get(one.name)
    if reference is None or not one.has(compared.arm, reference):
        return NONE
    text = percent(one.ratio(compared.arm, reference).figure)
    if (one.name, compared.arm) not in clear:
        return text
    area = one.area_difference(compared.arm, reference)
    mark = "\\*" if clear[one.name, compared.arm] else ""
    return f"{text}; AULC {100 * area.value:+.1f}{mark}"


def _pooled(found: Sequence[SetResults], compared: Compared) -> str:
    if len(found) < len(SETS) or not all(_has(one, compared) for one in found):
        return NONE
    ratios = [one.ratio(compared.arm, str(compared.references[one.name])) for one in found]
    return percent(geometric_mean(ratios).figure)


def _seeds(found: Sequence[SetResults], compared: Compared) -> str:
    """The number of seeds, of the set with the fewest to that with the most."""
    counts = [
        len(one.seeds(compared.arm, str(compared.references[one.name])))
        for one in found
        if _has(one, compared)
    ]
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _seconds(found: Sequence[SetResults], arm: str) -> str:
    seconds = [record["seconds"] for one in found for record in one.records(arm).values()]
    return f"{np.mean(seconds):.0f}" if seconds else NONE


def _clear(found: Sequence[SetResults], compared: Sequence[Compared]) -> dict[tuple[str, str], bool]:
    """Which differences of AULC to the reference are clear at 5 % with Holm's correction over the table."""
    p_of = {}
    for one in found:
        for each in compared:
            reference = each.references.get(one.name)
            seeds = one.seeds(each.arm, reference) if reference else ()
            if reference and len(seeds) > 1:
                pairs = one.areas(each.arm, seeds) - one.areas(reference, seeds)
                p_of[one.name, each.arm] = (
                    float(stats.ttest_1samp(pairs, 0.0).pvalue) if np.ptp(pairs) else 1.0
                )
    return {key: bool(p < 0.05) for key, p in zip(p_of, holm(list(p_of.values())), strict=True)}


# -- other figures --------------------------------------------------------------------------------------


def accuracy_table(found: Sequence[SetResults]) -> str:
    """Accuracy at the start, in the middle and at the end, and macro-F1 at half of the budget."""
    rows = []
    for one in found:
        for arm in ("by hand", "random", "recommended"):
            name = best_by_hand(one) if arm == "by hand" else arm
            if name is None or not one.has(name):
                continue
            labels, mean_R = one.mean_curve(name, "accuracy")
            middle = len(labels) // 2
            f1 = 100 * one.between(name, SETS[one.name].half, "macro_f1").mean()
            figures = " / ".join(f"{100 * mean_R[at]:.1f}" for at in (0, middle, -1))
            counts = " / ".join(str(labels[at]) for at in (0, middle, -1))
            rows.append(
                [
                    one.name,
                    name,
                    str(len(one.records(name))),
                    counts,
                    figures,
                    f"{f1:.1f}",
                    _f1_gain(one, name),
                ]
            )
    heading = ["set", "arm", "seeds", "labels", "accuracy %", "macro-F1 % at half", "macro-F1 − random"]
    return table(heading, rows)


def _f1_gain(one: SetResults, arm: str) -> str:
    return (
        NONE if arm == "random" or not one.has("random") else points(one.macro_f1_difference(arm, "random"))
    )


def calibration_table(found: Sequence[SetResults]) -> str:
    """ECE beside its noise floor, and the accuracy before any label."""
    rows = []
    for one in found:
        for arm in ("random", "recommended"):
            if one.has(arm):
                ece, floor = (
                    one.between(arm, SETS[one.name].ece_at, metric).mean() for metric in ("ece", "ece_floor")
                )
                shots = [record["zero_shot"] for record in one.records(arm).values()]
                rows.append([one.name, arm, f"{ece:.3f}", f"{floor:.3f}", f"{100 * np.mean(shots):.1f}"])
    return table(["set", "arm", "ECE", "noise floor", "accuracy without labels %"], rows)
