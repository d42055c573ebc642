"""Data in and out: predict new texts, export labels, add rows to a running campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import say
from star_al.cli.options import Config, load
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.data import ImportCounts

OutFile = Annotated[
    Path, typer.Option("--out", help="File to write: .jsonl, .csv or .parquet.", show_default=False)
]


def predict(
    config: Config,
    texts: Annotated[
        Path, typer.Option("--in", help="File of texts, with the campaign's columns.", show_default=False)
    ],
    out: OutFile,
) -> None:
    """Predict the labels of the texts in a file with the newest adapter.

    Adds the columns predicted, confidence and probability_<label>, all
    temperature-scaled, and total_uncertainty = aleatoric + epistemic in nats,
    before the temperature, as in the database. The two parts are empty if the
    posterior has one sample.
    """
    from star_al.app import predicting
    from star_al.display.progress import make_progress

    done = predicting.predict_file(load(config), texts, out, make_progress())
    say(f"Wrote {count(done.n, 'prediction')} to {out} ({done.model.note}){_left_out(done.counts)}.")


def _left_out(counts: ImportCounts) -> str:
    """What reading skipped or replaced, to end a sentence with; empty if it did neither."""
    words = ""
    if counts.empty:
        words += f"; skipped {count(counts.empty, 'row')} without text"
    replaced = counts.nul_replaced + counts.surrogates_replaced
    if replaced:
        words += f"; replaced {count(replaced, 'character')} (NUL, lone surrogates) with U+FFFD"
    return words


def export(
    config: Config,
    out: OutFile,
    with_predictions: Annotated[
        bool,
        typer.Option(
            "--with-predictions", help="Also write the unlabelled texts, with the columns of `predict`."
        ),
    ] = False,
) -> None:
    """Write the human labels to a file, with your own ids and columns."""
    from star_al.app import predicting
    from star_al.display.progress import make_progress

    n = predicting.export_file(load(config), out, make_progress(), with_predictions=with_predictions)
    say(f"Wrote {count(n, 'row')} to {out}.")


def add_data(
    config: Config,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="File of rows with the campaign's columns.", show_default=False),
    ],
) -> None:
    """Add the rows of a file to a campaign's pool, from its next round on."""
    from star_al.app import starting
    from star_al.display.progress import make_progress

    n = starting.add_data(load(config), file, make_progress())
    say(f"Added {count(n, 'new text')} to the pool.")
