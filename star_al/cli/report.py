"""Write the report of a campaign or study as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import DEFAULT_CONFIG, Config, load


def report(
    config: Config = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="File to write.")] = Path("report.html"),
    study: Annotated[
        str | None,
        typer.Option(help="Report on this study of `star-al simulate` instead.", show_default=False),
    ] = None,
) -> None:
    """Write one self-contained HTML page: results, what is uncertain about them, what was asked and why."""
    from star_al.app.reporting import write_report

    write_report(load(config), out, study)
    say(str(out))
