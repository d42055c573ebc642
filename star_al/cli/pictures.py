"""Draw the pictures of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import DEFAULT_CONFIG, Config, load

if TYPE_CHECKING:
    from star_al.ports import Store
    from star_al.types import Campaign


def pictures(
    config: Config = DEFAULT_CONFIG,
    out: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Folder for the pictures; created if missing.")
    ] = Path(),
) -> None:
    """Draw learning_curve.png and, with 50 held-out texts or more, reliability.png from the database."""
    from star_al.app.stores import reading

    with reading(load(config)) as (store, campaign):
        draw(store, campaign, out)


def draw(store: Store, campaign: Campaign, folder: Path) -> None:
    """Draw the pictures and print their paths, or why there are none."""
    from star_al.config.spec import CampaignSpec
    from star_al.report.pictures import draw_pictures

    model = CampaignSpec.model_validate(campaign.config).ranking_model
    paths = draw_pictures(store, campaign, folder, model)
    for path in paths:
        say(str(path))
    if not paths:
        say("Nothing to draw: no round has been evaluated on held-out labels.")
