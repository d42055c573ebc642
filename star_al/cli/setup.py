"""Begin: write a campaign file, look whether all that it needs is there, and a demo of the whole."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import command_line, complain, resumable, say
from star_al.cli.options import load
from star_al.display.text import clean, redacted
from star_al.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile


class Annotators(StrEnum):
    """Who may answer."""

    ORACLE = "oracle"
    LABEL_STUDIO = "label_studio"


DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .jsonl, .csv or .parquet file, a saved datasets folder or a datasets name.",
            show_default=False,
        ),
    ],
    labels: Annotated[str | None, typer.Option(help="All labels, as a,b,c.", show_default=False)] = None,
    label_column: Annotated[
        str | None, typer.Option(help="The column of labels; they are found in it.", show_default=False)
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="The column of texts; guessed when not given.", show_default=False)
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Your own id column.", show_default=False)] = None,
    options_column: Annotated[
        str | None,
        typer.Option(help="Multiple choice: a column of lists, or columns as a,b,c.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A causal language model: a hub name or a folder.")
    ] = DEFAULT_MODEL,
    annotator: Annotated[
        Annotators | None,
        typer.Option(
            help="Who answers; oracle where a column has every answer, else label_studio.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The campaign's name; from the data file when not given.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file to write.")] = Path("campaign.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a campaign file from a data file and its labels, and check it."""
    from star_al.app.init import Wish, propose_campaign
    from star_al.data import check_out, writable_target

    check_out(out, {"the data": Path(data).expanduser()})
    target = writable_target(out)
    if target.exists() and not force:
        raise ConfigError(f"{out}: is there already. Give --force to write over it, or another --out.")
    wish = Wish(
        data=data,
        model=model,
        name=name,
        labels=None if labels is None else _names(labels),
        label_column=label_column,
        text_column=text_column,
        id_column=id_column,
        options=_names(options_column),
        annotator=annotator,
    )
    file, findings = _write_checked(out, target, propose_campaign(wish, target.parent, complain))
    say(f"Wrote {out}: campaign {file.spec.name!r}, {findings}.")
    say(f"Labels: {', '.join(file.spec.task.label_names) or 'the options of each item'}.")
    _say_next(out, file.spec.gold_column)


def _say_next(out: Path, gold: str | None) -> None:
    """The next commands; people need a place to label in first."""
    commands = [command_line("star-al", word, out) for word in ("doctor", "run")]
    if gold is None:
        say("People label in Label Studio: on this machine, or on the server of annotator.url.")
        commands.insert(0, "star-al up")
    else:
        say(f"It is a rehearsal: column {gold!r} answers. For people: init with --annotator label_studio.")
    say(f"Read it, change what you like, then: {commands[0]}")
    for command in commands[1:]:
        say(f"                                and: {command}")


def _names(listed: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


def _write_checked(out: Path, target: Path, text: str) -> tuple[CampaignFile, str]:
    """Write aside, load, read all data once, and only then give the file its name."""
    from star_al.app.predicting import own_files
    from star_al.data import check_out

    aside = target.with_name(f".star_al.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        file = load(aside)
        check_out(target, own_files(file))
        file = file.model_copy(update={"path": target})
        findings = _read_once(file)
        aside.replace(target)
    except OSError as exc:
        raise StoreError(f"{out}: cannot be written ({exc.strerror or exc}). Give another --out.") from exc
    finally:
        with suppress(OSError):
            aside.unlink()
    return file, findings


def _read_once(file: CampaignFile) -> str:
    from star_al.data import ImportCounts, data_source, read_items
    from star_al.task import ClosedTask

    counts, ids = ImportCounts(), set()
    for each in read_items(data_source(file), ClosedTask(file.spec.task), counts):
        ids.add(each.item.item_id)
    duplicates = counts.rows - counts.empty - len(ids)
    return f"{len(ids):,} texts ({duplicates:,} duplicates and {counts.empty:,} empty left out)"


def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="Also check what this campaign needs.", show_default=False),
    ] = None,
) -> None:
    """Check what is installed, the device, and whether model, data, database and folders can be used."""
    from star_al.app.doctor import examine

    first_failure = 0
    for finding in examine(config):
        mark = typer.style("✓", fg="green") if finding.ok else typer.style("✗", fg="red")
        detail = redacted(clean(finding.detail)).replace("\n", "\n" + " " * 15)
        typer.echo(f"{mark} {finding.name:<12} {detail}")
        first_failure = first_failure or finding.exit_code
    raise typer.Exit(first_failure)


def demo(
    folder: Annotated[Path, typer.Option(file_okay=False, help="Where everything goes.")] = Path(
        "star-al-demo"
    ),
) -> None:
    """A whole campaign on BBC news with a small model and a simulated annotator, in a few minutes."""
    start = time.monotonic()
    with resumable("star-al", "demo", "--folder", folder):
        from star_al.app import running
        from star_al.app.demo import prepare_demo
        from star_al.display.progress import make_progress

        progress = make_progress()
        file = load(prepare_demo(folder, progress.say))
        running.run(file, progress)
        _show_demo(file, folder)
    say(f"The demo took {time.monotonic() - start:.0f} seconds and {_peak_gigabytes():.1f} GB at its peak.")
    say("")
    say("Your own data: a .jsonl, .csv or .parquet file with a text column and a label column, say data.csv.")
    say("  star-al init data.csv --label-column label   writes campaign.yaml, to be read and changed")
    say("  star-al run campaign.yaml                    runs it; Ctrl-C and the same command go on")


def _show_demo(file: CampaignFile, folder: Path) -> None:
    from star_al.app import compose
    from star_al.app.reporting import write_report
    from star_al.cli.inspect import draw, print_history

    with compose.reading(file) as (store, campaign):
        print_history(store, campaign)
        draw(store, campaign, folder)
    write_report(file, folder / "report.html")
    say(str(folder / "report.html"))


def _peak_gigabytes() -> float:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)  # bytes on macOS, kilobytes elsewhere
