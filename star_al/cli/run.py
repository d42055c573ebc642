"""Run a campaign, and run one of its rounds again."""

from __future__ import annotations

from typing import Annotated

import typer

from star_al.cli.console import command_line, resumable, say
from star_al.cli.options import Config, RoundIndex, load

WAITING = 6
"""Exit code of a run that ends because labels are missing."""


def run(
    config: Config,
    max_rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds in this call, round 0 included.", show_default=False)
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help=f"End with exit code {WAITING} when labels are missing.")
    ] = False,
    webhook: Annotated[
        bool, typer.Option("--webhook", help="Let Label Studio tell of each answer, and react at once.")
    ] = False,
    webhook_bind: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where to listen for it; by default 127.0.0.1:0, any free port.",
            show_default=False,
        ),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="How Label Studio reaches that, if it runs elsewhere.", show_default=False
        ),
    ] = None,
) -> None:
    """Start a campaign, or go on where it stands, until a stopping rule ends it.

    It may be stopped at any moment (Ctrl-C, a crash) and started again: nothing is lost or done twice.
    """
    if not webhook and (webhook_bind or webhook_url):
        raise typer.BadParameter("--webhook-bind and --webhook-url need --webhook")
    with resumable("star-al", "run", config):
        from star_al.app import running
        from star_al.app.waiting import WebhookOptions
        from star_al.display.progress import make_progress

        outcome = running.run(
            load(config),
            make_progress(),
            max_rounds=max_rounds,
            no_wait=no_wait,
            webhook=WebhookOptions(webhook_bind or "127.0.0.1:0", webhook_url) if webhook else None,
        )
    again = command_line("star-al", "run", config)
    if outcome.kind == "stopped":
        say(f"Finished at round {outcome.round_index}: {outcome.reason}.")
        say(f"Look at it with: {command_line('star-al', 'history', config)}")
    elif outcome.kind == "paused":
        say(f"Paused at round {outcome.round_index}, {outcome.reason}. Go on with: {again}")
    else:
        say(f"Waiting for labels: {outcome.reason}. When they are given, go on with: {again}")
        raise typer.Exit(WAITING)


def replay(config: Config, round_index: RoundIndex) -> None:
    """Run a stored round again and compare what it asks; exit code 0 same, 1 different. Writes nothing."""
    from star_al.app import running
    from star_al.display.progress import make_progress

    result = running.replay(load(config), round_index, make_progress())
    trained = {True: ", and trains the same adapter", False: ", but trains another adapter", None: ""}
    adapters = trained[result.same_adapter]
    if result.same_batch:
        say(f"Round {round_index} asks the same {len(result.stored)} items in the same order{adapters}.")
        return
    common = len(set(result.stored) & set(result.replayed))
    order = " in another order" if common == len(result.stored) == len(result.replayed) else ""
    again = f"{common} of the {len(result.stored)} items are asked again{order}{adapters}"
    say(f"Round {round_index} differs: {again}. Another machine, dtype or library version may be why.")
    raise typer.Exit(1)
