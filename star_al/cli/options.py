"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.app.model_choice import ModelChoice
from star_al.cli.completion import campaign_files, round_numbers
from star_al.cli.everywhere import everywhere
from star_al.display.text import clean

if TYPE_CHECKING:
    from star_al.app.hub import Hub
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


Push = Annotated[
    str | None,
    typer.Option(
        "--push",
        metavar="OWNER/NAME",
        help="Also push it to this repository on the Hugging Face hub; the token is in HF_TOKEN.",
        show_default=False,
    ),
]
Public = Annotated[bool, typer.Option("--public", help="With --push: let everybody read the new repository.")]


Model = Annotated[
    ModelChoice,
    typer.Option(
        "--model",
        help="Where a head stands beside the language model: the head, the language model (lora), or what is best.",
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


Format = Annotated[Shape, typer.Option("--format", help="Output format.")]
ShortFormat = Annotated[ShortShape, typer.Option("--format", help="Output format.")]


def names_in(listed: str | None) -> tuple[str, ...]:
    """The names in a comma-separated list; none without a list."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


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


def open_hub(repo: str | None, kind: str, public: bool) -> Hub | None:
    """Make the repository of ``--push``, before any work; None without one.

    Args:
        repo: The repository.
        kind: ``model`` or ``dataset``.
        public: The value of ``--public``.

    Raises:
        HubError: There is no token, or the hub refuses or cannot be reached.
    """
    if repo is None:
        if public:
            raise typer.BadParameter("only goes with --push", param_hint="--public")
        return None
    from star_al.app.hub import Hub

    hub = Hub(repo, kind, public=public)
    hub.create()
    return hub
