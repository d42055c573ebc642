"""``data``: where the texts come from."""

from __future__ import annotations

import codecs
import re

from pydantic import Field, field_validator

from star_al.config.spec.base import Spec

LABEL_COLUMNS = "label_columns"
"""What the columns of ``DataSpec.label_columns`` are called together."""


class OptionsPattern(Spec):
    """Multiple-choice options written inside the text, found by a regular expression."""

    pattern: str = Field(
        description=(
            "A regular expression; each match is one option and is removed from the text. It needs a named "
            "group `option`, and may have a group `key`: the letter or number that the gold answer uses."
        ),
        examples=[r"^(?P<key>[A-D])\) (?P<option>.*)$"],
    )

    @field_validator("pattern")
    @classmethod
    def _compiles_with_an_option_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        if "option" not in groups:
            raise ValueError("needs a named group (?P<option>…)")
        return pattern


class DataSpec(Spec):
    """Where the pool comes from and what its columns mean. All other columns are kept for export."""

    path: str = Field(
        description=(
            "A text, Excel or Parquet file, a folder saved by `datasets`, or a `datasets` name. Text files are "
            ".jsonl, .json, .csv or .tsv and may be gzipped. A relative path starts at the campaign file's folder."
        ),
        examples=["tickets.jsonl"],
    )
    subset: str | None = Field(
        default=None, description="Configuration of a `datasets` name, where it has several."
    )
    split: str = Field(default="train", description="Split of a `datasets` name or saved folder.")
    delimiter: str | None = Field(
        default=None,
        description=(
            "Character between the cells of a .csv or .tsv file, or `tab`. By default it is found in the file: "
            "comma, semicolon, tab or `|`."
        ),
        examples=[";"],
    )
    encoding: str | None = Field(
        default=None,
        description=(
            "Encoding of a text file, by a name that Python knows. By default it is UTF-8, or else UTF-16, or "
            "the likeliest one."
        ),
        examples=["cp1252"],
    )
    header: bool = Field(
        default=True,
        description=(
            "Whether the first row of a .csv, .tsv or .xlsx file names the columns. Without, they are "
            "`column_1`, `column_2` and so on."
        ),
    )
    quotes: bool | None = Field(
        default=None,
        description=(
            'Whether a cell in `"` may hold delimiters and line breaks, as in CSV. With false, a quotation mark '
            "is part of the text. By default true, except for files that can only be read without, and for "
            "tab-separated files that show no sign of such cells."
        ),
    )
    text: str = Field(default="text", description="Column with the text that the model reads.")
    id: str | None = Field(
        default=None,
        description="Column with your own ids. They come back at export, as every column does.",
        examples=["ticket_id"],
    )
    label: str | None = Field(
        default=None,
        description=(
            "Column with labels that people have already given; may be empty in some rows. "
            "The first round trains on them, and nobody has to label these texts again. "
            "A text in several rows has the label of most of them; after a tie it is asked."
        ),
        examples=["label"],
    )
    label_columns: tuple[str, ...] | None = Field(
        default=None,
        description=(
            "Columns that say by 1 or 0 whether a text has a label, which has the column's name. Only for "
            "`task.kind: multi_label`. `label: label_columns`, or `gold: label_columns` of a simulated annotator, "
            "takes all of them together."
        ),
        examples=[["billing", "delivery", "refund"]],
    )
    options: str | tuple[str, ...] | OptionsPattern | None = Field(
        default=None,
        description=(
            "Where the options, or a prompt's two completions, are: a column, several columns, or a pattern. "
            "A single column holds lists; a pattern, `{pattern: …}`, finds options inside the text. "
            "Only for `task.kind: multiple_choice` and `preference`."
        ),
        examples=["options", ["a", "b", "c", "d"], {"pattern": r"^(?P<key>[A-D])\) (?P<option>.*)$"}],
    )

    @field_validator("delimiter")
    @classmethod
    def _is_one_character(cls, delimiter: str | None) -> str | None:
        if delimiter == "tab":
            return "\t"
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
            raise ValueError("the delimiter is one character, or tab")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _is_a_text_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                "".encode(codecs.lookup(encoding).name)
            except (LookupError, ValueError) as exc:
                raise ValueError(f"{encoding!r} is no encoding that Python knows, such as cp1252") from exc
        return encoding
