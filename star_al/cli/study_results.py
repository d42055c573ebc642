"""Show what a study found: a table with a line for each strategy, sentences, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_al.cli.console import print_table, say
from star_al.display.text import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from star_al.stats.learning_curves import Comparison, StrategyCurve
    from star_al.stats.over_seeds import Difference, Estimate, Saving

TARGET = 0.95
"""The table shows the labels needed for this share of random's gain."""


def show(comparison: Comparison) -> None:
    """Print the table, and what it shows in words."""
    from star_al.stats.comparison_words import in_words

    if not comparison.strategies:
        say("No run has finished yet.")
        return
    print_table(study_table(comparison))
    say("")
    for line in in_words(comparison):
        say(one_line(line))


def study_table(comparison: Comparison) -> Table:
    """Make a table with one line per strategy: means over seeds ± half of a 95 % interval, in percent."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("strategy", no_wrap=True)
    headers = ("seeds", "final\naccuracy %", "AULC %", "AULC − random\n(95 % interval)", "p")
    for header in (*headers, f"labels saved\nat {TARGET:.0%}"):
        table.add_column(header, justify="right", no_wrap=True)
    for curve in comparison.strategies:
        table.add_row(*_cells(curve, comparison))
    return table


def _cells(curve: StrategyCurve, comparison: Comparison) -> list[str]:
    total = sum(run.strategy == curve.strategy for run in comparison.runs)
    done = len(curve.seeds)
    return [
        curve.strategy,
        str(done) if done == total else f"{done} of {total}",
        estimate(curve.final),
        estimate(curve.aulc),
        *difference(curve.aulc_difference),
        saved(curve.saving_at(TARGET)),
    ]


def estimate(value: Estimate | None) -> str:
    """Format a mean in percent, ± half of its interval."""
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{100 * value.mean:.1f}"
    return f"{100 * value.mean:.1f} ±{50 * (value.high - value.low):.1f}"


def difference(value: Difference | None) -> tuple[str, str]:
    """Format a difference in percentage points with its t interval, and p."""
    if value is None:
        return "–", "–"
    text = f"{100 * value.mean:+.2f}"
    if value.t_low is not None and value.t_high is not None:
        text += f" ({100 * value.t_low:+.2f} to {100 * value.t_high:+.2f})"
    return text, "–" if value.p is None else f"{value.p:.3f}" if value.p >= 0.001 else "<0.001"


def saved(value: Saving | None) -> str:
    """Format the share of labels saved with its interval."""
    if value is None:
        return "–"
    if value.saving is None:
        return "not reached"
    if value.reached == 1 and value.low is not None and value.high is not None:
        return f"{100 * value.saving:.0f} % ({100 * value.low:.0f} to {100 * value.high:.0f})"
    often = "" if value.reached == 1 else f", reached in {value.reached:.0%} of resamples"
    return f"{100 * value.saving:.0f} %{often}"


def write_json(comparison: Comparison, path: Path) -> None:
    """Write all results and the curve of every run.

    Raises:
        StoreError: The file cannot be written.
    """
    from star_al.data import write_text

    text = json.dumps(comparison_json(comparison), ensure_ascii=False, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    from star_al.stats.comparison_words import in_words

    properties = ("seeds", "rough", "headline", "above_majority")
    derived = {name: getattr(comparison, name) for name in properties}
    return {**asdict(comparison), **derived, "in_words": in_words(comparison)}
