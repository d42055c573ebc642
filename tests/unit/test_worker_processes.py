"""Worker processes: what they return and send, how they fail, and that none outlives its parent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.app import worker_processes
from star_al.app.worker_processes import MessageKind, ProcessResult, ProgressRelay, WorkerProcesses
from star_al.errors import DataError, StarALError
from support import workers
from support.quiet import Quiet


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_processes, "PRELOADED", [])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def result(function: Callable[..., Any], *arguments: Any) -> ProcessResult:
    with WorkerProcesses(1) as processes:
        processes.start("it", function, *arguments)
        while (message := processes.receive()).kind is not MessageKind.PROCESS_ENDED:
            pass
        assert message.key == "it" and len(processes) == 0
        ended: ProcessResult = message.content
        return ended


def test_messages_carry_the_key_of_their_process() -> None:
    with WorkerProcesses(1) as processes:
        for number in (3, 4):
            processes.start(number, workers.double, number)
        received: dict[int, list[tuple[MessageKind, Any]]] = {3: [], 4: []}
        while len(processes):
            key, kind, content = processes.receive()
            received[key].append((kind, content))
    for number, messages in received.items():
        assert messages[0] == (MessageKind.LINE, f"doubling {number}")
        assert (MessageKind.TASK_ADVANCED, (1, 2)) in messages
        kind, ended = messages[-1]
        assert (kind, ended.value, ended.error) == (MessageKind.PROCESS_ENDED, 2 * number, None)
        assert ended.seconds > 0


@pytest.mark.parametrize(
    ("function", "kind", "exit_code", "message"),
    [
        pytest.param(workers.refuse, DataError, 2, "no such row.", id="refused"),
        pytest.param(workers.break_down, StarALError, 1, "internal error: KeyError: 'odd'", id="broken"),
        pytest.param(
            workers.die, StarALError, 1, "ended by SIGKILL. It may have run out of memory", id="killed"
        ),
    ],
)
def test_a_failure_keeps_its_kind_and_its_exit_code(
    function: Callable[..., Any], kind: type[StarALError], exit_code: int, message: str
) -> None:
    ended = result(function)
    assert type(ended.error) is kind and ended.value is None
    assert ended.error.exit_code == exit_code and message in str(ended.error)


def test_a_process_that_is_ended_releases_what_it_holds(tmp_path: Path) -> None:
    start = time.monotonic()
    with WorkerProcesses(1) as processes:
        processes.start("it", workers.hold, str(tmp_path / "mark"))
        assert processes.receive() == ("it", MessageKind.LINE, "holding")
    assert (tmp_path / "mark").read_text() == "given back"
    assert time.monotonic() - start < 30


def test_the_progress_of_a_process_is_shown_in_the_parent() -> None:
    progress = Quiet()
    with WorkerProcesses(1) as processes, ProgressRelay(progress) as relay:
        processes.start("it", workers.double, 5)
        while (message := processes.receive()).kind is not MessageKind.PROCESS_ENDED:
            relay.show(message)
    assert "doubling 5" in progress.said
