"""Work in processes of its own: what they return and tell, how they fail, and that none outlives its owner."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.app import worker_processes
from star_al.app.worker_processes import ENDED, SAID, TASK_ADVANCED, Done, Owner, Relay
from star_al.errors import DataError, StarALError
from support import workers
from support.quiet import Quiet


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_processes, "PRELOADED", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def result(function: Callable[..., Any], *arguments: Any) -> Done:
    with Owner(1) as owner:
        owner.start("it", function, *arguments)
        while True:
            key, kind, content = owner.hear()
            if kind == ENDED:
                assert key == "it" and len(owner) == 0
                done: Done = content
                return done


def test_several_processes_are_heard_of_by_their_keys() -> None:
    with Owner(1) as owner:
        for number in (3, 4):
            owner.start(number, workers.double, number)
        heard: dict[int, list[tuple[int, Any]]] = {3: [], 4: []}
        while len(owner):
            key, kind, content = owner.hear()
            heard[key].append((kind, content))
    for number, told in heard.items():
        assert told[0] == (SAID, f"doubling {number}")
        assert (TASK_ADVANCED, (1, 2)) in told
        kind, done = told[-1]
        assert (kind, done.value, done.error) == (ENDED, 2 * number, None)
        assert done.seconds > 0


@pytest.mark.parametrize(
    ("function", "kind", "exit_code", "message"),
    [
        pytest.param(workers.refuse, DataError, 2, "no such row.", id="refused"),
        pytest.param(workers.break_down, StarALError, 1, "internal error: KeyError: 'odd'", id="broken"),
        pytest.param(workers.die, StarALError, 1, "ended by SIGKILL. Memory may be short", id="killed"),
    ],
)
def test_a_failure_keeps_its_kind_and_its_exit_code(
    function: Callable[..., Any], kind: type[StarALError], exit_code: int, message: str
) -> None:
    done = result(function)
    assert type(done.error) is kind and done.value is None
    assert done.error.exit_code == exit_code and message in str(done.error)


def test_a_process_that_is_left_gives_back_what_it_holds(tmp_path: Path) -> None:
    start = time.monotonic()
    with Owner(1) as owner:
        owner.start("it", workers.hold, str(tmp_path / "mark"))
        assert owner.hear() == ("it", SAID, "holding")
    assert (tmp_path / "mark").read_text() == "given back"
    assert time.monotonic() - start < 30


def test_what_a_process_tells_is_shown_as_if_it_were_told_here() -> None:
    progress = Quiet()
    with Owner(1) as owner, Relay(progress) as relay:
        owner.start("it", workers.double, 5)
        while True:
            _, kind, content = owner.hear()
            if kind == ENDED:
                break
            relay.show(kind, content)
    assert "doubling 5" in progress.said
