"""Data in and out: predictions for new texts, an export of labels, more rows for a running campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import Config, load

OutFile = Annotated[
    Path, typer.Option("--out", help="A .jsonl, .csv or .parquet file to write.", show_default=False)
]


def predict(
    config: Config,
    texts: Annotated[
        Path, typer.Option("--in", help="A file of texts, with the campaign's columns.", show_default=False)
    ],
    out: OutFile,
) -> None:
    """Predict the texts of a file with the newest adapter, with calibrated confidence."""
    from star_al.app import predicting
    from star_al.cli.progress import make_progress

    n, model = predicting.predict_file(load(config), texts, out, make_progress())
    say(f"{n:,} predictions in {out} ({model.note}).")


def export(
    config: Config,
    out: OutFile,
    with_predictions: Annotated[
        bool,
        typer.Option("--with-predictions", help="Add the model's label and confidence for all other texts."),
    ] = False,
) -> None:
    """Write the human labels, with your own ids and columns."""
    from star_al.app import predicting
    from star_al.cli.progress import make_progress

    n = predicting.export_file(load(config), out, make_progress(), with_predictions=with_predictions)
    say(f"{n:,} rows in {out}.")


def add_data(
    config: Config,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Rows with the campaign's columns.", show_default=False)
    ],
) -> None:
    """Add the rows of a file to the pool of a campaign, from its next round on."""
    from star_al.app import starting
    from star_al.cli.progress import make_progress

    n = starting.add_data(load(config), file, make_progress())
    say(f"{n:,} new items joined the pool.")
