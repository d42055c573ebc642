"""Run campaigns against a real Label Studio under seeded schedules of faults; exit 1 if a label is lost or doubled.

python scripts/fault_schedules.py --seeds 0-499 --store both --record faults.jsonl --json faults.json

Prints a line for each schedule and a table by theme: what was injected, and what was violated. Results are
appended to --record as they come; started again with the same file, the script runs only what is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.schedule_run import Result, run_all, servers
from support.schedules import Theme

STORES = ("sqlite", "postgres")
COLUMNS = ("runs", "faults", "controllers", "repaired", "lost", "doubled", "not one task", "other")
"""Of the table: schedules, injected faults, controllers, duplicate tasks that were removed, and what was violated."""

Record = dict[str, Any]


def as_record(result: Result, store: str) -> Record:
    """A finished schedule in plain values."""
    verdict = result.verdict
    return {
        "store": store,
        "seed": result.schedule.seed,
        "theme": result.schedule.theme.value,
        "faults": result.n_faults,
        "controllers": [ending.value for ending in result.endings],
        "repaired": result.repaired,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "not one task": len(verdict.tasks),
        "other": len(verdict.other),
        "complaints": verdict.complaints,
        "errors": result.errors,
        "seconds": round(result.seconds, 1),
    }


def row(records: Sequence[Record]) -> list[int]:
    """Return the numbers of one table row, in the order of COLUMNS."""
    sums = [sum(record[name] for record in records) for name in COLUMNS[3:]]
    faults = sum(record["faults"] for record in records)
    return [len(records), faults, sum(len(record["controllers"]) for record in records), *sums]


def rows(records: Sequence[Record]) -> dict[str, list[int]]:
    """The rows of a store's table, by theme, and the total."""
    themes = {theme.value: row([each for each in records if each["theme"] == theme.value]) for theme in Theme}
    return {**themes, "total": row(records)}


def table(records: Sequence[Record]) -> str:
    """Format the table of a store."""
    found = rows(records)
    width = max(map(len, found))
    lines = ["  ".join([" " * width, *COLUMNS])]
    for name, numbers in found.items():
        cells = [f"{number:>{len(column)}}" for number, column in zip(numbers, COLUMNS, strict=True)]
        lines.append("  ".join([f"{name:<{width}}", *cells]))
    return "\n".join(lines)


def tell(record: Record) -> None:
    """Print a line for a finished schedule, and a line for each violation."""
    endings = ", ".join(record["controllers"])
    print(
        f"{record['store']:<8} {record['seed']:>5} {record['theme']}: {endings}, {record['seconds']:.0f} s",
        flush=True,
    )
    for complaint in record["complaints"]:
        print(f"      VIOLATION {complaint}", flush=True)


def summary(records: Sequence[Record]) -> Record:
    """What is kept of a run: the tables, the seeds, and every violation."""
    of_store = {store: [each for each in records if each["store"] == store] for store in STORES}
    return {
        "columns": COLUMNS,
        "stores": {
            store: {"seeds": _ranges(sorted(each["seed"] for each in found)), "rows": rows(found)}
            for store, found in of_store.items()
            if found
        },
        "violations": [
            {name: record[name] for name in ("store", "seed", "theme", "complaints", "errors")}
            for record in records
            if record["complaints"]
        ],
    }


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds in words: ``0-499``, with gaps as ``0-7, 9``."""
    found: list[list[int]] = []
    for seed in seeds:
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-199", help="first-last, or a single seed")
    parser.add_argument(
        "--store", choices=[*STORES, "both"], default="sqlite", help="where campaigns are kept"
    )
    parser.add_argument("--servers", type=int, default=4, help="servers; each runs one schedule at a time")
    parser.add_argument("--record", type=Path, help="append each result to this file; go on from what it has")
    parser.add_argument("--json", type=Path, help="write the tables and all violations to this file")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    stores = STORES if arguments.store == "both" else (arguments.store,)
    record_file: Path | None = arguments.record
    records: list[Record] = []
    if record_file is not None and record_file.exists():
        records = [json.loads(line) for line in record_file.read_text().splitlines()]
    known = {(record["store"], record["seed"]) for record in records}
    print(f"Seeds {arguments.seeds} on {' and '.join(stores)}; {len(known)} schedules are recorded already.")
    writing = threading.Lock()
    with tempfile.TemporaryDirectory() as folder, servers(arguments.servers, Path(folder)) as fleet:
        for store in stores:

            def keep(result: Result, store: str = store) -> None:
                record = as_record(result, store)
                with writing:
                    records.append(record)
                    tell(record)
                    if record_file is not None:
                        with record_file.open("a") as file:
                            file.write(json.dumps(record) + "\n")

            missing = [seed for seed in seeds if (store, seed) not in known]
            run_all(missing, Path(folder), fleet, keep, store)
    wanted = [each for each in records if each["store"] in stores and each["seed"] in seeds]
    for store in stores:
        print(f"\n{store}\n{table([each for each in wanted if each['store'] == store])}")
    if arguments.json:
        arguments.json.write_text(json.dumps(summary(wanted), indent=1) + "\n")
    sys.exit(any(record["complaints"] for record in wanted))


if __name__ == "__main__":
    main()
