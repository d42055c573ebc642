"""Whole campaigns: list them, clone, archive, pause, close a round, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.completion import campaign_files
from star_al.cli.console import command_line, make_progress, print_json, print_table, say
from star_al.cli.options import DEFAULT_CONFIG, Config, ShortFormat, ShortShape, load
from star_al.common.wording import count
from star_al.errors import ConfigError

if TYPE_CHECKING:
    from star_al.types import CampaignSummary


def list_(
    place: Annotated[
        str,
        typer.Argument(
            metavar="[CONFIG_OR_URL]",
            help="A campaign file in whose database to look, or sqlite:///FILE or postgresql://…",
            autocompletion=campaign_files,
        ),
    ] = str(DEFAULT_CONFIG),
    archived: Annotated[bool, typer.Option("--archived", help="Show archived campaigns, too.")] = False,
    shape: ShortFormat = ShortShape.TABLE,
) -> None:
    """List the campaigns of a database: state, rounds, labels, accuracy, last activity."""
    from star_al.app.marking import list_campaigns
    from star_al.cli import tables
    from star_al.cli.database import url_of

    found = list_campaigns(url_of(place))
    shown = [one for one in found if archived or one.marks.archived_at is None]
    if shape is ShortShape.JSON:
        print_json([_summary_json(one) for one in shown])
        return
    if shown:
        print_table(tables.campaigns_table(shown))
    elif not found:
        say("No campaign has been started in this database.")
    if len(shown) < len(found):
        say(f"{count(len(found) - len(shown), 'archived campaign')} not shown; add --archived.")


def _summary_json(one: CampaignSummary) -> dict[str, object]:
    from star_al.cli import tables

    return {
        "campaign": one.name,
        "state": tables.campaign_state(one),
        "rounds": one.rounds,
        "labels": one.labels,
        "accuracy": one.accuracy,
        "last_activity": one.active_at,
        "archived": one.marks.archived_at is not None,
        "paused": one.marks.paused_at is not None,
    }


def clone(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] NAME",
            help=f"Campaign file, by default {DEFAULT_CONFIG}; and the name of the new campaign.",
            show_default=False,
        ),
    ],
    with_labels: Annotated[
        bool,
        typer.Option("--with-labels", help="Take over all labels; the first round trains on them."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", dir_okay=False, help="File to write; by default NAME.yaml.", show_default=False
        ),
    ] = None,
) -> None:
    """Begin another campaign on the same data with the same settings, which you may then change.

    Without labels everything may be changed before the first answer. With labels
    the data, the held-out texts and the seed stay those of the original.
    """
    from star_al.app import cloning

    if len(words) > 2:
        raise typer.BadParameter(f"expected a campaign file and a name, found {len(words)} words")
    *config, name = words
    path = Path(*config) if config else DEFAULT_CONFIG
    done = cloning.clone(load(path), name, out or path.parent / f"{name}.yaml", with_labels=with_labels)
    labels = f" with {count(done.labels, 'label')}" if with_labels else ""
    say(f"Wrote {done.path}: campaign {name!r}{labels}.")
    say(f"Change what you like, then: {command_line('star-al', 'run', done.path)}")


def rename_label(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] OLD NEW",
            help=f"Campaign file, by default {DEFAULT_CONFIG}; a label, and its new name.",
            show_default=False,
        ),
    ],
) -> None:
    """Rename a label, or merge it into another one; all answers are kept.

    Writes task.labels and task.renamed into the campaign file. The next
    `star-al run` takes it over: answers stay as they were given and count under
    the new name, and texts whose answers now agree get their label.
    """
    from star_al.app import renaming

    if len(words) not in (2, 3):
        raise typer.BadParameter(f"expected a label and its new name, found {count(len(words), 'word')}")
    *config, old, new = words
    path = Path(*config) if config else DEFAULT_CONFIG
    merged = renaming.rename_label(load(path), old, new)
    done = f"Merged label {old!r} into {new!r}" if merged else f"Renamed label {old!r} to {new!r}"
    say(f"{done} in {path}. All answers are kept.")
    say(
        "It changes the prompt: the base model's predictions are computed again, and a round that has not asked"
    )
    say(
        f"its texts yet is trained again. Earlier rounds stay as they are. Next: {command_line('star-al', 'run', path)}"
    )


def archive(
    config: Config = DEFAULT_CONFIG,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back from the archive.")] = False,
) -> None:
    """Put a campaign away: it is not listed and does not run. Nothing is deleted."""
    from star_al.app import marking

    asked = marking.archive(load(config), not undo)
    if undo:
        say(f"Took campaign {asked.campaign!r} back. Continue with: {command_line('star-al', 'run', config)}")
    else:
        back = command_line("star-al", "archive", config, "--undo")
        say(f"Archived campaign {asked.campaign!r}. Take it back with: {back}")


def pause(config: Config = DEFAULT_CONFIG) -> None:
    """Pause a campaign: a running `star-al run` ends before its next step, and no new one starts.

    Texts that people have been asked for stay open; answers are kept and taken
    in when the campaign goes on.
    """
    from star_al.app import marking

    asked = marking.pause(load(config), True)
    say(f"Paused campaign {asked.campaign!r}. Go on with: {command_line('star-al', 'resume', config)}")
    if asked.runs:
        say(f"The run in progress ({asked.runs}) ends before its next step.")


def resume(config: Config = DEFAULT_CONFIG) -> None:
    """Let a paused campaign go on."""
    from star_al.app import marking

    asked = marking.pause(load(config), False)
    say(f"Campaign {asked.campaign!r} may go on: {command_line('star-al', 'run', config)}")


def close_round(config: Config = DEFAULT_CONFIG) -> None:
    """Go on with the labels there are: the open texts of the round are withdrawn from people.

    They go back to the pool. A text that somebody has answered, but not enough
    people yet, stays open; its label counts in a later round.
    """
    from star_al.app import marking

    done = marking.close_round(load(config))
    labels = f"{count(done.labelled, 'text')} done"
    if done.round_index is None:
        say(
            f"The audit and calibration sets are closed with {labels}; {done.open_:,} are not asked any more."
        )
        say("Accuracy and temperature are measured on what is labelled, so they are less precise.")
    else:
        say(
            f"Round {done.round_index} is closed with {labels}; {count(done.open_, 'open text')} go back to the pool."
        )
    if done.runs:
        say(f"The run in progress ({done.runs}) goes on within a minute.")
    else:
        say(f"Continue with: {command_line('star-al', 'run', config)}")


def delete(
    config: Config = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_project: Annotated[
        bool, typer.Option("--keep-project", help="Leave the Label Studio project as it is.")
    ] = False,
) -> None:
    """Delete a campaign: its rounds and labels, its adapters, and its Label Studio project.

    The campaign file and your data stay. So does what other campaigns use.
    """
    import sys

    from star_al.app import deleting

    file = load(config)
    going = deleting.what_would_go(file, keep_project=keep_project)
    say(f"This deletes campaign {going.campaign!r} for good:")
    for part in going.parts:
        say(f"  {part}")
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("nothing was deleted, as there is no terminal to ask on. Add --yes.")
        typer.confirm("Delete it?", abort=True)
    deleting.delete(file, make_progress(), keep_project=keep_project)
    say(f"Deleted campaign {going.campaign!r}. {config} and the data are still there.")
