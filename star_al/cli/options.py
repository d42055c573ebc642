"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Campaign file (YAML).", show_default=False)]
RoundIndex = Annotated[
    int, typer.Option("--round", min=0, help="Round number, starting at 0.", show_default=False)
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
    """Load the campaign of a file; pydantic and YAML are imported only now.

    Raises:
        ConfigError: The file cannot be read or is not a valid campaign.
    """
    from star_al.config.file import load_campaign

    return load_campaign(config)
