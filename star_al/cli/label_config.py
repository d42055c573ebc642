"""The label config of a campaign: show it, or put it back where somebody has changed it."""

from __future__ import annotations

from typing import Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import Config, load


def label_config(
    config: Config,
    apply: Annotated[
        bool, typer.Option("--apply", help="Set it in the campaign's project, over what is there.")
    ] = False,
) -> None:
    """Print the label config (XML) that star_al writes into the campaign's Label Studio project."""
    from star_al.app import people

    file = load(config)
    if apply:
        say(f"The label config of {people.apply_label_config(file)} is star_al's again.")
    else:
        say(people.label_config(file))
