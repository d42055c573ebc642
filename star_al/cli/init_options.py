"""The options of `star-al init`: what a user may say about the data and the campaign."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from star_al.config.defaults import DEFAULT_MODEL


class Annotators(StrEnum):
    """Who answers."""

    ORACLE = "oracle"
    LABEL_STUDIO = "label_studio"
    API = "api"


class Learners(StrEnum):
    """What is trained on the labels."""

    LORA = "lora"
    HEAD = "head"


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .jsonl, .json, .csv, .tsv, .xlsx or .parquet file, a folder saved by `datasets`, or the name of "
        "a data set on the Hugging Face hub.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="All labels, comma-separated (one that holds a comma in quotation marks), or a file with one a "
        "line, as @FILE.",
        show_default=False,
    ),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column with labels, in all rows or some.", show_default=False)
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Kind of task: classification, multiple_choice, multi_label, rating, preference or text; by default "
        "what the data show, else classification.",
        show_default=False,
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        help="Column with the texts, or several that make up the text, comma-separated; by default it is guessed.",
        show_default=False,
    ),
]
IdColumn = Annotated[str | None, typer.Option(help="Column with your own ids.", show_default=False)]
OptionsColumn = Annotated[
    str | None,
    typer.Option(
        help="Multiple choice: a column of lists, or several columns, comma-separated. Preference: the columns of "
        "the two completions.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A causal language model: its name on the Hugging Face hub, or a folder; by default "
        f"{DEFAULT_MODEL}, and none with --learner head.",
        show_default=False,
    ),
]
Learner = Annotated[
    Learners | None,
    typer.Option(
        help="What is trained: lora, a language model, every round; or head, a light model that is trained in a "
        "second. By default LoRA every round if a round takes less than a minute here; else a head chooses the "
        "texts, and LoRA is trained a few times.",
        show_default=False,
    ),
]
Annotator = Annotated[
    Annotators | None,
    typer.Option(
        help="Who answers; by default oracle (simulated) if a column has every answer, else people.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(help="Name of the campaign; by default that of the data file.", show_default=False),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="Character between the cells of a table, or `tab`; by default it is found.",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Encoding of a text file, such as cp1252; by default it is found.", show_default=False),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether a table's first row names the columns. Without, they are called column_1 and so on; "
        "options may give their number.",
        show_default=False,
    ),
]
Quotes = Annotated[
    bool | None,
    typer.Option(
        "--quotes/--no-quotes",
        help="Whether a cell of a table in quotation marks may hold delimiters and line breaks; by default it "
        "is found.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(dir_okay=False, help="File to write.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
