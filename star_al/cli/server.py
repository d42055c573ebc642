"""Start and stop a local Label Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import make_progress, say

if TYPE_CHECKING:
    from star_al.local_server import LocalServer

Stop = Annotated[bool, typer.Option("--stop", help="Stop the server; its data is kept.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        help="Port to listen on; by default the port used last, or 8080 the first time.",
        show_default=False,
    ),
]
Version = Annotated[
    str | None,
    typer.Option(
        help="Version to install; by default the version used last, or the tested one the first time.",
        show_default=False,
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 lets colleagues on other computers in.",
    ),
]
Webhooks = Annotated[
    bool,
    typer.Option("--webhooks", help="Let the server call this machine, for `star-al run --webhook`."),
]
Foreground = Annotated[
    bool, typer.Option("--foreground", help="Keep running until Ctrl-C, which stops the server.")
]


def up(
    stop: Stop = False,
    port: Port = None,
    version: Version = None,
    host: Host = "127.0.0.1",
    webhooks: Webhooks = False,
    foreground: Foreground = False,
) -> None:
    """Install and start a local Label Studio for people to label in; if it is running, show the login.

    Only this machine can reach it, unless --host names another address. It
    sends no telemetry, is restarted when it crashes, and runs until
    `star-al up --stop` or a reboot.
    """
    from star_al.app import serving

    progress = make_progress()
    if stop:
        stopped = serving.down(progress)
        say("Label Studio has stopped; its data is kept." if stopped else "No local Label Studio is running.")
        return
    _say_login(
        serving.up(progress, port=port, version=version, host=host, webhooks=webhooks, here=foreground)
    )
    if foreground:
        say("Press Ctrl-C to stop it.")
        serving.stay(progress)
    else:
        say("It keeps running in the background. Stop it with: star-al up --stop")


def _say_login(server: LocalServer) -> None:
    from star_al.app.serving import invitation

    say(f"Label Studio is running at {server.url}")
    say(f"  user      {server.user}")
    say(f"  password  {server.password}")
    if (link := invitation(server)) is not None:
        say(f"Colleagues join at {link}")
        say("The connection is not encrypted: use it only in a network that you trust.")
