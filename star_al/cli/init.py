"""Write a campaign file for a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from star_al.cli import init_options as options
from star_al.cli.console import command_line, complain, say
from star_al.cli.init_terminal import given_labels, terminal
from star_al.cli.options import names_in
from star_al.common.wording import count
from star_al.errors import ConfigError

if TYPE_CHECKING:
    from star_al.app.init.request import CampaignRequest
    from star_al.app.init.starter_file import Written
    from star_al.config.spec import CampaignSpec


def init(
    data: options.Data,
    labels: options.Labels = None,
    label_column: options.LabelColumn = None,
    kind: options.Kind = None,
    text_column: options.TextColumn = None,
    id_column: options.IdColumn = None,
    options_column: options.OptionsColumn = None,
    model: options.Model = None,
    learner: options.Learner = None,
    annotator: options.Annotator = None,
    name: options.Name = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    quotes: options.Quotes = None,
    out: options.Out = Path("campaign.yaml"),
    force: options.Force = False,
) -> None:
    """Write a short campaign file for your data, after reading all of it once.

    Options you leave out are guessed, or asked at a terminal. The JSON schema
    is written next to the file, so that editors can check it.
    """
    from star_al.app.init.request import CampaignRequest

    _refuse_to_overwrite(out, data, force)
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
        options=names_in(options_column),
        annotator=annotator,
        delimiter=delimiter,
        encoding=encoding,
        header=header,
        quotes=quotes,
    )
    written = _propose_and_write(request, out)
    NEXT[written.file.spec.annotator.kind](out, written.file.spec)


def _refuse_to_overwrite(out: Path, data: str, force: bool) -> None:
    from star_al.data import check_out, writable_target

    check_out(out, {"the data": Path(data).expanduser()})
    if writable_target(out).exists() and not force:
        raise ConfigError(f"{out} already exists. Use --force to overwrite it, or another --out.")


def _propose_and_write(request: CampaignRequest, out: Path) -> Written:
    """Write what is proposed, and say what the data hold and what was decided."""
    from star_al.app.init.findings import findings
    from star_al.app.init.names import unclear_here
    from star_al.app.init.proposal import propose_campaign
    from star_al.app.init.starter_file import write_starter_file
    from star_al.app.round_time import estimate_in
    from star_al.data import writable_target

    decisions: list[str] = []
    folder = writable_target(out).parent
    spec = propose_campaign(
        request, folder, complain, terminal(), estimate_in(folder), decisions.append, unclear_here
    )
    written = write_starter_file(out, spec)
    _say_what_was_written(written, out)
    for finding in (*findings(written), *decisions):
        say(finding)
    return written


def _say_what_was_written(written: Written, out: Path) -> None:
    from star_al.app.init.starter_file import SCHEMA_FILE

    skipped = (
        f"skipped {count(written.duplicates, 'duplicate')} and {count(written.empty, 'row')} without text"
    )
    name = written.file.spec.name
    say(f"Wrote {out}: campaign {name!r}, {count(written.texts, 'text')} ({skipped}).")
    say(f"Wrote {SCHEMA_FILE} next to it, the JSON schema with which editors check the file.")
    for note in written.notes:
        complain(note)


def _next_in_python(out: Path, spec: CampaignSpec) -> None:
    say(f"Ask and answer in Python: star_al.Campaign.open({str(out)!r}).ask()")
    say(f"Check it first with: {command_line('star-al', 'doctor', out)}")


def _next_for_people(out: Path, spec: CampaignSpec) -> None:
    say("People label in Label Studio: on this machine, or on the server that annotator.url names.")
    _say_commands("star-al up", *_doctor_and_run(out))


def _next_in_rehearsal(out: Path, spec: CampaignSpec) -> None:
    from star_al.app.init.findings import answers_of, columns_in_words

    say(
        f"This is a rehearsal: answers come from {columns_in_words(answers_of(spec))}. "
        "To have people label, use --annotator label_studio."
    )
    _say_commands(*_doctor_and_run(out))


NEXT = {"api": _next_in_python, "label_studio": _next_for_people, "oracle": _next_in_rehearsal}
"""Says what the user does next, by kind of annotator."""


def _doctor_and_run(out: Path) -> list[str]:
    return [command_line("star-al", word, out) for word in ("doctor", "run")]


def _say_commands(first: str, *others: str) -> None:
    say(f"Read the file, change what you like, then: {first}")
    for command in others:
        say(f"                                      and: {command}")
