"""Check that everything a campaign needs is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.completion import campaign_files
from star_al.cli.console import make_progress
from star_al.cli.everywhere import everywhere
from star_al.cli.options import DEFAULT_CONFIG
from star_al.display.text import clean, redacted


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
