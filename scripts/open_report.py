"""Write the tables of ``study_open.py`` from its finished cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from labels_results import SetResults
from lora_report import pairs_table
from markdown_tables import table, write_tables
from open_arms import ARMS
from open_cells import OpenCells, grades_of, sets_with
from open_sets import SETS

from star_al.stats.over_items import accuracy_resampled
from star_al.types import FloatArray

AGAINST_RANDOM = tuple((arm, "random") for arm in ARMS if arm != "random")
AMONG_EACH_OTHER = (
    ("token_bald", "nll"),
    ("entropy", "nll"),
    ("token_entropy", "nll"),
    ("star", "token_entropy"),
    ("typical start, nll", "nll"),
    ("recommended, nll", "typical start, nll"),
)


class OpenResults(SetResults):
    """The finished cells of one set; what stands for accuracy is the mean grade."""

    def _resampled_accuracy(self, arm: str, seed: int) -> FloatArray:
        return accuracy_resampled(grades_of(self.records(arm)[seed]), self._weights(seed))


def write_report(cells: OpenCells, page: Path) -> None:
    """Write the tables into the page.

    Raises:
        ValueError: The page lacks the lines that the tables stand between.
    """
    text = "\n\n".join(sections([OpenResults(name, cells) for name in sets_with(cells)]))
    write_tables(page, text)
    print(text)


def sections(found: Sequence[OpenResults]) -> Iterator[str]:
    """Yield the generated part of the page."""
    if not found:
        yield "No cell has finished."
        return
    yield "### Against random texts\n\n" + pairs_table(found, AGAINST_RANDOM)
    yield "### Among each other\n\n" + pairs_table(found, AMONG_EACH_OTHER)
    yield "### Curves and costs\n\n" + curves_table(found)


def curves_table(found: Sequence[OpenResults]) -> str:
    """The mean grade at each count, and CPU seconds of a campaign by what they are for."""
    rows = []
    for one in found:
        for arm in ARMS:
            if not one.has(arm):
                continue
            labels, mean_R = one.mean_curve(arm, "accuracy")
            records = list(one.records(arm).values())
            seconds = [
                f"{np.mean([record[f'{what}_s'] for record in records]):.0f}"
                for what in ("choosing", "training", "measuring")
            ]
            figures = " / ".join(f"{100 * mean:.1f}" for mean in mean_R)
            counts = " / ".join(map(str, labels))
            rows.append(
                [f"{one.name}, {SETS[one.name].score}", arm, str(len(records)), counts, figures, *seconds]
            )
    heading = [
        "set",
        "arm",
        "seeds",
        "labels",
        "mean over seeds",
        "choosing, s",
        "training, s",
        "measuring, s",
    ]
    return table(heading, rows)
