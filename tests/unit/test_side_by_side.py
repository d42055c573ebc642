"""Cells of a study that run side by side: a failure of one costs no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from side_by_side import finished

FOREVER = float("inf")


def collected(tasks: Sequence[Callable[[], Any]], jobs: int) -> tuple[list[Any], BaseException | None]:
    """What tasks returned, and what was raised after them."""
    results: list[Any] = []
    try:
        for result in finished(tasks, jobs, FOREVER):
            results.append(result)
    except Exception as exc:
        return results, exc
    return results, None


def test_what_succeeds_is_kept_before_a_failure_is_raised() -> None:
    results, failure = collected([partial(int, text) for text in ("x", "1", "2", "3")], 2)
    assert sorted(results) == [1, 2, 3]
    assert isinstance(failure, ValueError) and "'x'" in str(failure)


def test_several_failures_come_as_a_group() -> None:
    results, failure = collected([partial(int, text) for text in ("x", "1", "y")], 1)
    assert results == [1]
    assert isinstance(failure, ExceptionGroup)
    assert sorted(map(str, failure.exceptions)) == [
        f"invalid literal for int() with base 10: {text!r}" for text in "xy"
    ]


def test_a_process_that_dies_starts_no_further_task() -> None:
    results, failure = collected([partial(int, "1"), partial(os._exit, 1), partial(int, "2")], 1)
    assert results == [1] and isinstance(failure, BrokenExecutor)


def test_nothing_starts_after_its_time() -> None:
    assert list(finished([partial(int, "1")], 1, until=0.0)) == []
