"""Getting started: write a campaign file, check that everything it needs is there."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.completion import campaign_files
from star_al.cli.console import command_line, complain, make_progress, say
from star_al.cli.everywhere import everywhere
from star_al.cli.init_terminal import given_labels, terminal
from star_al.cli.options import DEFAULT_CONFIG
from star_al.common.wording import count
from star_al.config.defaults import DEFAULT_MODEL
from star_al.display.text import clean, redacted
from star_al.errors import ConfigError


class Annotators(StrEnum):
    """Who answers."""

    ORACLE = "oracle"
    LABEL_STUDIO = "label_studio"
    API = "api"


class Learners(StrEnum):
    """What is trained on the labels."""

    LORA = "lora"
    HEAD = "head"


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .jsonl, .json, .csv, .tsv, .xlsx or .parquet file, a folder saved by `datasets`, or the name of "
            "a data set on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="All labels, comma-separated (one that holds a comma in quotation marks), or a file with one a "
            "line, as @FILE.",
            show_default=False,
        ),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column with labels, in all rows or some.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Kind of task: classification, multiple_choice, multi_label, rating, preference or text; by default "
            "what the data show, else classification.",
            show_default=False,
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the texts, or several that make up the text, comma-separated; by default it is guessed.",
            show_default=False,
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column with your own ids.", show_default=False)
    ] = None,
    options_column: Annotated[
        str | None,
        typer.Option(
            help="Multiple choice: a column of lists, or several columns, comma-separated. Preference: the columns of "
            "the two completions.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A causal language model: its name on the Hugging Face hub, or a folder; by default "
            f"{DEFAULT_MODEL}, and none with --learner head.",
            show_default=False,
        ),
    ] = None,
    learner: Annotated[
        Learners | None,
        typer.Option(
            help="What is trained: lora, a language model, every round; or head, a light model that is trained in a "
            "second. By default LoRA every round if a round takes less than a minute here; else a head chooses the "
            "texts, and LoRA is trained a few times.",
            show_default=False,
        ),
    ] = None,
    annotator: Annotated[
        Annotators | None,
        typer.Option(
            help="Who answers; by default oracle (simulated) if a column has every answer, else people.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the campaign; by default that of the data file.", show_default=False),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="Character between the cells of a table, or `tab`; by default it is found.",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Encoding of a text file, such as cp1252; by default it is found.", show_default=False
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether a table's first row names the columns. Without, they are called column_1 and so on; "
            "options may give their number.",
            show_default=False,
        ),
    ] = None,
    quotes: Annotated[
        bool | None,
        typer.Option(
            "--quotes/--no-quotes",
            help="Whether a cell of a table in quotation marks may hold delimiters and line breaks; by default it "
            "is found.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write.")] = Path("campaign.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a short campaign file for your data, after reading all of it once.

    Options you leave out are guessed, or asked at a terminal. The JSON schema
    is written next to the file, so that editors can check it.
    """
    from star_al.app.init import propose_campaign
    from star_al.app.init_findings import answers_of, columns_in_words, findings
    from star_al.app.init_names import unclear_here
    from star_al.app.init_request import CampaignRequest
    from star_al.app.round_time import estimate_in
    from star_al.app.starter_file import SCHEMA_FILE, write_starter_file
    from star_al.data import check_out, writable_target

    check_out(out, {"the data": Path(data).expanduser()})
    target = writable_target(out)
    if target.exists() and not force:
        raise ConfigError(f"{out} already exists. Use --force to overwrite it, or another --out.")
    request = CampaignRequest(
        data=data,
        model=model,
        learner=learner,
        name=name,
        kind=kind,
        labels=None if labels is None else given_labels(labels),
        label_column=label_column,
        text_column=text_column,
        id_column=id_column,
        options=_names(options_column),
        annotator=annotator,
        delimiter=delimiter,
        encoding=encoding,
        header=header,
        quotes=quotes,
    )
    decisions: list[str] = []
    here = target.parent
    spec = propose_campaign(
        request, here, complain, terminal(), estimate_in(here), decisions.append, unclear_here
    )
    written = write_starter_file(out, spec)
    skipped = (
        f"skipped {count(written.duplicates, 'duplicate')} and {count(written.empty, 'row')} without text"
    )
    say(f"Wrote {out}: campaign {spec.name!r}, {count(written.texts, 'text')} ({skipped}).")
    say(f"Wrote {SCHEMA_FILE} next to it, the JSON schema with which editors check the file.")
    for note in written.notes:
        complain(note)
    for finding in (*findings(written), *decisions):
        say(finding)
    if annotator is Annotators.API:
        say(f"Ask and answer in Python: star_al.Campaign.open({str(out)!r}).ask()")
        say(f"Check it first with: {command_line('star-al', 'doctor', out)}")
    else:
        _say_next(out, columns_in_words(answers_of(spec)) if spec.gold_column else None)


def _say_next(out: Path, gold: str | None) -> None:
    """The next commands; people need a place to label in first, unless ``gold`` says where answers come from."""
    commands = [command_line("star-al", word, out) for word in ("doctor", "run")]
    if gold is None:
        say("People label in Label Studio: on this machine, or on the server that annotator.url names.")
        commands.insert(0, "star-al up")
    else:
        say(
            f"This is a rehearsal: answers come from {gold}. "
            "To have people label, use --annotator label_studio."
        )
    say(f"Read the file, change what you like, then: {commands[0]}")
    for command in commands[1:]:
        say(f"                                      and: {command}")


def _names(listed: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help=f"Also check what this campaign needs; by default {DEFAULT_CONFIG}, if there is one.",
            show_default=False,
            autocompletion=campaign_files,
        ),
    ] = None,
) -> None:
    """Check the installation, the device, and whether model, data, database and folders can be used."""
    from star_al.app.doctor import examine

    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    first_failure = 0
    for finding in examine(config, everywhere().settings, make_progress().say):
        mark = typer.style("✓", fg="green") if finding.ok else typer.style("✗", fg="red")
        detail = redacted(clean(finding.detail)).replace("\n", "\n" + " " * 15)
        typer.echo(f"{mark} {finding.name:<12} {detail}")
        first_failure = first_failure or finding.exit_code
    raise typer.Exit(first_failure)
