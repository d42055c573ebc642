"""Data in and out: predict new texts, export labels, add rows to a running campaign."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.app.model_choice import ModelChoice
from star_al.cli.console import complain, make_progress, resumable, say, say_file
from star_al.cli.options import DEFAULT_CONFIG, Config, Model, Public, Push, load, open_hub
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.config.spec import CampaignFile
    from star_al.data import ImportCounts, OutOptions

STANDARD_OUTPUT = "-"
"""The value of ``--out`` for standard output."""

OutFile = Annotated[
    Path,
    typer.Option(
        "--out",
        help="File to write: .jsonl, .csv or .parquet; - for standard output.",
        show_default=False,
        allow_dash=True,
    ),
]


class Format(StrEnum):
    """Formats of rows on standard output."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class ExportFormat(StrEnum):
    """Formats of rows on standard output, and of examples to train on."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    SFT = "sft"
    DPO = "dpo"


FormatOption = Annotated[Format, typer.Option("--format", help="Format on standard output.")]
Bom = Annotated[
    bool, typer.Option("--bom", help="CSV: begin with a byte order mark, so that Excel reads it as UTF-8.")
]
SpreadsheetSafe = Annotated[
    bool,
    typer.Option(
        "--spreadsheet-safe",
        help="CSV: put ' before cells that begin with =, +, -, @, tab or CR, which a spreadsheet would run.",
    ),
]


def predict(
    config: Config = DEFAULT_CONFIG,
    *,
    texts: Annotated[
        Path, typer.Option("--in", help="File of texts, with the campaign's columns.", show_default=False)
    ],
    out: OutFile,
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

    options = _options(bom, spreadsheet_safe)
    again = ["star-al", "predict", str(config), "--in", str(texts), "--out", str(out)]
    again += [] if model is ModelChoice.BEST else ["--model", model.value]
    again += [word for word, given in (("--bom", bom), ("--spreadsheet-safe", spreadsheet_safe)) if given]
    most = f"{predicting.PAGE_ITEMS:,} texts ({predicting.ENCODER_PAGE_ITEMS:,} with a head alone)"
    lost = f"all predictions are kept but those of the last {most}, at most"
    keeping = nullcontext() if _is_standard_output(out) else resumable(*again, lost=lost)
    with _target(out, format_) as path, keeping:
        done = predicting.predict_file(load(config), texts, path, make_progress(), options, model)
    message = f"Wrote {count(done.n, 'prediction')} to {_name(out)} ({done.model.note})"
    _tell(out, f"{message}{_left_out(done.counts)}.")


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


def export(
    config: Config = DEFAULT_CONFIG,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write: .jsonl, .csv or .parquet; - for standard output. Not needed with --push.",
            show_default=False,
            allow_dash=True,
        ),
    ] = None,
    with_predictions: Annotated[
        bool,
        typer.Option(
            "--with-predictions", help="Add the columns of `predict` for texts without a human label."
        ),
    ] = False,
    labelled: Annotated[bool, typer.Option("--labelled", help="Only rows with a human label.")] = False,
    answers: Annotated[
        bool, typer.Option("--answers", help="One row for each answer: annotator, label, time.")
    ] = False,
    format_: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="Format on standard output. sft and dpo: examples to train on, as TRL reads them, in place of rows.",
        ),
    ] = ExportFormat.CSV,
    bom: Bom = False,
    spreadsheet_safe: SpreadsheetSafe = False,
    push: Push = None,
    public: Public = False,
) -> None:
    """Write every row of your data to a file, with the human labels.

    Rows come in the order of your file, with all its columns, repeated texts and
    rows without a text included. Added are item_id, role (pool, control, audit,
    calibration), status (labelled, asked, skipped, disputed, not asked), label,
    source, round, version, annotators and labelled_at.

    With --format sft each labelled text of the pool becomes an example to train on: prompt
    and completion. With --format dpo: prompt, chosen and rejected, for each other answer
    that a person or the model gave. Both are JSON lines.

    With --push the rows become a data set on the Hugging Face hub, private unless
    --public is given, with a card. Annotators are numbered there, not named.
    """
    from star_al.app import exporting

    if labelled and answers:
        raise typer.BadParameter("leave out one of --labelled and --answers", param_hint="--answers")
    if out is None and push is None:
        raise typer.BadParameter("give a file to write, or --push", param_hint="--out")
    if format_ in (ExportFormat.SFT, ExportFormat.DPO):
        if out is None or push or labelled or answers or with_predictions or bom or spreadsheet_safe:
            raise typer.BadParameter(
                f"{format_.value} goes with --out alone: an example for each labelled text",
                param_hint="--format",
            )
        _export_examples(load(config), out, format_)
        return
    rows = exporting.Rows.ANSWERS if answers else exporting.Rows.LABELLED if labelled else exporting.Rows.ALL
    file, hub = load(config), open_hub(push, "dataset", public)
    if out is not None:
        with _target(out, format_) as path:
            done = exporting.export_file(
                file,
                path,
                make_progress(),
                rows=rows,
                with_predictions=with_predictions,
                options=_options(bom, spreadsheet_safe),
            )
        _tell(out, f"Wrote {count(done.n, 'row')} to {_name(out)}.")
        for note in done.notes:
            _tell(out, note)
    if hub is not None:
        with TemporaryDirectory() as folder:
            done = exporting.export_dataset(
                file, Path(folder), make_progress(), rows=rows, with_predictions=with_predictions
            )
            address = hub.push(Path(folder), f"{count(done.n, 'row')} of {file.spec.name}")
        _tell(out or Path(), f"Pushed {count(done.n, 'row')} to {address}")


def _export_examples(file: CampaignFile, out: Path, format_: ExportFormat) -> None:
    from star_al.app.training_rows import Examples, export_examples

    with _target(out, Format.JSONL) as path:
        done = export_examples(file, path, Examples(format_.value))
    _tell(out, f"Wrote {count(done.n, 'example')} to {_name(out)}.")
    for note in done.notes:
        _tell(out, note)


def _options(bom: bool, spreadsheet_safe: bool) -> OutOptions:
    from star_al.data import OutOptions

    return OutOptions(bom=bom, spreadsheet_safe=spreadsheet_safe)


@contextmanager
def _target(out: Path, format_: StrEnum) -> Iterator[Path]:
    """The file to write; for ``-`` a temporary one, which is then copied to standard output."""
    if not _is_standard_output(out):
        yield out
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{format_.value}"
        yield path
        say_file(path)


def _tell(out: Path, text: str) -> None:
    """Print a line that must not be mixed with the rows."""
    (complain if _is_standard_output(out) else say)(text)


def _is_standard_output(out: Path) -> bool:
    return str(out) == STANDARD_OUTPUT


def _name(out: Path) -> str:
    return "standard output" if _is_standard_output(out) else str(out)


def add_data(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] FILE",
            help=f"Campaign file, by default {DEFAULT_CONFIG}; and a file of rows with the campaign's columns.",
            show_default=False,
        ),
    ],
) -> None:
    """Add the rows of a file to a campaign's pool, from its next round on."""
    from star_al.app import starting

    if len(words) > 2:
        raise typer.BadParameter(f"expected a campaign file and one file of rows, found {len(words)} names")
    *config, file = words
    n = starting.add_data(load(Path(*config) if config else DEFAULT_CONFIG), file, make_progress())
    say(f"Added {count(n, 'new text')} to the pool.")
