"""A local Label Studio for this user: up, watched, and down again."""

from __future__ import annotations

import time

from star_al import local_server
from star_al.local_server import LocalServer
from star_al.ports import Progress

LOOK_EVERY = 1.0
"""Seconds between two looks at a server that is waited for."""


def up(
    progress: Progress, *, port: int | None = None, version: str | None = None, here: bool = False
) -> LocalServer:
    """Install and start what is not there yet; ``here``: it ends with this process.

    Raises:
        AnnotatorError: it cannot be installed or started.
    """
    owner = local_server.identity() if here else None
    return local_server.start(local_server.default_place(), progress, port=port, version=version, owner=owner)


def down(progress: Progress) -> bool:
    """End the server; whether there was one."""
    return local_server.stop(local_server.default_place(), progress)


def stay(progress: Progress) -> None:
    """Return when the server has ended; end it when interrupted."""
    try:
        while local_server.running() is not None:
            time.sleep(LOOK_EVERY)
    except BaseException:
        down(progress)
        raise
