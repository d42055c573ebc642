"""Write the tables of ``bench_recipe.py`` from its finished cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markdown_tables import Record, by_set_and_labels, table, write_tables
from recipe_cells import TEST, finished
from recipes import PROMPTS

HEADING = (
    "recipe",
    "cells",
    "accuracy",
    "spread over seeds",
    "NLL",
    "ECE",
    "CPU s to train",
    "CPU s to score",
)


def write_report(cells: Path, page: Path) -> None:
    """Write the tables into the page.

    Raises:
        ValueError: The page lacks the lines that the tables stand between.
    """
    text = "\n\n".join(sections(finished(cells)))
    write_tables(page, text)
    print(text)


def sections(records: Sequence[Record]) -> Iterator[str]:
    """Yield a heading with a table for each set and number of labels, the best recipe first."""
    for heading, recipes in by_set_and_labels(records, "recipe", list(PROMPTS)):
        ranked = sorted(recipes.items(), key=lambda pair: -_mean(pair[1], "accuracy"))
        rows = [_row(recipe, own) for recipe, own in ranked]
        yield heading
        yield table(HEADING, rows)


def _row(recipe: str, records: Sequence[Record]) -> list[str]:
    mean = _mean(records, "accuracy")
    error = 196 * (mean * (1 - mean) / (TEST * len({record["draw"] for record in records}))) ** 0.5
    spread = spread_over_seeds(records)
    return [
        recipe,
        str(len(records)),
        f"{100 * mean:.1f} ± {error:.1f}",
        "–" if spread is None else f"{spread:.1f}",
        f"{_mean(records, 'nll'):.3f}",
        f"{_mean(records, 'ece'):.3f}",
        f"{_mean(records, 'train_s'):.0f}",
        f"{_mean(records, 'score_s'):.0f}",
    ]


def spread_over_seeds(records: Sequence[Record]) -> float | None:
    """Return the standard deviation of accuracy over seeds of one draw, in points; None without two seeds of a draw."""
    by_draw: dict[int, list[float]] = defaultdict(list)
    for record in records:
        by_draw[record["draw"]].append(100 * record["accuracy"])
    repeated = [accuracies for accuracies in by_draw.values() if len(accuracies) > 1]
    squares = sum(float(np.var(accuracies)) * len(accuracies) for accuracies in repeated)
    degrees = sum(len(accuracies) - 1 for accuracies in repeated)
    return (squares / degrees) ** 0.5 if degrees else None


def _mean(records: Sequence[Record], name: str) -> float:
    return float(np.mean([record[name] for record in records]))
