"""Settings of campaign files: all of them with their meaning, and a schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.console import print_json, say

Out = Annotated[
    Path | None,
    typer.Option("--out", dir_okay=False, help="Write to this file instead of stdout.", show_default=False),
]


def schema(out: Out = None) -> None:
    """Print the JSON schema of campaign files, with which an editor completes and checks them.

    `star-al init` writes it beside the campaign file, whose first line names
    it.
    """
    from star_al.config.schema import campaign_schema, schema_text
    from star_al.data.out_files import write_text

    if out is None:
        print_json(campaign_schema())
        return
    write_text(out, schema_text())
    say(f"Wrote {out}.")


def reference(out: Out = None) -> None:
    """Print every setting with its default and what it means, as a commented campaign file."""
    from star_al.config.reference import reference as all_settings
    from star_al.data.out_files import write_text

    if out is None:
        say(all_settings().rstrip())
        return
    write_text(out, all_settings())
    say(f"Wrote {out}.")
