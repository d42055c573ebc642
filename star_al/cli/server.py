"""Start and stop a local Label Studio."""

from __future__ import annotations

from typing import Annotated

import typer

from star_al.cli.console import say


def up(
    stop: Annotated[bool, typer.Option("--stop", help="End the server; its data stays.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Where to listen; by default as the last time, first 8080.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            help="Of Label Studio; by default as the last time, first the one tested with star_al.",
            show_default=False,
        ),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C, which ends the server.")
    ] = False,
) -> None:
    """Install, start and watch a local Label Studio, for people to label in; again: show its login.

    It listens on 127.0.0.1 only, sends no telemetry, is started again when it crashes, and runs until
    --stop or a reboot.
    """
    from star_al.app import serving
    from star_al.cli.progress import make_progress

    progress = make_progress()
    if stop:
        ended = serving.down(progress)
        say("Label Studio has ended; its data stays." if ended else "No local Label Studio is running.")
        return
    server = serving.up(progress, port=port, version=version, here=foreground)
    say(f"Label Studio runs at {server.url}")
    say(f"  user      {server.user}")
    say(f"  password  {server.password}")
    if foreground:
        say("Ctrl-C ends it.")
        serving.stay(progress)
    else:
        say("It goes on in the background. End it with: star-al up --stop")
