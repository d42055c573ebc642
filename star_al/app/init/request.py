"""What a user says about the campaign to propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CampaignRequest:
    """What the user says about the campaign to propose. What is None is guessed.

    Attributes:
        data: A file or data set; a path is relative to the current folder.
        model: A hub name or a folder, relative to the current folder; by default a small one, and none with a head.
        learner: ``lora`` or ``head``; by default LoRA, trained every round where that is quick.
        name: The campaign's name; by default from ``data``.
        kind: The kind of task; by default what the data show, else classification.
        labels: All the labels; by default those in ``label_column``.
        label_column: A column with labels, in all rows or some.
        label_columns: Columns that say by 1 or 0 whether a text has a label, in place of a column with its labels.
        text_column: The column with the texts, or several, comma-separated, which make up the text.
        id_column: The column with the user's own ids.
        options: Makes it multiple choice: one column of lists, or several columns.
        annotator: ``oracle``, ``label_studio`` or ``api``; by default people, unless a column has the answer to every
            row, so that a rehearsal costs nobody's time.
        subset: Configuration of a ``datasets`` name.
        split: Split of a ``datasets`` name or folder.
        delimiter: What separates the cells of a table; ``tab`` is a tab.
        encoding: The encoding of a text file.
        header: False if the first row of a table is data; ``None`` if that may be asked.
        quotes: False if quotation marks in a table are part of the texts.
    """

    data: str
    model: str | None = None
    learner: str | None = None
    name: str | None = None
    kind: str | None = None
    labels: Sequence[str] | None = None
    label_column: str | None = None
    label_columns: Sequence[str] = ()
    text_column: str | None = None
    id_column: str | None = None
    options: Sequence[str] = ()
    annotator: str | None = None
    subset: str | None = None
    split: str = "train"
    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quotes: bool | None = None
