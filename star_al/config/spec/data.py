"""``data``: where the texts come from."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from star_al.config.spec.base import Spec


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
            "A .jsonl, .csv, .tsv or .parquet file, a folder saved by `datasets`, or a `datasets` name. "
            "Text files may be gzipped. A relative path starts at the campaign file's folder."
        ),
        examples=["tickets.jsonl"],
    )
    subset: str | None = Field(
        default=None, description="Configuration of a `datasets` name, where it has several."
    )
    split: str = Field(default="train", description="Split of a `datasets` name or saved folder.")
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
            "The first round trains on them, and nobody has to label these texts again."
        ),
        examples=["label"],
    )
    options: str | tuple[str, ...] | OptionsPattern | None = Field(
        default=None,
        description=(
            "Where the options of a multiple-choice question are: a column, several columns, or a pattern. "
            "A single column holds lists; a pattern, `{pattern: …}`, finds options inside the text. "
            "Only for `task.kind: multiple_choice`."
        ),
        examples=["options", ["a", "b", "c", "d"], {"pattern": r"^(?P<key>[A-D])\) (?P<option>.*)$"}],
    )
