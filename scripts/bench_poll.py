"""Time a poll that brings one answer, on SQLite, in a round with many queries and long texts.

python scripts/bench_poll.py --queries 20000 --characters 2000
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.polling import Round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--characters", type=int, default=2_000, help="of each text")
    parser.add_argument("--answered", type=int, default=10_000, help="queries that are answered before")
    parser.add_argument("--polls", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        round_ = Round(
            Path(folder), arguments.queries, characters=arguments.characters, answered=arguments.answered
        )
        before = _peak_mib()
        seconds, busy = [], []
        for _ in range(arguments.polls):
            start, start_busy = time.perf_counter(), time.process_time()
            round_.poll()
            seconds.append(time.perf_counter() - start)
            busy.append(time.process_time() - start_busy)
        with round_.counted() as loaded:
            round_.poll()
        round_.close()
    print(
        f"{arguments.queries:,} queries, {arguments.answered:,} answered, texts of {arguments.characters:,} "
        f"characters: median {1000 * statistics.median(seconds):.0f} ms a poll "
        f"({1000 * statistics.median(busy):.0f} ms of CPU time); {loaded.statements} statements return "
        f"{loaded.rows} rows with {loaded.characters:,} characters; polls raise the peak "
        f"memory by {_peak_mib() - before:.0f} MiB"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
