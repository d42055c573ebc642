"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The campaign file (YAML).", show_default=False)
]
RoundIndex = Annotated[int, typer.Option("--round", min=0, help="Which round, from 0.", show_default=False)]


class Shape(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class ShortShape(StrEnum):
    """How a table with long texts is printed."""

    TABLE = "table"
    JSON = "json"


def load(config: Path) -> CampaignFile:
    """The campaign of a file; pydantic and YAML are imported only now.

    Raises:
        ConfigError: it cannot be read or is not valid.
    """
    from star_al.config.file import load_campaign

    return load_campaign(config)
