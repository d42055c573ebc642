"""How a run waits: what it shows, how long it pauses, and what ends a pause."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from star_al.app.waiting import AT_WORK, FIRST_PAUSE, LONGEST_PAUSE, Pauses, Waiter, in_words
from star_al.errors import AnnotatorError, LeaseLostError
from star_al.types import Waiting
from support.quiet import Quiet

PLACE = "http://127.0.0.1:8080/projects/3/data"


class Hints:
    """Webhooks that a test triggers."""

    def __init__(self, refusal: str | None = None) -> None:
        self.woken = threading.Event()
        self.attached: list[str] = []
        self._refusal = refusal

    def attach(self, place: str) -> None:
        if place in self.attached:
            return
        self.attached.append(place)
        if self._refusal:
            raise AnnotatorError(self._refusal)


def fine() -> None:
    """Lease check: the campaign is still ours."""


def lost() -> None:
    raise LeaseLostError("taken over")


@contextmanager
def after(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(seconds, action)
    timer.start()
    yield
    timer.join()


def patient(hints: Hints | None = None) -> Waiter:
    """Set a pause so long that a shortened one cannot be mistaken for a slow machine."""
    waiter = Waiter(Quiet(), fine, hints=hints)
    waiter._pauses._next = 60.0
    waiter._pauses._seen = (0, {})
    return waiter


AT_ONCE = 20.0
"""Seconds that a busy machine may take for what takes none."""


def seconds(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


# -- the line ----------------------------------------------------------------------------------------------


def test_the_line_names_count_people_place_and_end() -> None:
    until = datetime.now(UTC).astimezone() + timedelta(seconds=1)
    waiting = Waiting(9, 25, 2, {"bo@example.org": 3, "ann@example.org": 4}, PLACE, until.astimezone(UTC))
    assert in_words(waiting) == (
        "7 of 25 labelled · 2 without a label · ann@example.org 4, bo@example.org 3"
        f" · {PLACE} · closes at {until:%H:%M}"
    )


def test_the_line_without_people_and_place_is_short() -> None:
    assert in_words(Waiting(0, 1)) == "0 of 1 labelled"
    assert in_words(Waiting(3, 5, 1, disputed=2)) == "2 of 5 labelled · 1 without a label · 2 disputed"


def test_another_day_is_named_and_of_many_people_the_busiest() -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    names = {f"p{number}": number for number in range(9)}
    line = in_words(Waiting(1, 2000, 0, {**names, "": 50}, None, until))
    assert line.startswith(
        "1 of 2,000 labelled · unnamed 50, p8 8, p7 7, p6 6, p5 5 and 5 more · closes on 2"
    )
    assert f"{until.astimezone():%Y-%m-%d at %H:%M}" in line


# -- pauses ------------------------------------------------------------------------------------------------


def test_pauses_grow_and_begin_again_when_somebody_answers() -> None:
    pauses = Pauses()
    quiet = [pauses.after(Waiting(0, 9)) for _ in range(14)]
    assert quiet[:4] == [0.5, 0.75, 1.125, 1.6875] and quiet[-1] == LONGEST_PAUSE
    assert all(later >= earlier for earlier, later in itertools.pairwise(quiet))
    assert pauses.after(Waiting(1, 9)) == FIRST_PAUSE
    assert pauses.after(Waiting(1, 9, answers={"ann": 1})) == FIRST_PAUSE


def test_pauses_stay_short_while_somebody_reads_and_grow_when_nobody_answers_any_more() -> None:
    pauses = Pauses()
    pauses.after(Waiting(0, 9))
    short = [FIRST_PAUSE] * int(AT_WORK / FIRST_PAUSE)
    assert [pauses.after(Waiting(1, 9)) for _ in short] == short
    assert [pauses.after(Waiting(1, 9)) for _ in range(3)] == [0.5, 0.75, 1.125]


def test_a_run_that_does_not_wait_for_people_waits_for_what_is_trained() -> None:
    progress = Quiet()
    waiter = Waiter(progress, fine, no_wait=True)
    assert waiter(Waiting(0, 2, beside="training round 3: 4 of 9"))
    assert progress.waited == ["0 of 2 labelled · training round 3: 4 of 9"]
    assert not waiter(Waiting(0, 2))


def test_no_wait_gives_up_at_once_without_a_line() -> None:
    progress, hints = Quiet(), Hints()
    waiter = Waiter(progress, lost, no_wait=True, hints=hints)
    assert not waiter(Waiting(0, 2, place=PLACE))
    assert progress.waited == [] and hints.attached == []


def test_it_shows_the_line_and_pauses() -> None:
    progress = Quiet()
    waiter = Waiter(progress, fine)
    assert 0.9 * FIRST_PAUSE < seconds(lambda: waiter(Waiting(0, 2))) < AT_ONCE
    assert progress.waited == ["0 of 2 labelled"]


def test_a_round_whose_time_is_over_does_not_wait() -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    waiter = patient()
    assert seconds(lambda: waiter(Waiting(0, 2, until=over))) < AT_ONCE
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    assert seconds(lambda: waiter(Waiting(0, 2, until=soon))) < AT_ONCE
    assert datetime.now(UTC) > soon - timedelta(seconds=0.1)


def test_a_hint_ends_the_pause_at_once_and_is_used_up() -> None:
    hints = Hints()
    waiter = patient(hints)
    with after(0.1, hints.woken.set):
        assert seconds(lambda: waiter(Waiting(0, 2, place=PLACE))) < AT_ONCE
    assert seconds(lambda: waiter(Waiting(1, 3, place=PLACE))) > 0.9 * FIRST_PAUSE


def test_a_hint_during_the_poll_is_not_missed() -> None:
    hints = Hints()
    hints.woken.set()
    assert seconds(lambda: patient(hints)(Waiting(0, 2, place=PLACE))) < AT_ONCE


def test_webhooks_are_registered_when_the_place_is_known_and_a_refusal_is_reported() -> None:
    progress, hints = Quiet(), Hints("No webhook: refused.")
    waiter = Waiter(progress, fine, hints=hints)
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    waiter(Waiting(0, 2, until=soon))
    assert hints.attached == []
    hints.woken.set()
    assert waiter(Waiting(0, 2, place=PLACE))
    hints.woken.set()
    waiter(Waiting(0, 2, place=PLACE))
    assert hints.attached == [PLACE]
    assert progress.said == ["No webhook: refused. Polling for answers instead."]


def test_a_lost_lease_ends_the_pause() -> None:
    checks = iter([fine, lost])
    waiter = Waiter(Quiet(), lambda: next(checks)())
    with pytest.raises(LeaseLostError):
        waiter(Waiting(0, 2))


def test_a_signal_ends_a_long_pause_at_once() -> None:
    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt), after(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)):
            patient()(Waiting(0, 2))

    assert seconds(interrupted) < AT_ONCE
