"""A question as a program sees it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from star_al.task import Task
from star_al.types import Item, JsonObject, Query


@dataclass(frozen=True)
class Question:
    """A text to label.

    Attributes:
        id: Identifies the question, also after a restart.
        text: The text.
        labels: The labels that ``Campaign.tell`` accepts; the letters of ``options`` in multiple choice. Empty if
            anything may be written.
        options: The options of a multiple-choice question.
        why: Why this text was chosen.
        round: The round that asks.
        purpose: ``pool`` (training), ``audit`` or ``calibration``.
        external_id: Your own id of the text, if the campaign has an id column.
        fields: Your own columns.
        label_texts: What the labels stand for, one each: the options in multiple choice, the names of a rating's
            levels. Empty if they stand for nothing else.
    """

    id: str
    text: str
    labels: tuple[str, ...]
    options: tuple[str, ...] = ()
    why: str = ""
    round: int = 0
    purpose: str = "pool"
    external_id: str | None = None
    fields: JsonObject | None = None
    label_texts: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Show the text and its labels in a notebook."""
        answers = [
            f"{label}. {text}" for label, text in zip(self.labels, self.label_texts, strict=False)
        ] or list(self.labels)
        chips = " ".join(
            f"<code style='border:1px solid; border-radius:4px; padding:0 .4em'>{escape(each)}</code>"
            for each in answers
        )
        where = f"round {self.round}, {self.purpose}: {self.why}"
        return (
            f"<div><p style='max-width:60em; white-space:pre-wrap'>{escape(self.text)}</p>"
            f"<p>{chips}</p><p style='opacity:.7'><small>{escape(where)}</small></p></div>"
        )


def make_question(query: Query, item: Item, task: Task) -> Question:
    """Make the question that a query asks about its item."""
    labels = task.choices(item) or task.spec.label_names
    return Question(
        id=query.query_id,
        text=item.text,
        labels=labels,
        options=item.options,
        why=query.reason.text,
        round=query.round_index,
        purpose=query.purpose.value,
        external_id=item.external_id,
        fields=item.fields,
        label_texts=tuple(task.text(item, label) for label in labels) if task.has_texts else (),
    )
