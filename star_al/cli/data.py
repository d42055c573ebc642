"""Data in and out: predictions for new texts, an export of labels, more rows for a running campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import Config, load

if TYPE_CHECKING:
    from star_al.data import ImportCounts

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
    """Predict the texts of a file with the newest adapter.

    It adds predicted, its confidence, and probability_<label> for each label,
    all temperature-scaled. total_uncertainty (aleatoric + epistemic) is in nats
    and before the temperature, as in the database; the two parts are empty
    where the posterior has one sample.
    """
    from star_al.app import predicting
    from star_al.display.progress import make_progress

    done = predicting.predict_file(load(config), texts, out, make_progress())
    say(f"{done.n:,} predictions in {out} ({done.model.note}){_met(done.counts)}.")


def _met(counts: ImportCounts) -> str:
    """What reading left out or replaced, to be added to a sentence; nothing where it did neither."""
    met = ""
    if counts.empty:
        met += f"; {counts.empty:,} rows without a text left out"
    replaced = counts.nul_replaced + counts.surrogates_replaced
    if replaced:
        met += f"; {replaced:,} characters (NUL, half surrogates) became U+FFFD"
    return met


def export(
    config: Config,
    out: OutFile,
    with_predictions: Annotated[
        bool,
        typer.Option("--with-predictions", help="Add all other texts, with the columns of predict."),
    ] = False,
) -> None:
    """Write the human labels, with your own ids and columns."""
    from star_al.app import predicting
    from star_al.display.progress import make_progress

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
    from star_al.display.progress import make_progress

    n = starting.add_data(load(config), file, make_progress())
    say(f"{n:,} new items joined the pool.")
