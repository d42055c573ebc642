"""Write the tables of ``bench_shortlist.py`` from its finished cells."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_tables import table, write_tables

from star_al.common.wording import count

FROM = 2
"""Position of the third trained round, from which on overlaps and accuracies are compared."""

HEADING = (
    "shortlist",
    "passes",
    "overlap with the full batch",
    "least of a seed",
    "accuracy against scoring all",
    "missed: estimated / true",
    "bound held",
)


def write_report(cells: Path, page: Path) -> None:
    """Write the tables into the page, and print them."""
    text = "\n\n".join(_sections(cells))
    write_tables(page, text)
    print(text)


def _sections(folder: Path) -> Iterator[str]:
    """A heading and a table for each set and learner, and each rule by which batches are chosen."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        name, learner, _ = path.stem.rsplit("-", 2)
        groups[learner, name].append(json.loads(path.read_text(encoding="utf-8"))["arms"])
    for learner, name in sorted(groups, reverse=True):
        records = groups[learner, name]
        for rule in ("margin", "facility"):
            arms = [arm for arm in records[0] if arm.startswith(rule) and arm != f"{rule} full"]
            if arms:
                yield f"### {name}, {learner}, {_RULES[rule]}; {count(len(records), 'seed')}"
                again = [each[f"{rule} full"]["another_training"][FROM:] for each in records]
                if again[0]:
                    yield f"Two trainings on the same labels share {np.mean(again):.3f} of their full batches."
                yield table(HEADING, [_row(arm, rule, records) for arm in arms])


_RULES = {"margin": "highest margin scores", "facility": "facility location"}


def _row(arm: str, rule: str, records: Sequence[dict[str, Any]]) -> list[str]:
    own, full = [record[arm] for record in records], [record[f"{rule} full"] for record in records]
    overlaps = [float(np.mean(each["overlap"][FROM:])) for each in own]
    return [
        _name(arm.removeprefix(f"{rule} ")),
        f"{100 * np.mean([each['passes'][FROM:] for each in own]):.1f} %",
        f"{np.mean(overlaps):.3f}",
        f"{min(overlaps):.3f}",
        _difference(own, full),
        _missed(own),
        _held(own),
    ]


def _name(arm: str) -> str:
    by, share = arm.rsplit(" ", 1)
    how = "at random" if by == "random" else f"by {by}"
    return f"{round(100 * float(share))} % {how}"


def _difference(own: Sequence[dict[str, Any]], full: Sequence[dict[str, Any]]) -> str:
    """Mean accuracy of the later rounds, in points, with a paired 95 % interval over seeds if there are several."""
    from scipy.stats import t

    pairs = [
        100 * (np.mean(one["accuracy"][FROM:]) - np.mean(all_["accuracy"][FROM:]))
        for one, all_ in zip(own, full, strict=True)
        if one["accuracy"]
    ]
    if len(pairs) < 2:
        return f"{pairs[0]:+.2f}" if pairs else "–"
    half = t.ppf(0.975, len(pairs) - 1) * np.std(pairs, ddof=1) / np.sqrt(len(pairs))
    return f"{np.mean(pairs):+.2f} ({np.mean(pairs) - half:+.2f} to {np.mean(pairs) + half:+.2f})"


def _missed(own: Sequence[dict[str, Any]]) -> str:
    if not own[0]["missed"]:
        return "–"
    told, truth = (np.mean([np.mean(each[name]) for each in own]) for name in ("missed", "truth"))
    return f"{told:.1f} / {truth:.1f}"


def _held(own: Sequence[dict[str, Any]]) -> str:
    held = [
        true <= high for each in own for true, high in zip(each["truth"], each["missed_high"], strict=True)
    ]
    return f"{sum(held)} of {len(held)}" if held else "–"
