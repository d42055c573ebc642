"""What is asked at a terminal where the data leave several possibilities. Each question has an option too."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from star_al.app.init.guessing import guess_text, label_columns, text_columns
from star_al.app.init.request import CampaignRequest
from star_al.common.wording import count
from star_al.data.columns import Column, Profile

VALUES_SHOWN = 4
"""Values of a column that are shown beside its name."""


class Ask(Protocol):
    """Asks the user to choose; only where somebody sits at a terminal."""

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Return one of the choices; each is shown with the note it stands with."""

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return the answer to a question that is answered with yes or no."""

    def text(self, question: str, default: str | None = None) -> str:
        """Return a line of text; an empty one only if that is the default."""


def with_answers(request: CampaignRequest, data: Profile, ask: Ask) -> CampaignRequest:
    """Ask for the columns of texts and labels where several would do."""
    taken = {request.label_column, request.id_column, *request.options} - {None}
    if request.text_column is None:
        guess = guess_text(data, {name for name in taken if name is not None})
        fit = [guess, *(name for name in text_columns(data, {str(name) for name in taken}) if name != guess)]
        if len(fit) > 1:
            shown = {name: _length(data.columns[name]) for name in fit}
            request = replace(request, text_column=ask.choose("Which column holds the texts?", shown, guess))
    if (request.kind, request.labels, request.label_column, *request.options) == (None, None, None):
        taken |= {request.text_column}
        fit = label_columns(data, {str(name) for name in taken})
        none = "none of them"
        shown = {name: _values(data.columns[name]) for name in fit} | {none: ""}
        chosen = ask.choose("Which column holds labels?", shown, fit[0]) if fit else none
        if chosen != none:
            return replace(request, label_column=chosen)
        return replace(request, labels=split_labels(ask.text("The labels, separated by commas")))
    return request


def _length(column: Column) -> str:
    return f"{count(round(column.characters / max(1, column.filled)), 'character')} on average"


def _values(column: Column) -> str:
    """How many values a column has, and its most frequent ones."""
    values: dict[str, int] = dict(column.values or {})
    first = ", ".join(sorted(values, key=lambda value: -values[value])[:VALUES_SHOWN])
    return f"{count(len(values), 'value')}: {first}" + (", …" if len(values) > VALUES_SHOWN else "")


def split_labels(listed: str) -> tuple[str, ...]:
    """Labels in one line, separated by commas; one that holds a comma stands in quotation marks."""
    cells = next(csv.reader([listed], skipinitialspace=True), [])
    return tuple(cell.strip() for cell in cells if cell.strip())
