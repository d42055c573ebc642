"""Write the tables of ``bench_calibration.py`` from its finished cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from calibration_cells import SAMPLED, finished
from markdown_tables import Record, by_set_and_labels, table, write_tables
from recipes import PROMPTS

HEADING = (
    "row",
    "draws",
    f"NLL, {SAMPLED} texts",
    "with temperature",
    "accuracy",
    "texts",
    "ECE (by chance)",
    "with temperature",
    "BALD / entropy",
    "ρ of two sets",
    "CPU s",
)


def write_report(cells: Path, page: Path) -> None:
    """Write the tables into the page, and print them."""
    text = "\n\n".join(sections(finished(cells)))
    write_tables(page, text)
    print(text)


def sections(records: Sequence[Record]) -> Iterator[str]:
    """Yield a heading with a table for each set and number of labels, the most likely row first."""
    for heading, rows in by_set_and_labels(records, "row", list(PROMPTS)):
        ranked = sorted(rows.items(), key=lambda pair: _mean(pair[1], "common", "nll"))
        yield heading
        yield table(HEADING, [_row(row, own) for row, own in ranked])


def _row(row: str, records: Sequence[Record]) -> list[str]:
    first = records[0]
    return [
        row,
        str(len(records)),
        f"{_mean(records, 'common', 'nll'):.3f}",
        f"{_mean(records, 'common', 'scaled_nll'):.3f}",
        f"{100 * _mean(records, 'common', 'accuracy'):.1f}",
        str(first["texts"]),
        f"{_mean(records, 'raw', 'ece'):.3f} ({_mean(records, 'raw', 'floor'):.3f})",
        f"{_mean(records, 'scaled', 'ece'):.3f} ({_mean(records, 'scaled', 'floor'):.3f})",
        f"{100 * _mean(records, 'spread'):.2f} %" if "spread" in first else "–",
        _agreement(records) if "agreement" in first else "–",
        f"{_mean(records, 'train_s'):.0f} + {_mean(records, 'score_s'):.0f}",
    ]


def _agreement(records: Sequence[Record]) -> str:
    """Return ρ with all samples of a set, and how many these are."""
    samples = max(records[0]["agreement"], key=int)
    return f"{_mean(records, 'agreement', samples):.2f} (K = {samples})"


def _mean(records: Sequence[Record], *path: str) -> float:
    """Return the mean over records of the value at a path of keys."""

    def value(record: Any) -> float:
        for key in path:
            record = record[key]
        return float(record)

    return float(np.mean([value(record) for record in records]))
