"""Run a small campaign against a real server under a schedule of faults.

Its requests go through the fault proxy, while a person labels straight at the server. Its controllers die,
stand still while another takes over, and start again from what the database holds. At the end nothing is held
back any more, one clean poll is made, and the result is checked.
"""

from __future__ import annotations

import json
import queue
import random
import re
import sqlite3
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from db.store import SqlStore
from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
from star_al.annotators.label_studio.client import Connection
from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.artefacts.folder import ArtefactFolder
from star_al.common.patience import Outage, Patience
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, LabelStudioSpec
from star_al.errors import AnnotatorError, LeaseLostError, StoreError
from star_al.labelling.exchange import take_in_late
from star_al.loop import Loop
from star_al.parts import LeasedParts, Parts
from star_al.task import closed, make_task
from star_al.types import Campaign, Lease, Waiting
from support.campaigns import WORDS, write_campaign
from support.databases import drop_postgres, migrated_url
from support.exchange_check import Verdict, check, check_sqlite
from support.fault_proxy import FaultProxy, Kind
from support.label_studio_server import LabelStudio, start_server
from support.moments import Killed, Moments, WatchedStore, die
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet
from support.schedules import IMPORT, TIME_LIMIT, Schedule, schedule
from support.server_side import KEY, Person, ServerSide
from support.wire_proxy import WireProxy

PATIENCE = 240.0  # a schedule that has not ended after so many seconds makes no progress


class Ending(StrEnum):
    """How a controller ended."""

    DONE = "done"
    KILLED = "killed"
    LOST = "lease lost"
    FAILED = "annotator error"
    STUCK = "stuck"


@dataclass
class Result:
    """The outcome of one schedule."""

    schedule: Schedule
    injected: Counter[Kind]
    endings: list[Ending]
    repaired: int  # duplicate tasks that were removed, except replacements of deleted tasks
    verdict: Verdict
    seconds: float
    errors: list[str] = field(default_factory=list)  # messages of controllers that failed
    cuts: int = 0  # connections to the database that broke
    locks: int = 0  # times that another program held the database's lock
    damaged: int = 0  # files of artefacts
    malformed: int = 0  # answers that hold no label

    @property
    def n_faults(self) -> int:
        """How many faults happened."""
        return self.injected.total() + self.cuts + self.locks + self.damaged + self.malformed


class Run:
    """Runs one campaign under one schedule against a server."""

    def __init__(self, plan: Schedule, folder: Path, server: LabelStudio, kind: str = "sqlite") -> None:
        self.plan, self._server = plan, server
        self.proxy = FaultProxy(server.url, plan.faults)
        self._url = migrated_url(kind, folder.parent)
        self._wire = WireProxy(self._url) if kind == "postgres" else None
        self.file = self._campaign_file(folder)
        self._random = random.Random(f"damage-{plan.seed}")
        self.damaged = 0
        self.side = ServerSide(server.url, server.token, self.file.spec.name)
        self.campaign = self._create()
        behind = ServerSide(server.url, server.token, self.file.spec.name)
        self.person = Person(behind, list(WORDS), plan.seed, deletes=plan.deletes, malformed=plan.malformed)
        self.endings: list[Ending] = []
        self.errors: list[str] = []
        self._deadline = time.monotonic() + PATIENCE

    def go(self) -> Result:
        start = time.monotonic()
        self.person.start()
        if self._wire is not None:
            self._wire.plan(self.plan.cuts)
        locker = None if self._wire is not None else _Locker(self._url, self.plan.locks)
        try:
            self._lives()
        finally:
            if locker is not None:
                locker.stop()
            if self._wire is not None:
                self._wire.close()
            self.person.stop()
            self.proxy.plan(())
            self.proxy.release()
        with self.proxy:
            verdict = self._clean_poll_and_check()
        answered_extras = sum(len(tasks) - 1 for tasks in self.side.by_key().values())
        repaired = self._extras_made() - answered_extras - self.person.deleted
        self.side.close()
        seconds = time.monotonic() - start
        return Result(
            self.plan,
            self.proxy.injected,
            self.endings,
            repaired,
            verdict,
            seconds,
            self.errors,
            cuts=len(self._wire.happened) if self._wire is not None else 0,
            locks=locker.held if locker is not None else 0,
            damaged=self.damaged,
            malformed=self.person.misanswered,
        )

    # -- lives of controllers --------------------------------------------------------------------------

    def _lives(self) -> None:
        restart = threading.Timer(1.0, self._server.restart)
        if self.plan.restarts:
            restart.start()
        for moment in self.plan.kills:
            self._live(Moments(moment, die))
            if self.damaged < self.plan.damages:
                self._damage_a_file()
        if self.plan.stands_still is not None:
            self._take_over(self.plan.stands_still, self.plan.wakes)
        while Ending.DONE not in self.endings and time.monotonic() < self._deadline:
            self._live(Moments())
        if self.plan.restarts:
            restart.join()

    def _damage_a_file(self) -> None:
        """Cut a file of an artefact short, or change a byte of it."""
        root = self.file.artefact_folder
        files = sorted(path for path in root.rglob("*") if path.is_file() and ".staging" not in path.parts)
        if not files:
            return
        path = self._random.choice(files)
        content = bytearray(path.read_bytes())
        if content and self._random.random() < 0.5:
            content[self._random.randrange(len(content))] ^= 0xFF
        else:
            content = content[: len(content) // 2]
        path.write_bytes(content)
        self.damaged += 1

    def _take_over(self, stands_still: int, wakes: int | None) -> None:
        """Pause a controller, let another take the campaign, and resume the first, which must notice."""
        still, go_on = threading.Event(), threading.Event()

        def stand() -> None:
            still.set()
            go_on.wait(PATIENCE)

        endings: list[Ending] = []
        moments = Moments(stands_still, stand)
        first = threading.Thread(target=lambda: endings.append(self._life(moments)), daemon=True)
        first.start()
        while first.is_alive() and not still.wait(0.05):
            pass
        self._live(Moments(wakes, go_on.set))
        go_on.set()
        first.join(PATIENCE)
        self.endings += endings or [Ending.STUCK]
        if still.is_set() and endings == [Ending.DONE] and moments.count > stands_still:
            self.errors.append("a controller that had lost its lease wrote on and ended well")

    def _live(self, moments: Moments) -> None:
        self.endings.append(self._life(moments))

    def _life(self, moments: Moments) -> Ending:
        """Run one controller to its end."""
        patience = Patience(waits=True)
        try:
            store = patience.again(lambda: open_store(self.file, patience=patience), _starts_anew)
        except StoreError as exc:
            self.errors.append(str(exc))
            return Ending.FAILED
        try:
            lease = store.acquire_lease(self.campaign.campaign_id, "schedule", 60, may_take=lambda _: True)
            outcome = Loop(self._parts(WatchedStore(store, moments), lease, patience)).run()
            return Ending.DONE if outcome.kind == "stopped" else Ending.STUCK
        except Killed:
            return Ending.KILLED
        except LeaseLostError:
            return Ending.LOST
        except (AnnotatorError, StoreError) as exc:
            self.errors.append(str(exc))
            return Ending.FAILED
        finally:
            store.close()

    def _wait(self, waiting: Waiting) -> bool:
        time.sleep(0.3)
        return time.monotonic() < self._deadline

    # -- what it runs on -------------------------------------------------------------------------------

    def _campaign_file(self, folder: Path) -> CampaignFile:
        folder.mkdir(parents=True)
        name = f"{folder.name}-{time.time_ns()}"  # a name that no campaign on a reused server has
        path = write_campaign(
            folder,
            n=60,
            name=name,
            acquisition__batch_size=self.plan.batch,
            annotator={"kind": "label_studio", "url": self.proxy.url, "timeout": TIME_LIMIT},
            labelling={"buffer": self.plan.buffer},
            evaluation={"kind": "audit", "size": 4, "calibration": 3, "stop_set": 5},
            stopping={"max_rounds": 1},
            database={"url": self._wire.url if self._wire else self._url, "lease_seconds": 60.0},
        )
        return load_campaign(path)

    def _create(self) -> Campaign:
        store = open_store(self.file)
        try:
            return create_campaign(self.file, store, Quiet())
        finally:
            store.close()

    def _parts(
        self, store: Any, lease: Lease, patience: Patience | None = None, *, clean: bool = False
    ) -> LeasedParts:
        spec = self.file.spec
        task = closed(make_task(spec.task))
        assert isinstance(spec.annotator, LabelStudioSpec)
        limit = TIME_LIMIT if self.plan.faults and not clean else PATIENCE  # a slow machine is no fault
        connection = Connection(self.proxy.url, self._server.token, limit)
        parts = Parts(
            campaign=self.campaign,
            spec=spec,
            store=store,
            learner=NumpyLearner(task),
            artefacts=ArtefactFolder(self.file.artefact_folder),
            progress=Quiet(),
        )
        annotator = LabelStudioAnnotator(
            connection,
            spec.annotator,
            task,
            self.campaign,
            spec.labelling.overlap,
            partial(store.items, self.campaign.campaign_id),
        )
        return parts.leased(lease, annotator, self._wait, patience)

    # -- the end ---------------------------------------------------------------------------------------

    def _clean_poll_and_check(self) -> Verdict:
        store = SqlStore.open(self._url)  # directly, where nothing breaks
        try:
            lease = store.acquire_lease(self.campaign.campaign_id, "check", 60, may_take=lambda _: True)
            take_in_late(self._parts(store, lease, Patience(waits=True), clean=True))
            verdict = check(self.side, store, self.campaign.campaign_id, self.person.given)
        finally:
            store.close()
        if self._wire is None:
            verdict.other += check_sqlite(self._url)
        else:
            drop_postgres(self._url)
        if Ending.DONE not in self.endings or Ending.STUCK in self.endings:
            verdict.other.append(f"the campaign did not end in {PATIENCE:.0f} s: {self.endings}")
        verdict.other += [error for error in self.errors if "ended well" in error]
        return verdict

    def _extras_made(self) -> int:
        """Number of tasks that the server made for queries that already had one."""
        made: Counter[str] = Counter()
        for each in self.proxy.record:
            if re.search(IMPORT, each.path) and each.status == 201:
                made.update(task["data"][KEY] for task in json.loads(each.body))
        return made.total() - len(made)


@contextmanager
def servers(n: int, folder: Path) -> Iterator[list[LabelStudio]]:
    """Start ``n`` servers. Campaigns that share a server on SQLite can wait seconds for each other's writes."""
    with ThreadPoolExecutor(n) as pool, ExitStack() as stack:
        started = list(pool.map(lambda number: start_server(folder / f"server-{number}"), range(n)))
        for server in started:
            stack.callback(server.stop)
        yield started


def run_all(
    seeds: Sequence[int],
    folder: Path,
    fleet: Sequence[LabelStudio],
    tell: Callable[[Result], None] = lambda result: None,
    kind: str = "sqlite",
) -> list[Result]:
    """Run the seeds' schedules, one at a time on each server, and return the results in order.

    Args:
        seeds: Of the schedules.
        folder: For the campaigns' files.
        fleet: The servers.
        tell: Called with each result.
        kind: ``sqlite`` or ``postgres``.
    """
    free: queue.SimpleQueue[LabelStudio] = queue.SimpleQueue()
    for server in fleet:
        free.put(server)
    making = threading.Lock()  # only one thread at a time can create a database

    def one(seed: int) -> Result:
        server = free.get()
        try:
            with making:
                run = Run(schedule(seed), folder / f"schedule-{kind}-{seed}", server, kind)
            result = run.go()
        except Exception as exc:  # the other schedules go on
            traceback.print_exc()
            broken = Verdict(other=[f"the schedule broke off: {exc!r}"])
            result = Result(schedule(seed), Counter(), [Ending.STUCK], 0, broken, 0.0)
        finally:
            free.put(server)
        tell(result)
        return result

    with ThreadPoolExecutor(len(fleet)) as pool:
        return list(pool.map(one, seeds))


def _starts_anew(exc: BaseException) -> Outage | None:
    """A controller that meets a database that is away ends, and whoever started it starts it again."""
    return Outage(60.0, longest_pause=1.0) if isinstance(exc, StoreError) else None


class _Locker:
    """Another program that takes the lock of a SQLite file now and then."""

    def __init__(self, url: str, locks: Sequence[tuple[float, float]]) -> None:
        self.held = 0
        self._file, self._locks = make_url(url).database, locks
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._enough.set()
        self._thread.join(60)

    def _run(self) -> None:
        if not self._locks:
            return
        connection = sqlite3.connect(str(self._file), isolation_level=None, timeout=30.0)
        for after, seconds in self._locks:
            if self._enough.wait(after):
                break
            connection.execute("BEGIN IMMEDIATE")
            self.held += 1
            self._enough.wait(seconds)
            connection.execute("ROLLBACK")
        connection.close()
