"""Time what depends on the size of a campaign: an answer, `status`, `report`, the queries of a round; and the database.

python scripts/bench_store.py --texts 100000 --rounds 50 --queries 400 --folder /tmp/bench

Makes a campaign on SQLite without a model: each round asks its queries, people answer them, and the next round
trains on all labels. --folder keeps it, so that another version of the program can measure the same one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from db import migrate
from db.store import SqlStore
from star_al.app.reporting import write_report
from star_al.app.starting import create_campaign
from star_al.app.status import status
from star_al.artefacts.folder import ArtefactFolder
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.labelling.inbox import Inbox
from star_al.labelling.queries import query_id
from star_al.parts import Parts
from star_al.ports import Learner
from star_al.types import (
    Annotation,
    Campaign,
    Event,
    Label,
    Lease,
    Query,
    Reason,
    Role,
    Round,
    RoundSelection,
    RoundState,
    StepResults,
)
from support.campaigns import WORDS, write_campaign, write_jsonl
from support.polling import OneByOne, text_row
from support.quiet import Quiet

LABELS = list(WORDS)
PEOPLE = ("ann", "bo", "cy")
STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def make(
    folder: Path, texts: int, rounds: int, queries: int, settle: str, url: str | None = None
) -> CampaignFile:
    """Make the campaign, or find the one that an earlier call made; ``url`` is its database, by default SQLite."""
    path = folder / "campaign.yaml"
    if path.exists():
        file = load_campaign(path)
        migrate.upgrade(file.database_url)
        return file
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "pool.jsonl", [text_row(number, 200) for number in range(texts)])
    people = {"kind": "label_studio", "url": "http://127.0.0.1:9"}
    none = {"kind": "none", "calibration": 0}
    database: dict[str, Any] = {} if url is None else {"database": {"url": url}}
    write_campaign(folder, annotator=people, evaluation=none, labelling={"settle": settle}, **database)
    file = load_campaign(path)
    migrate.upgrade(file.database_url)
    store = SqlStore.open(file.database_url)
    campaign = create_campaign(file, store, Quiet())
    lease = store.acquire_lease(campaign.campaign_id, "bench", 1e6, may_take=lambda _: True)
    item_ids = store.item_ids(campaign.campaign_id, Role.POOL)
    for index in range(rounds):
        _round(store, lease, campaign, index, item_ids[index * queries : (index + 1) * queries])
    store.release_lease(lease)
    store.close()
    return file


def _round(store: SqlStore, lease: Lease, campaign: Campaign, index: int, item_ids: list[str]) -> None:
    """A round from its snapshot to its labels."""
    labels = store.labels(lease.campaign_id, Role.POOL)
    training = [labels[item_id] for item_id in sorted(labels)]
    round_ = Round(
        index=index, state=RoundState.STARTED, seed=index, config=campaign.config, labels=len(training)
    )
    store.start_round(lease, round_, training)
    asked = [
        Query(query_id(campaign.name, item_id, 1), item_id, index, Role.POOL, rank, _reason(rank))
        for rank, item_id in enumerate(item_ids, 1)
    ]
    selection = RoundSelection(asked=len(asked))
    round_ = Round(
        index=index,
        state=RoundState.PUSHED,
        seed=index,
        config=campaign.config,
        labels=len(training),
        selection=selection,
    )
    store.commit_step(lease, round_, Event("select", "asked", index), StepResults(queries=tuple(asked)))
    answers = [_answer(query, number) for number, query in enumerate(asked)]
    store.mirror(lease, "label_studio", answers)
    given = zip(asked, answers, strict=True)
    settled = [(query.query_id, Label(query.item_id, one.value, round_index=index)) for query, one in given]
    store.close_queries(lease, settled, [])


def _reason(rank: int) -> Reason:
    return Reason(
        f"rank {rank} by mutual information: the posterior samples disagree",
        "mutual_information",
        0.5 / rank,
        0.25 / rank,
        0.75 / rank,
        0.5,
        LABELS[rank % len(LABELS)],
        0.5,
        0.1,
        0.2,
        16,
    )


def _answer(query: Query, number: int) -> Annotation:
    label, person = LABELS[number % len(LABELS)], PEOPLE[number % len(PEOPLE)]
    moment = STARTED + timedelta(seconds=number)
    return Annotation(
        f"{query.query_id}@1", query.query_id, label, annotator=person, lead_time=3.5, created_at=moment
    )


class Polls(NamedTuple):
    """Seconds of polls by the clock, and CPU seconds of this process."""

    seconds: list[float]
    busy: list[float]


def time_answers(file: CampaignFile, answers: int = 10) -> Polls:
    """Time polls that bring one answer to a query of the newest round."""
    store = SqlStore.open(file.database_url)
    campaign = store.find_campaign(file.spec.name)
    assert campaign is not None
    lease = store.acquire_lease(campaign.campaign_id, "bench", 1e6, may_take=lambda _: True)
    people = OneByOne()
    parts = Parts(
        campaign=campaign,
        spec=file.spec,
        store=store,
        learner=cast(Learner, None),
        artefacts=ArtefactFolder(file.artefact_folder),
        progress=Quiet(),
    ).leased(lease, people, lambda _: False)
    newest = store.queries(campaign.campaign_id, store.rounds(campaign.campaign_id)[-1].index)
    inbox = Inbox(parts)
    inbox.take_in()  # what earlier runs left
    polls = Polls([], [])
    for number in range(answers):
        started, started_busy = time.perf_counter(), time.process_time()
        other = LABELS[(number + 1) % len(LABELS)]
        people.answers = (
            Annotation(f"late-{number}", newest[number].query_id, other, annotator="dee", created_at=STARTED),
        )
        inbox.take_in()
        store.waiting(campaign.campaign_id, newest[0].round_index, (Role.POOL,))
        polls.seconds.append(time.perf_counter() - started)
        polls.busy.append(time.process_time() - started_busy)
    store.release_lease(lease)
    store.close()
    return polls


def busy(act: Callable[[], object]) -> float:
    """CPU seconds of the fastest of three calls, with those of processes that they start."""
    seconds = []
    for _ in range(3):
        before = _cpu_seconds()
        act()
        seconds.append(_cpu_seconds() - before)
    return min(seconds)


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def command(*arguments: str) -> float:
    """CPU seconds of a command in a process of its own."""
    line = [sys.executable, "-m", "star_al", *arguments]
    return busy(lambda: subprocess.run(line, check=True, stdout=subprocess.DEVNULL))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--queries", type=int, default=400, help="of each round")
    parser.add_argument("--settle", default="majority", help="labelling.settle")
    parser.add_argument("--folder", type=Path, help="where the campaign is made, and kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch) / "campaign"
        file = make(folder, arguments.texts, arguments.rounds, arguments.queries, arguments.settle)
        size = sum(path.stat().st_size for path in folder.glob("*.db*"))
        store = SqlStore.open(file.database_url)
        campaign = store.find_campaign(file.spec.name)
        assert campaign is not None
        page = Path(scratch) / "page.html"
        figures = {
            "database, MB": size / 1e6,
            f"an answer ({arguments.settle})": fmean(time_answers(file).busy),
            "status": busy(lambda: status(file, store, campaign)),
            "report": busy(lambda: write_report(file, page)),
            "`star-al status`": command("status", str(file.path)),
            "`star-al report`": command("report", str(file.path), "--out", str(page)),
            "`star-al export`": command("export", str(file.path), "--out", str(Path(scratch) / "out.csv")),
        }
        store.close()
    print(f"{arguments.texts:,} texts, {arguments.rounds} rounds of {arguments.queries} queries; CPU seconds")
    for name, figure in figures.items():
        print(f"  {name:<34} {figure:8.2f}")


if __name__ == "__main__":
    main()
