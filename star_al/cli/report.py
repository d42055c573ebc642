"""Write what a campaign has reached as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import Config, load


def report(
    config: Config,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="The page to write.")] = Path(
        "report.html"
    ),
    study: Annotated[
        str | None,
        typer.Option(
            help="The page of this study, which `star-al simulate` ran, instead.", show_default=False
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page: what was reached, what is not known, what was asked and why."""
    from star_al.app.reporting import write_report

    write_report(load(config), out, study)
    say(str(out))
