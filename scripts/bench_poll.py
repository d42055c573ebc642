"""Time a poll that brings one answer, and `status`, in a campaign with many queries.

python scripts/bench_poll.py --queries 20000 --characters 2000
python scripts/bench_poll.py --queries 20000 --rounds 50 --store sqlite postgres --settle majority dawid_skene

Without --rounds, the queries are those of one round with long texts, on SQLite, and the rows are counted that a poll
loads. With --rounds, each of that many rounds has its share of them, and all are answered.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bench_store import make, time_answers
from own_postgres import own_postgres

from db.store import SqlStore
from star_al.app.status import status
from star_al.config.spec import CampaignFile
from support.polling import Round

POLL_BAR, STATUS_BAR = 0.1, 0.5
"""Seconds that a poll with one answer and `status` may take."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, help="rounds that have them")
    parser.add_argument("--store", nargs="+", choices=("sqlite", "postgres"), default=["sqlite"])
    parser.add_argument("--settle", nargs="+", default=["majority"], help="labelling.settle")
    parser.add_argument("--characters", type=int, default=2_000, help="of each text, without --rounds")
    parser.add_argument(
        "--answered", type=int, default=10_000, help="queries that are answered before, without --rounds"
    )
    parser.add_argument("--polls", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.rounds is None:
            one_round(Path(scratch), arguments)
            return
        for store in arguments.store:
            for settle in arguments.settle:
                with _database(Path(scratch), store, settle) as url:
                    many_rounds(Path(scratch) / f"{store}-{settle}", arguments, settle, url)


def many_rounds(folder: Path, arguments: argparse.Namespace, settle: str, url: str | None) -> None:
    """Time polls in the last of many rounds, and `status`."""
    share = arguments.queries // arguments.rounds
    file = make(folder, 2 * arguments.queries, arguments.rounds, share, settle, url)
    polls = time_answers(file, arguments.polls)
    seconds, busy = median(polls.seconds), median(polls.busy)
    status_seconds, status_busy = time_status(file)
    print(
        f"{folder.name}: {arguments.queries:,} queries in {arguments.rounds} rounds: a poll with one answer takes "
        f"{1000 * seconds:.0f} ms ({1000 * busy:.0f} ms of CPU time; bar {1000 * POLL_BAR:.0f}), status "
        f"{status_seconds:.2f} s ({status_busy:.2f} s of CPU time; bar {STATUS_BAR})"
    )


def time_status(file: CampaignFile) -> tuple[float, float]:
    """Seconds and CPU seconds of the fastest of three readings of the status."""
    store = SqlStore.open(file.database_url)
    campaign = store.find_campaign(file.spec.name)
    assert campaign is not None
    found = []
    for _ in range(3):
        start, start_busy = time.perf_counter(), time.process_time()
        status(file, store, campaign)
        found.append((time.perf_counter() - start, time.process_time() - start_busy))
    store.close()
    return min(found)


@contextmanager
def _database(scratch: Path, store: str, settle: str) -> Iterator[str | None]:
    if store == "sqlite":
        yield None
        return
    with own_postgres(scratch / "postgres", settle, fresh=True) as url:
        yield url


def one_round(scratch: Path, arguments: argparse.Namespace) -> None:
    """Time polls in a round with many queries, half of them open; count what they load."""
    round_ = Round(scratch, arguments.queries, characters=arguments.characters, answered=arguments.answered)
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
        f"characters: median {1000 * median(seconds):.0f} ms a poll "
        f"({1000 * median(busy):.0f} ms of CPU time); {loaded.statements} statements return "
        f"{loaded.rows} rows with {loaded.characters:,} characters; polls raise the peak "
        f"memory by {_peak_mib() - before:.0f} MiB"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
