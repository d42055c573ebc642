"""Write a campaign's data with its labels: rows, examples to train on, or a data set on the hub."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from star_al.cli.console import make_progress, say
from star_al.cli.options import DEFAULT_CONFIG, Config, Public, Push, load, open_hub
from star_al.cli.rows_out import Bom, Format, RowsOut, SpreadsheetSafe, csv_options
from star_al.common.wording import count

if TYPE_CHECKING:
    from star_al.app.exporting import Rows
    from star_al.app.hub import Hub
    from star_al.config.spec import CampaignFile
    from star_al.data import OutOptions


class ExportFormat(StrEnum):
    """Formats of rows on standard output, and of examples to train on."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    SFT = "sft"
    DPO = "dpo"


EXAMPLES = (ExportFormat.SFT, ExportFormat.DPO)
"""Formats of examples to train on."""

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="File to write: .jsonl, .csv or .parquet; - for standard output. Not needed with --push.",
        show_default=False,
        allow_dash=True,
    ),
]
WithPredictions = Annotated[
    bool,
    typer.Option("--with-predictions", help="Add the columns of `predict` for texts without a human label."),
]
Labelled = Annotated[bool, typer.Option("--labelled", help="Only rows with a human label.")]
Answers = Annotated[bool, typer.Option("--answers", help="One row for each answer: annotator, label, time.")]
FormatOption = Annotated[
    ExportFormat,
    typer.Option(
        "--format",
        help="Format on standard output. sft and dpo: examples to train on, as TRL reads them, in place of rows.",
    ),
]


def export(
    config: Config = DEFAULT_CONFIG,
    *,
    out: Out = None,
    with_predictions: WithPredictions = False,
    labelled: Labelled = False,
    answers: Answers = False,
    format_: FormatOption = ExportFormat.CSV,
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
    from star_al.app.exporting import Rows

    if labelled and answers:
        raise typer.BadParameter("leave out one of --labelled and --answers", param_hint="--answers")
    if out is None and push is None:
        raise typer.BadParameter("give a file to write, or --push", param_hint="--out")
    if format_ in EXAMPLES:
        if out is None or push or labelled or answers or with_predictions or bom or spreadsheet_safe:
            raise typer.BadParameter(
                f"{format_.value} goes with --out alone: an example for each labelled text",
                param_hint="--format",
            )
        _write_examples(load(config), RowsOut(out), format_)
        return
    rows = Rows.ANSWERS if answers else Rows.LABELLED if labelled else Rows.ALL
    file, hub = load(config), open_hub(push, "dataset", public)
    target = None if out is None else RowsOut(out)
    if target is not None:
        _write_rows(file, target, format_, rows, with_predictions, csv_options(bom, spreadsheet_safe))
    if hub is not None:
        (say if target is None else target.tell)(_push_rows(file, hub, rows, with_predictions))


def _write_examples(file: CampaignFile, target: RowsOut, format_: ExportFormat) -> None:
    from star_al.app.training_rows import Examples, export_examples

    with target.file(Format.JSONL) as path:
        done = export_examples(file, path, Examples(format_.value))
    target.tell(f"Wrote {count(done.n, 'example')} to {target}.")
    for note in done.notes:
        target.tell(note)


def _write_rows(
    file: CampaignFile,
    target: RowsOut,
    format_: ExportFormat,
    rows: Rows,
    with_predictions: bool,
    options: OutOptions,
) -> None:
    from star_al.app.exporting import export_file

    with target.file(format_) as path:
        done = export_file(
            file, path, make_progress(), rows=rows, with_predictions=with_predictions, options=options
        )
    target.tell(f"Wrote {count(done.n, 'row')} to {target}.")
    for note in done.notes:
        target.tell(note)


def _push_rows(file: CampaignFile, hub: Hub, rows: Rows, with_predictions: bool) -> str:
    """Push a data set, and return what was pushed where, as a sentence."""
    from star_al.app.exporting import export_dataset

    with TemporaryDirectory() as folder:
        done = export_dataset(
            file, Path(folder), make_progress(), rows=rows, with_predictions=with_predictions
        )
        address = hub.push(Path(folder), f"{count(done.n, 'row')} of {file.spec.name}")
    return f"Pushed {count(done.n, 'row')} to {address}"
