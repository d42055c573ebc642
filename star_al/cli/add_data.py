"""Add rows to a running campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.console import make_progress, say
from star_al.cli.options import DEFAULT_CONFIG, load
from star_al.common.wording import count


def add_data(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] FILE",
            help=f"Campaign file, by default {DEFAULT_CONFIG}; and a file of rows with the campaign's columns.",
            show_default=False,
        ),
    ],
) -> None:
    """Add the rows of a file to a campaign's pool, from its next round on."""
    from star_al.app import starting

    if len(words) > 2:
        raise typer.BadParameter(f"expected a campaign file and one file of rows, found {len(words)} names")
    *config, file = words
    n = starting.add_data(load(Path(*config) if config else DEFAULT_CONFIG), file, make_progress())
    say(f"Added {count(n, 'new text')} to the pool.")
