"""Repeat what works towards a target state until no outcome in it is unknown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from star_al.annotators.label_studio.client import Client, UnclearError, replies_as_expected
from star_al.annotators.label_studio.refusals import NotFoundError
from star_al.errors import AwayError

TRIES, LONGEST_PAUSE = 8, 10.0
"""How often something is tried while its outcome stays unknown, and the longest pause in between (seconds)."""

T = TypeVar("T")


def until_clear(client: Client, forget: Callable[[], None], act: Callable[[], T]) -> T:
    """Call ``act`` until no outcome in it is unknown.

    Args:
        client: The server that it changes.
        forget: Called after an unclear outcome: what is known of the server may be wrong.
        act: What to do; each call starts from what is there.

    Returns:
        What ``act`` returns.

    Raises:
        AwayError: An outcome is still unknown after all tries.
    """
    pause, reason, n_not_found = 0.25, "", 0
    for _ in range(TRIES):
        try:
            with replies_as_expected(client):
                return act()
        except (UnclearError, NotFoundError) as exc:
            n_not_found += isinstance(exc, NotFoundError)
            if n_not_found > 2:  # once may be a project deleted meanwhile, which the next look notices
                raise
            reason = str(exc).removeprefix(f"{client.url}: ")
            forget()
            # Until then the request may still take effect, after our next look at the server.
            final_at = exc.final_at if isinstance(exc, UnclearError) else 0.0
            time.sleep(max(final_at - time.monotonic(), 0.0) + pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    raise AwayError(
        f"{client.url}: gave up after {TRIES} tries; the last problem: {reason}. Nothing is lost. "
        "Run the same command again when the server works."
    )
