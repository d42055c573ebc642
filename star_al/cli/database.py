"""Create, upgrade and check the tables of the database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.completion import campaign_files
from star_al.cli.console import say
from star_al.cli.options import DEFAULT_CONFIG, Config, load

Place = Annotated[
    str,
    typer.Argument(
        metavar="[CONFIG_OR_URL]",
        help="Campaign file, or sqlite:///FILE or postgresql://…",
        autocompletion=campaign_files,
    ),
]


def upgrade(place: Place = str(DEFAULT_CONFIG)) -> None:
    """Create the tables, or upgrade them to this version of star_al; harmless to repeat."""
    from db import migrate

    url = url_of(place)
    version = migrate.upgrade(url)
    say(f"{_shown(url)} is at schema version {version}.")


def check(place: Place = str(DEFAULT_CONFIG)) -> None:
    """Check that the tables are those of this version of star_al; exit code 3 if they are not."""
    from db import migrate
    from db.engine import Database
    from star_al.errors import SchemaError

    url = url_of(place)
    report = migrate.check(url)
    if report.up_to_date:
        say(f"{_shown(url)} is at schema version {report.current}, which this version of star_al needs.")
        return
    if report.current != report.head:
        database = Database(url)
        try:
            migrate.require_head(database)  # its message says what to do about each other version
        finally:
            database.close()
    for difference in report.drift:
        say(f"Difference: {difference}")
    raise SchemaError(
        f"{_shown(url)}: its tables are not those of schema version {report.head}. "
        "Another program has probably changed them. Restore a backup."
    )


def url_of(place: str) -> str:
    """The URL of a database, given itself or by a campaign file."""
    return place if re.match(r"[A-Za-z][\w+.-]*://", place) else load(Path(place)).database_url


def _shown(url: str) -> str:
    from db.engine import location, parse_url

    return location(parse_url(url))


def separate(config: Config = DEFAULT_CONFIG) -> None:
    """In a copied database: let the campaign go on with a Label Studio project of its own."""
    from star_al.app import copies

    name = copies.separate(load(config))
    say(f"Campaign {name!r} is one of its own now. Its next run creates a project for its open questions.")


def claim(config: Config = DEFAULT_CONFIG) -> None:
    """In the original of a copied database: use the Label Studio project from here again."""
    from star_al.app import copies

    name = copies.claim(load(config))
    say(f"The next run of campaign {name!r} uses its project from this database.")
