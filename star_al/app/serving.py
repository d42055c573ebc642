"""Start and stop this user's local Label Studio."""

from __future__ import annotations

import time

from star_al import local_server
from star_al.common.process_identity import ProcessIdentity
from star_al.local_server import LocalServer
from star_al.ports import Progress

CHECK_EVERY = 1.0
"""Seconds between two checks whether the server still runs."""


def up(
    progress: Progress,
    *,
    port: int | None = None,
    version: str | None = None,
    host: str = local_server.THIS_MACHINE,
    webhooks: bool = False,
    here: bool = False,
) -> LocalServer:
    """Install and start the server if it is not running yet.

    Args:
        progress: Where to say what happens.
        port: The port to listen on; None for that of the last start.
        version: The version of Label Studio; None for that of the last start.
        host: The address to listen on.
        webhooks: True to let it call programs of this machine.
        here: True to end the server with this process.

    Raises:
        AnnotatorError: It cannot be installed or started.
    """
    owner = ProcessIdentity.of() if here else None
    return local_server.start(
        local_server.default_place(),
        progress,
        port=port,
        version=version,
        host=host,
        webhooks=webhooks,
        owner=owner,
    )


def invitation(server: LocalServer) -> str | None:
    """The address at which colleagues sign up; None if other machines cannot reach the server."""
    return None if server.host == local_server.THIS_MACHINE else local_server.invitation(server)


def down(progress: Progress) -> bool:
    """Stop the server; return whether one was running."""
    return local_server.stop(local_server.default_place(), progress)


def stay(progress: Progress) -> None:
    """Return when the server has ended; stop it when interrupted."""
    try:
        while local_server.supervised():
            time.sleep(CHECK_EVERY)
    except BaseException:
        down(progress)
        raise
