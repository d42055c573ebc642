"""Seeded schedules of faults between a campaign and Label Studio; ``schedule_run`` carries them out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from support.fault_proxy import Fault, Kind
from support.wire_proxy import Cut

TIME_LIMIT = 1.0  # seconds of one request
IMPORT = r"/import\b"


class Theme(StrEnum):
    """The theme of a schedule; each schedule also breaks an import or another request."""

    REPLY_DROPPED = "reply dropped"
    REQUEST_DROPPED = "request dropped"
    HELD_BACK = "held back, done later"
    DELAYED = "delayed past the limit"
    ERROR_BEFORE = "5xx or 429, not done"
    ERROR_AFTER = "5xx or 429, but done"
    CUT = "reply cut"
    REFUSED = "connections refused"
    KILLED = "controller killed"
    TAKEN_OVER = "controller taken over"
    LATE = "held past a take-over"
    DELETED = "tasks deleted by people"
    RESTARTED = "server restarted"
    DATABASE_AWAY = "database away at a statement"
    COMMIT_UNANSWERED = "commit done, answer lost"
    DAMAGED = "artefact damaged"
    MALFORMED = "malformed answers"
    DOWN_AT_PUSH = "server down at a push"
    EVERYTHING = "all of it at once"


BROKEN_BY = {
    Theme.REPLY_DROPPED: Kind.DROP_REPLY,
    Theme.REQUEST_DROPPED: Kind.DROP_REQUEST,
    Theme.HELD_BACK: Kind.HOLD,
    Theme.DELAYED: Kind.DELAY,
    Theme.ERROR_BEFORE: Kind.ERROR_BEFORE,
    Theme.ERROR_AFTER: Kind.ERROR_AFTER,
    Theme.CUT: Kind.CUT,
    Theme.REFUSED: Kind.REFUSE,
}


@dataclass(frozen=True)
class Schedule:
    """The events of a schedule. A moment counts a controller's writes to its store, before and after."""

    seed: int
    theme: Theme
    faults: tuple[Fault, ...]
    kills: tuple[int, ...] = ()  # the moment at which each of the first controllers dies
    stands_still: int | None = None  # the moment at which one stands still while another takes over
    wakes: int | None = None  # the other's moment at which it goes on; None: when the other has ended
    deletes: int = 0  # blank tasks that the person throws away
    restarts: bool = False  # the server, once, under way
    cuts: tuple[Cut, ...] = ()  # of connections to Postgres
    locks: tuple[
        tuple[float, float], ...
    ] = ()  # of the SQLite file, by another program: after and for seconds
    damages: int = 0  # files of artefacts that are damaged, one after each killed controller
    malformed: int = 0  # answers that hold no label
    batch: int = 5
    buffer: int = 0


def schedule(seed: int) -> Schedule:
    """Return the schedule of a seed; consecutive seeds take consecutive themes."""
    random_ = random.Random(f"schedule-{seed}")
    theme = list(Theme)[seed % len(Theme)]
    batch, buffer = random_.randint(5, 12), random_.choice([0, 0, 3])
    changes: dict[str, Any] = {}
    if theme in BROKEN_BY:
        faults = [
            _fault(random_, BROKEN_BY[theme], at_an_import=n == 0) for n in range(random_.randint(1, 3))
        ]
    elif theme is Theme.DOWN_AT_PUSH:  # longer than a first request is repeated
        faults = [Fault(Kind.REFUSE, nth=1, seconds=random_.uniform(3.0, 8.0))]
    elif theme is Theme.EVERYTHING:
        faults = [_fault(random_, kind) for kind in random_.sample(list(BROKEN_BY.values()), 4)]
    elif theme is Theme.LATE:
        faults = [
            Fault(
                Kind.HOLD, nth=random_.randint(1, 2), method="POST", path=IMPORT, gone=random_.random() < 0.5
            )
        ]
    else:
        faults = [_fault(random_, random_.choice(list(BROKEN_BY.values())))]
    if theme in (Theme.KILLED, Theme.EVERYTHING):
        changes["kills"] = tuple(random_.randint(3, 40) for _ in range(random_.randint(2, 5)))
    if theme in (Theme.TAKEN_OVER, Theme.LATE, Theme.EVERYTHING):
        changes["stands_still"] = random_.randint(4, 40)
        changes["wakes"] = random_.choice([None, random_.randint(1, 40)])
    if theme in (Theme.DATABASE_AWAY, Theme.COMMIT_UNANSWERED, Theme.EVERYTHING):
        changes["cuts"] = tuple(_cut(random_, theme) for _ in range(random_.randint(2, 6)))
        changes["locks"] = tuple(
            (random_.uniform(0.1, 3.0), random_.uniform(0.2, 3.0)) for _ in range(random_.randint(2, 4))
        )
    if theme in (Theme.DAMAGED, Theme.EVERYTHING):
        changes["kills"] = tuple(random_.randint(20, 60) for _ in range(random_.randint(2, 4)))
        changes["damages"] = len(changes["kills"])
    if theme in (Theme.MALFORMED, Theme.EVERYTHING):
        changes["malformed"] = random_.randint(1, 5)
    if theme is Theme.DELETED:
        changes["deletes"] = random_.randint(1, 5)
    changes["restarts"] = theme is Theme.RESTARTED
    return Schedule(seed, theme, tuple(faults), batch=batch, buffer=buffer, **changes)


def _cut(random_: random.Random, theme: Theme) -> Cut:
    """A connection that breaks at a statement or at a commit, before or after it is carried out."""
    seconds = random_.choice([0.0, random_.uniform(0.1, 3.0)])
    if theme is Theme.COMMIT_UNANSWERED or random_.random() < 0.3:
        return Cut(random_.randint(1, 60), commit=True, done=True, seconds=seconds)
    return Cut(random_.randint(1, 500), done=random_.random() < 0.5, seconds=seconds)


def _fault(random_: random.Random, kind: Kind, *, at_an_import: bool = False) -> Fault:
    """Return a fault of this kind at an import, at another change, or at any request."""
    method, path, latest = random_.choices(
        [("POST", IMPORT, 2), (None, r"/api/(projects/$|dm/|predictions|projects/\d+/$)", 5), (None, "", 40)],
        weights=[1, 0, 0] if at_an_import else [4, 3, 3],
    )[0]
    common: dict[str, Any] = {"nth": random_.randint(1, latest), "method": method, "path": path}
    if kind in (Kind.ERROR_BEFORE, Kind.ERROR_AFTER):
        return Fault(kind, times=random_.randint(1, 3), status=random_.choice([429, 500, 502, 503]), **common)
    if kind is Kind.DELAY:
        return Fault(kind, seconds=TIME_LIMIT * random_.uniform(1.1, 2.5), **common)
    if kind is Kind.REFUSE:
        return Fault(kind, seconds=random_.uniform(0.2, 3.0), **common)
    if kind is Kind.HOLD:
        until: dict[str, Any] = random_.choice(
            [{"requests": random_.randint(1, 15)}, {"seconds": TIME_LIMIT * random_.uniform(0.5, 5.0)}, {}]
        )
        return Fault(kind, gone=random_.random() < 0.5, **until, **common)
    return Fault(kind, times=random_.choice([1, 1, 2]), **common)
