"""Run campaigns against a real Label Studio under seeded schedules of faults; exit 1 if a label is lost or doubled.

python scripts/fault_schedules.py --seeds 0-199 --json faults.json

Prints a line for each schedule and a table by theme: what was injected, and what was violated.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.schedule_run import Result, run_all, servers
from support.schedules import Theme

COLUMNS = (
    "runs",
    "faults injected",
    "controllers",
    "duplicates repaired",
    "lost",
    "doubled",
    "not one task",
    "other",
)


def row(results: Sequence[Result]) -> list[int]:
    """Return the numbers of one table row, in the order of COLUMNS."""
    verdicts = [result.verdict for result in results]
    return [
        len(results),
        sum(result.injected.total() for result in results),
        sum(len(result.endings) for result in results),
        sum(result.repaired for result in results),
        sum(len(verdict.lost) for verdict in verdicts),
        sum(len(verdict.doubled) for verdict in verdicts),
        sum(len(verdict.tasks) for verdict in verdicts),
        sum(len(verdict.other) for verdict in verdicts),
    ]


def table(results: Sequence[Result]) -> str:
    """Format the table: one row for each theme, and the total."""
    rows = [(theme.value, row([each for each in results if each.schedule.theme is theme])) for theme in Theme]
    rows.append(("total", row(results)))
    width = max(len(name) for name, _ in rows)
    lines = ["  ".join([" " * width, *COLUMNS])]
    for name, numbers in rows:
        cells = [f"{number:>{len(column)}}" for number, column in zip(numbers, COLUMNS, strict=True)]
        lines.append("  ".join([f"{name:<{width}}", *cells]))
    return "\n".join(lines)


def as_json(result: Result) -> dict[str, Any]:
    return {
        "seed": result.schedule.seed,
        "theme": result.schedule.theme.value,
        "faults": {kind.value: n for kind, n in result.injected.items()},
        "controllers": [ending.value for ending in result.endings],
        "duplicates_repaired": result.repaired,
        "complaints": result.verdict.complaints,
        "errors": result.errors,
        "seconds": round(result.seconds, 1),
    }


def tell(result: Result) -> None:
    """Print a line for a finished schedule, and a line for each violation."""
    endings = ", ".join(result.endings)
    print(
        f"{result.schedule.seed:>5} {result.schedule.theme.value}: {endings}, {result.seconds:.0f} s",
        flush=True,
    )
    for complaint in result.verdict.complaints:
        print(f"      VIOLATION {complaint}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-199", help="first-last, or a single seed")
    parser.add_argument("--servers", type=int, default=4, help="servers; each runs one schedule at a time")
    parser.add_argument("--json", type=Path, help="write the result of each schedule to this file")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    with tempfile.TemporaryDirectory() as folder, servers(arguments.servers, Path(folder)) as fleet:
        results = run_all(seeds, Path(folder), fleet, tell)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([as_json(result) for result in results], indent=1) + "\n")
    sys.exit(any(result.verdict.complaints for result in results))


if __name__ == "__main__":
    main()
