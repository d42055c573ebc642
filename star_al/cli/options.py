"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.completion import campaign_files, round_numbers
from star_al.cli.everywhere import everywhere
from star_al.display.text import clean

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile

DEFAULT_CONFIG = Path("campaign.yaml")
"""The campaign file of a command that names none."""

Config = Annotated[
    Path,
    typer.Argument(metavar="[CONFIG]", help="Campaign file (YAML).", autocompletion=campaign_files),
]
RoundIndex = Annotated[
    int,
    typer.Option(
        "--round",
        min=0,
        help="Round number, starting at 0.",
        show_default=False,
        autocompletion=round_numbers,
    ),
]


class Shape(StrEnum):
    """Formats of a table."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class ShortShape(StrEnum):
    """Formats of a table with long texts."""

    TABLE = "table"
    JSON = "json"


def load(config: Path) -> CampaignFile:
    """Load the campaign of a file, with the settings of ``--set``; pydantic and YAML are imported only now.

    On a terminal it asks before a file may read an environment variable that may be somebody's secret.

    Raises:
        ConfigError: The file cannot be read or is not a valid campaign.
    """
    from star_al.config.file import load_campaign
    from star_al.config.spec.environment_variables import named_variables

    file = load_campaign(config, everywhere().settings)
    for variable in named_variables(file.spec):
        if not variable.is_trusted and sys.stdin.isatty() and sys.stderr.isatty():
            question = f"{config}: {variable.setting} names the environment variable {variable.name}, "
            if typer.confirm(clean(f"{question}{variable.in_words()}. Do you trust this file?"), err=True):
                variable.confirm()
    return file
