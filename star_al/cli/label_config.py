"""`star-al label-config`: show the label config of a campaign, or restore it after somebody has edited it."""

from __future__ import annotations

from typing import Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import DEFAULT_CONFIG, Config, load


def label_config(
    config: Config = DEFAULT_CONFIG,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Put it into the campaign's project, replacing the one that is there."),
    ] = False,
) -> None:
    """Print the label config (XML) that star_al writes into the campaign's Label Studio project."""
    from star_al.app import label_config as use_cases

    file = load(config)
    if apply:
        say(f"Restored star_al's label config in {use_cases.apply_label_config(file)}")
    else:
        say(use_cases.label_config(file))
