"""Predict the labels of new texts."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.app.model_choice import ModelChoice
from star_al.cli.console import make_progress, resumable, words_of
from star_al.cli.options import DEFAULT_CONFIG, Config, Model, load
from star_al.cli.rows_out import Bom, Format, RowsOut, SpreadsheetSafe, csv_options
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.data import ImportCounts

Texts = Annotated[
    Path, typer.Option("--in", help="File of texts, with the campaign's columns.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="File to write: .jsonl, .csv or .parquet; - for standard output.",
        show_default=False,
        allow_dash=True,
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="Format on standard output.")]


def predict(
    config: Config = DEFAULT_CONFIG,
    *,
    texts: Texts,
    out: Out,
    model: Model = ModelChoice.BEST,
    format_: FormatOption = Format.CSV,
    bom: Bom = False,
    spreadsheet_safe: SpreadsheetSafe = False,
) -> None:
    """Predict the labels of the texts in a file with the newest model.

    Where a head stands beside the language model, it takes what is best on the
    calibration labels: one of them or both, each with its weight.

    Every row comes back, in order; rows without a text have no prediction.
    Adds the columns predicted, confidence and probability_<label>, all
    temperature-scaled, and total_uncertainty = aleatoric + epistemic in nats,
    before the temperature, as in the database. The two parts are empty if the
    posterior has one sample, and where written answers are too long to compare
    samples by them. Where answers are open, alternatives lists the
    others that were found. Where they are graded, confidence is the
    probability that the answer counts as right, if that could be fitted.

    It may be interrupted: the same command goes on with the predictions that
    are kept beside the file to write, all but those of the last 256 texts
    (2,048 with a head alone).
    """
    from star_al.app import predicting

    given = {
        "--in": texts,
        "--out": out,
        "--model": None if model is ModelChoice.BEST else model.value,
        "--bom": bom,
        "--spreadsheet-safe": spreadsheet_safe,
    }
    again = ["star-al", "predict", str(config), *words_of(given)]
    most = f"{predicting.PAGE_ITEMS:,} texts ({predicting.ENCODER_PAGE_ITEMS:,} with a head alone)"
    lost = f"all predictions are kept but those of the last {most}, at most"
    target, options = RowsOut(out), csv_options(bom, spreadsheet_safe)
    keeping = nullcontext() if target.is_standard_output else resumable(*again, lost=lost)
    with target.file(format_) as path, keeping:
        done = predicting.predict_file(load(config), texts, path, make_progress(), options, model)
    message = f"Wrote {count(done.n, 'prediction')} to {target} ({done.model.note})"
    target.tell(f"{message}{_left_out(done.counts)}.")


def _left_out(counts: ImportCounts) -> str:
    """What reading skipped or replaced, to end a sentence with; empty if it did neither."""
    words = ""
    if counts.empty:
        has = "has" if counts.empty == 1 else "have"
        words += f"; {count(counts.empty, 'row')} without text {has} none"
    replaced = counts.nul_replaced + counts.surrogates_replaced
    if replaced:
        words += f"; replaced {count(replaced, 'character')} (NUL, lone surrogates) with U+FFFD"
    return words
