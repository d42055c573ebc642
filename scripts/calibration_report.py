"""Measures, intervals, tables and plots of ``bench_calibration.py``, from the records of its cells.

Every interval is Student's t over seeds at 95 %. Two methods are compared by their differences within each seed,
because the methods share a seed's labels, and most of them its adapter.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.metrics import roc_auc_score

from star_al.acquire.measures import predictive_entropy
from star_al.common.files import replacing
from star_al.stats import metrics
from star_al.stats.over_seeds import mean_interval
from star_al.stats.temperature import apply_temperature, fit_temperature
from star_al.types import FloatArray, IntArray

Record: TypeAlias = Mapping[str, Any]
Measures: TypeAlias = dict[str, float]
BySeed: TypeAlias = dict[int, Measures]

SCALINGS = ("raw", "scaled")
"""Raw predictions, and predictions with a temperature fitted on calibration labels."""

COLUMNS = {
    "accuracy": "accuracy",
    "nll": "NLL",
    "ece": "ECE",
    "brier": "Brier",
    "error_auroc": "error AUROC",
    "ood_auroc": "OOD AUROC",
    "bald_error_auroc": "error AUROC by BALD",
    "bald_ood_auroc": "OOD AUROC by BALD",
    "train": "train CPU s",
    "score": "score CPU s",
    "train_mib": "train MiB",
    "score_mib": "score MiB",
}
"""Column headings of the measures, in order."""

COMPARED = ("accuracy", "nll", "ece", "brier", "error_auroc", "ood_auroc")
COSTS = ("train", "score")
REFERENCE = ("map", "scaled")
"""The method that others are compared with: the plain adapter with its temperature."""


# -- one cell -------------------------------------------------------------------------------------------


def read_records(folder: Path) -> list[Record]:
    """Read all records of a folder; files still being written start with a dot and are skipped."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("[!.]*.json"))]


def measures(record: Record) -> dict[str, Measures]:
    """Compute the measures of a record by scaling.

    Uncertainty is the entropy of the predictive mean; with more than one sample there are also measures by BALD.
    """
    test_N_C, ood_M_C = (_log_probs(record[part]) for part in ("test", "ood"))
    targets_N = _columns(record["test"])
    fitted = fit_temperature(_log_probs(record["calibration"]), _columns(record["calibration"]))
    costs = {
        **{name: record["seconds"][name] for name in ("train", "score")},
        **{f"{name}_mib": record["peak_mib"][name] for name in ("train", "score")},
    }
    raw = _measure(test_N_C, targets_N, ood_M_C) | {"temperature": 1.0, **costs}
    scaled = _measure(
        apply_temperature(test_N_C, fitted.value), targets_N, apply_temperature(ood_M_C, fitted.value)
    ) | {"temperature": fitted.value, **costs}
    if record["samples"] > 1:
        wrong_N = test_N_C.argmax(axis=1) != targets_N
        bald_N, bald_M = (np.array(record[part]["bald"]) for part in ("test", "ood"))
        raw["bald_error_auroc"] = _auroc(bald_N, wrong_N)
        raw["bald_ood_auroc"] = _separation(bald_N, bald_M)
    return {"raw": raw, "scaled": scaled}


def _measure(log_probs_N_C: FloatArray, targets_N: IntArray, ood_M_C: FloatArray) -> Measures:
    correct_N = log_probs_N_C.argmax(axis=1) == targets_N
    entropy_N, entropy_M = (predictive_entropy(rows[:, None]) for rows in (log_probs_N_C, ood_M_C))
    confidence_N = np.exp(log_probs_N_C.max(axis=1))
    return {
        "accuracy": float(correct_N.mean()),
        "nll": metrics.nll(log_probs_N_C, targets_N),
        "ece": metrics.ece(metrics.reliability_bins(confidence_N, correct_N)),
        "brier": metrics.brier(log_probs_N_C, targets_N),
        "error_auroc": _auroc(entropy_N, ~correct_N),
        "ood_auroc": _separation(entropy_N, entropy_M),
    }


def _separation(own_N: FloatArray, foreign_M: FloatArray) -> float:
    """AUROC of an uncertainty as a detector of texts from other sets."""
    return _auroc(np.concatenate([own_N, foreign_M]), np.arange(len(own_N) + len(foreign_M)) >= len(own_N))


def _auroc(uncertainty_N: FloatArray, flags_N: Any) -> float:
    """NaN if all flags are the same."""
    both = np.unique(flags_N).size == 2
    return float(roc_auc_score(flags_N, uncertainty_N)) if both else float("nan")


def _log_probs(part: Mapping[str, Any]) -> FloatArray:
    """Log-probabilities (N, C); ``None`` in the record stands for −∞, a label that the item does not have."""
    return np.array([[-np.inf if x is None else x for x in row] for row in part["log_probs"]], dtype=float)


def _columns(part: Mapping[str, Any]) -> IntArray:
    return np.array(part["columns"], dtype=np.int64)


# -- intervals ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` seeds and half the width of its 95 % interval, which is NaN for fewer than two seeds.

    ``left_out`` counts further seeds whose value is infinite or undefined.
    """

    mean: float
    half: float
    n: int
    left_out: int

    @property
    def side(self) -> int:
        """1 if the whole interval is above 0, −1 if it is below, else 0."""
        return int(self.mean - self.half > 0) - int(self.mean + self.half < 0)


def interval(values: Sequence[float]) -> Interval:
    """Compute Student's t interval of a mean; values that are not finite are left out and counted."""
    finite = np.array([value for value in values if np.isfinite(value)])
    n, left_out = len(finite), len(values) - len(finite)
    if not n:
        return Interval(float("nan"), float("nan"), n, left_out)
    found = mean_interval(finite)
    return Interval(found.mean, float("nan") if found.low is None else found.mean - found.low, n, left_out)


def paired(left: BySeed, right: BySeed, measure: str) -> Interval:
    """Compute the interval of left − right over the seeds that both have."""
    seeds = sorted(left.keys() & right.keys())
    return interval([left[seed][measure] - right[seed][measure] for seed in seeds])


def expected_seconds(records: Sequence[Record], name: str, labels: int, method: str) -> float:
    """Estimate the seconds of a cell from the finished cells that are most like it."""
    likes: list[dict[str, object]] = [
        {"set": name, "labels": labels, "method": method},
        {"labels": labels, "method": method},
        {"method": method},
        {},
    ]
    for like in likes:
        spent = [one["seconds"]["spent"] for one in records if all(one[key] == like[key] for key in like)]
        if spent:
            return float(np.mean(spent))
    return 0.0


# -- tables ---------------------------------------------------------------------------------------------


class Results:
    """The measures of all records by set, number of labels, method, scaling and seed."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._found: dict[tuple[str, int, str, str], BySeed] = defaultdict(dict)
        self.majority: dict[str, float] = {}
        self.sets: list[str] = list(dict.fromkeys(str(one["set"]) for one in records))
        first = ("base", "map")
        names = {str(one["method"]) for one in records}
        self.methods: list[str] = [one for one in first if one in names] + sorted(names - set(first))
        for record in records:
            for scaling, measured in measures(record).items():
                key = (record["set"], record["labels"], record["method"], scaling)
                self._found[key][record["seed"]] = measured
            counts = np.bincount(_columns(record["test"]))
            self.majority[record["set"]] = float(counts.max() / counts.sum())

    def labels(self, name: str) -> list[int]:
        """The numbers of labels of a set, including 0 for the base model."""
        return sorted({labels for set_, labels, _, _ in self._found if set_ == name})

    def at(self, name: str, labels: int, method: str, scaling: str) -> BySeed:
        """Measures by seed; empty if there are none."""
        return self._found.get((name, labels, method, scaling), {})

    def of(self, name: str, labels: int, method: str, scaling: str, measure: str) -> Interval:
        """The interval of a measure over seeds."""
        by_seed = self.at(name, labels, method, scaling)
        return interval([one[measure] for one in by_seed.values() if measure in one])

    def counts(self, name: str, labels: int) -> bool:
        """Return whether the whole interval of the plain adapter's accuracy is above the majority class."""
        accuracy = self.of(name, labels, "map", "raw", "accuracy")
        return accuracy.mean - float(np.nan_to_num(accuracy.half)) > self.majority[name]

    def over_labels(self, name: str, method: str, scaling: str, labels: Sequence[int]) -> BySeed:
        """Average each seed's measures over numbers of labels; a seed that lacks one number is left out."""
        found = [self.at(name, number, method, scaling) for number in labels]
        seeds = set.intersection(*(set(one) for one in found)) if found else set()
        return {
            seed: {
                measure: float(np.mean([one[seed].get(measure, np.nan) for one in found]))
                for measure in COLUMNS
            }
            for seed in seeds
        }


def report(records: Sequence[Record]) -> str:
    """Return all tables as Markdown."""
    results = Results(records)
    parts = ["# Calibration study", "± is half of a 95 % t interval over seeds; scaled: with a temperature."]
    for name in results.sets:
        parts += [f"## {name}", standing(results, name), comparison(results, name), details(results, name)]
    return "\n\n".join(part for part in parts if part) + "\n"


def standing(results: Results, name: str) -> str:
    """Compare majority class, base model and plain adapter, and say for which numbers of labels the set counts."""
    lines = [f"Majority class: {results.majority[name]:.3f} of the test texts."]
    base = results.of(name, 0, "base", "raw", "accuracy")
    if base.n:
        lines.append(f"Base model: {base.mean:.3f}.")
    for labels in results.labels(name):
        accuracy = results.of(name, labels, "map", "raw", "accuracy")
        if accuracy.n:
            verdict = "counts" if results.counts(name, labels) else "does not count for choosing defaults"
            lines.append(f"Adapter at {labels} labels: {_cell(accuracy)}, {verdict}.")
    return "\n".join(f"- {line}" for line in lines)


def comparison(results: Results, name: str) -> str:
    """Average over the numbers of labels that count, with differences to the plain adapter with temperature.

    A * marks a difference whose interval excludes 0. Seeds that lack one of the numbers are left out.
    """
    labels = [number for number in results.labels(name) if number and results.counts(name, number)]
    if not labels:
        return ""
    reference = results.over_labels(name, *REFERENCE, labels)
    rows = []
    for method in results.methods:
        for scaling in SCALINGS:
            own = results.over_labels(name, method, scaling, labels)
            if own:
                means = [interval([one[measure] for one in own.values()]) for measure in COMPARED]
                gains = [paired(own, reference, measure) for measure in COMPARED]
                costs = [interval([one[cost] for one in own.values()]) for cost in COSTS]
                rows.append(
                    [
                        method,
                        scaling,
                        str(len(own)),
                        *map(_cell, means),
                        *map(_difference, gains),
                        *(_cell(cost, "score") for cost in costs),
                    ]
                )
    heading = ["method", "scaling", "seeds", *(COLUMNS[measure] for measure in COMPARED)]
    heading += [*(f"Δ{COLUMNS[measure]}" for measure in COMPARED), *(COLUMNS[cost] for cost in COSTS)]
    title = f"Means over {', '.join(map(str, labels))} labels; Δ: against {' '.join(REFERENCE)}, by seed."
    return f"{title}\n\n{table(heading, rows)}" if rows else ""


def details(results: Results, name: str) -> str:
    """Tabulate all measures by number of labels, method and scaling."""
    rows = []
    for labels in results.labels(name):
        for method in results.methods:
            for scaling in SCALINGS:
                found = results.at(name, labels, method, scaling)
                if found:
                    cells = [_cell(results.of(name, labels, method, scaling, one), one) for one in COLUMNS]
                    rows.append([str(labels), method, scaling, str(len(found)), *cells])
    return table(["labels", "method", "scaling", "seeds", *COLUMNS.values()], rows)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = [heading, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _cell(value: Interval, measure: str = "") -> str:
    if np.isnan(value.mean):
        return f"–{_left_out(value)}"
    digits = 0 if measure in ("train", "score", "train_mib", "score_mib") else 3
    spread = "" if np.isnan(value.half) or digits == 0 else f" ± {value.half:.{digits}f}"
    return f"{value.mean:.{digits}f}{spread}{_left_out(value)}"


def _left_out(value: Interval) -> str:
    return f" ({value.left_out} not finite)" if value.left_out else ""


def _difference(value: Interval) -> str:
    if np.isnan(value.mean):
        return f"–{_left_out(value)}"
    spread = "" if np.isnan(value.half) else f" ± {value.half:.3f}"
    return f"{value.mean:+.3f}{spread}{' *' if value.side else ''}{_left_out(value)}"


# -- plots ----------------------------------------------------------------------------------------------

# Okabe and Ito (2008), for most kinds of colour blindness; marks differ too.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6B6B6B", "#7A5195")
MARKS = "osD^vP*Xd"


def write_plots(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write one picture for each set, ``calibration-<set>.png``; return the paths."""
    results = Results(records)
    return [_plot(results, name, folder) for name in results.sets if any(results.labels(name))]


def _plot(results: Results, name: str, folder: Path) -> Path:
    """Plot eight measures over the number of labels, by method, with intervals."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    panels = (
        (("accuracy", "raw"), ("nll", "raw"), ("ece", "raw"), ("error_auroc", "raw")),
        (("ood_auroc", "raw"), ("nll", "scaled"), ("ece", "scaled"), ("error_auroc", "scaled")),
    )
    figure = Figure(figsize=(15, 7.5), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True)
    for row, panel_row in zip(axes, panels, strict=True):
        for plot, (measure, scaling) in zip(row, panel_row, strict=True):
            _panel(plot, results, name, measure, scaling)
    for above, below in zip(axes[0][1:], axes[1][1:], strict=True):
        above.sharey(below)
        above.autoscale()
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    path = folder / f"calibration-{name}.png"
    with replacing(path) as new:
        figure.savefig(new, format="png", dpi=130)
    return path


def _panel(plot: Any, results: Results, name: str, measure: str, scaling: str) -> None:
    labels = [number for number in results.labels(name) if number]
    methods = [method for method in results.methods if method != "base"]
    for number, method in enumerate(methods):
        found = [results.of(name, each, method, scaling, measure) for each in labels]
        shift = 1.012 ** (number - len(methods) / 2)  # so that intervals stay apart
        plot.errorbar(
            [each * shift for each in labels],
            [one.mean for one in found],
            [one.half for one in found],
            label=method,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKS[number % len(MARKS)],
            markersize=4,
            linewidth=1.3,
            elinewidth=0.8,
            capsize=2,
        )
    plot.set_xscale("log")
    plot.set_xticks(labels, [str(each) for each in labels])
    plot.set_xticks([], minor=True)
    plot.grid(color="#DDDDDD", linewidth=0.7)
    plot.set_title(f"{COLUMNS[measure]}{', with temperature' if scaling == 'scaled' else ''}", loc="left")
    plot.set_xlabel("labels trained on")
