"""Run a campaign, or repeat one of its rounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import command_line, make_progress, resumable, say
from star_al.cli.options import DEFAULT_CONFIG, Config, RoundIndex, load
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.app.waiting import WebhookOptions
    from star_al.config.spec import CampaignFile
    from star_al.loop import Outcome

WAITING = 6
"""Exit code of a run that ends because it waits for labels, or because somebody has paused the campaign."""

MaxRounds = Annotated[
    int | None,
    typer.Option(min=1, help="Rounds to run in this call, round 0 included.", show_default=False),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help=f"Do not wait for labels: exit with code {WAITING}.")]
Webhook = Annotated[
    bool,
    typer.Option("--webhook", help="Let Label Studio report each answer, so that the run reacts at once."),
]
WebhookBind = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address to listen on for webhooks; by default a free port on 127.0.0.1.",
        show_default=False,
    ),
]
WebhookUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="URL at which Label Studio reaches this machine, if it runs elsewhere.",
        show_default=False,
    ),
]


def run(
    config: Config = DEFAULT_CONFIG,
    max_rounds: MaxRounds = None,
    no_wait: NoWait = False,
    webhook: Webhook = False,
    webhook_bind: WebhookBind = None,
    webhook_url: WebhookUrl = None,
) -> None:
    """Start a campaign, or continue it, until a stopping rule ends it.

    You can stop it at any time (Ctrl-C, even a crash) and start it again:
    nothing is lost or done twice.
    """
    if not webhook and (webhook_bind or webhook_url):
        raise typer.BadParameter("--webhook-bind and --webhook-url need --webhook")
    with resumable("star-al", "run", config):
        from star_al.app import running

        file = load(config)
        outcome = running.run(
            file,
            make_progress(),
            max_rounds=max_rounds,
            no_wait=no_wait,
            webhook=_webhook_options(webhook_bind, webhook_url) if webhook else None,
        )
    for line in _ending(outcome, file, config):
        say(line)
    if outcome.kind in ("held", "waiting"):
        raise typer.Exit(WAITING)


def _webhook_options(bind: str | None, url: str | None) -> WebhookOptions:
    from star_al.app.waiting import WebhookOptions

    return WebhookOptions(bind or "127.0.0.1:0", url)


def _ending(outcome: Outcome, file: CampaignFile, config: Path) -> list[str]:
    """How the run ended, and the command that comes next."""
    again, reason = command_line("star-al", "run", config), outcome.reason
    words = {
        "stopped": [
            f"Stopped after round {outcome.round_index}: {reason}.",
            f"See its rounds with: {command_line('star-al', 'history', config)}",
        ],
        "held": [f"Paused {reason}. Go on with: {command_line('star-al', 'resume', config)}"],
        "paused": [f"Paused after round {outcome.round_index}: {reason}. Continue with: {again}"],
        "waiting": [f"Waiting for labels: {reason}. {_when_answered(file)}, continue with: {again}"],
    }
    return words[outcome.kind]


def _when_answered(file: CampaignFile) -> str:
    """Say who gives the missing labels, and where."""
    if file.spec.annotator.kind != "api":
        return "When people have given them"
    return f"When they have been given in Python (star_al.Campaign.open({str(file.path)!r}), ask and tell)"


def replay(config: Config = DEFAULT_CONFIG, *, round_index: RoundIndex) -> None:
    """Repeat a stored round and compare its batch; exit code 0 if it is the same, else 1. Writes nothing."""
    from star_al.app import running

    result = running.replay(load(config), round_index, make_progress())
    trained = {True: " and trained the same ", False: " and trained a different ", None: ""}
    adapters = trained[result.same_adapter] + ("" if result.same_adapter is None else result.artefact)
    stored = count(len(result.stored), "text")
    if result.same_batch:
        say(f"Replaying round {round_index} chose the same {stored} in the same order{adapters}.")
        return
    common = len(set(result.stored) & set(result.replayed))
    chosen = f"{common:,} of its {stored}"
    if common == len(result.stored) == len(result.replayed):
        chosen = f"the same {stored} in a different order"
    say(
        f"Replaying round {round_index} chose {chosen}{adapters}. "
        "The cause may be another machine, dtype or library version."
    )
    raise typer.Exit(1)
