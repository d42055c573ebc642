"""The options of `star-al simulate`: what is compared, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli import completion

Strategies = Annotated[
    str,
    typer.Option(help="Strategies to compare, comma-separated.", autocompletion=completion.strategies),
]
Posteriors = Annotated[
    str | None,
    typer.Option(
        help="Posteriors to combine with each strategy, comma-separated.",
        show_default=False,
        autocompletion=completion.posteriors,
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each strategy, each with its own seed.")]
Gold = Annotated[
    str | None,
    typer.Option(help="Column with the right answers, if the campaign is for people.", show_default=False),
]
Rounds = Annotated[
    int | None,
    typer.Option(min=1, help="Rounds of training, instead of stopping.max_rounds.", show_default=False),
]
StudyName = Annotated[
    str | None,
    typer.Option(help="Name of the study; by default the campaign's name.", show_default=False),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Runs at a time; by default as many as cores and memory allow.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Write all results to this JSON file.", show_default=False),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep adapters and scores of finished runs.")]
