"""Import a JSONL file of many rows into a new SQLite campaign; print the seconds and the peak memory.

python scripts/bench_import.py --rows 1000000 --folder /some/scratch/folder
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.config.writing import to_yaml
from star_al.ports import Advance
from star_al.types import JsonObject

WORDS = [
    "market",
    "goal",
    "phone",
    "bank",
    "match",
    "chip",
    "rates",
    "team",
    "data",
    "the",
    "a",
    "new",
    "old",
    "said",
    "after",
    "monday",
    "report",
]


class Silent:
    """A progress display that prints messages and draws no bars."""

    def say(self, message: str) -> None:
        """Print the message."""
        print(message)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda n: None

    def waiting(self, message: str | None) -> None:
        """Show nothing."""


def write_rows(path: Path, n: int) -> None:
    """Write ``n`` different short texts, each with an id and a label."""
    random_ = random.Random(0)
    with path.open("w") as stream:
        for number in range(n):
            text = f"{' '.join(random_.choices(WORDS, k=12))} {number}"
            stream.write(json.dumps({"id": number, "text": text, "label": "ab"[number % 2]}) + "\n")


def write_config(path: Path) -> None:
    config: JsonObject = {
        "name": "bench",
        "data": {"path": "pool.jsonl", "id": "id"},
        "task": {"kind": "classification", "labels": ["a", "b"]},
        "model": {"name": "none-needed"},
        "annotator": {"kind": "oracle", "gold": "label"},
    }
    path.write_text(to_yaml(config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True, help="an empty scratch folder")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_rows(arguments.folder / "pool.jsonl", arguments.rows)
    write_config(arguments.folder / "bench.yaml")
    file = load_campaign(arguments.folder / "bench.yaml")
    store = open_store(file, create=True)
    start = time.perf_counter()
    campaign = create_campaign(file, store, Silent())
    imported = time.perf_counter()
    n_pool = len(store.pool_ids(campaign.campaign_id, 0))
    listed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"import {imported - start:.1f} s, {n_pool:,} pool ids {listed - imported:.1f} s, peak {peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
