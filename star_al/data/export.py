"""What a campaign knows of a row, as columns beside the user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from star_al.config.spec import DataSpec, OptionsPattern
from star_al.data.item_labels import exported_label, user_fields
from star_al.task import LETTERS, Task
from star_al.types import Item, JsonObject, JsonValue, Label

NO_TEXT, NOT_KNOWN = "no text", "not in the campaign"
"""Values of the column ``status`` for rows that are no items of the campaign."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model's prediction for an item, and how sure it is.

    Attributes:
        label: The predicted label's value.
        probabilities_C: Calibrated probabilities of the item's labels, in the order of the task's columns, or of the
            answers found for it.
        total_uncertainty: Entropy of the predictive mean in nats, before any temperature, as in the scores.
        aleatoric: The part of it that is in the data; None for a model with one sample.
        epistemic: The part of it that more labels could remove; None for a model with one sample, and where
            written answers were drawn too seldom to tell.
        answers: The values of the columns where answers are open, the last of them None for any other answer.
        signals: What else the model told of the item, by name.
        right: The probability that the answer counts as right, where answers are graded and it was fitted.
    """

    label: JsonValue
    probabilities_C: tuple[float, ...]
    total_uncertainty: float
    aleatoric: float | None = None
    epistemic: float | None = None
    answers: tuple[JsonValue, ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict)
    right: float | None = None

    @property
    def confidence(self) -> float:
        """The calibrated probability of the label, or ``right``."""
        if self.right is not None:
            return self.right
        return max(self.probabilities_C[:-1] if self.answers else self.probabilities_C)

    @property
    def alternatives(self) -> list[tuple[JsonValue, float]]:
        """The other answers that were found, likeliest first, with their probabilities."""
        found = sorted(zip(self.answers[:-1], self.probabilities_C, strict=False), key=lambda one: -one[1])
        return found[1:]


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """One person's answer to one question about an item.

    Attributes:
        annotator: Who answered.
        label: The label's value; None for a skip, and for an answer that is no label of the item.
        skipped: True for a skip.
        answered_at: When, by the annotation tool's clock.
        seconds: How long it took.
    """

    annotator: str | None
    label: JsonValue
    skipped: bool = False
    answered_at: datetime | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a campaign knows of an item.

    Attributes:
        role: pool, audit, calibration or test; control for a text that was drawn at random for the control arm.
        status: labelled, asked (the answer is missing), skipped, disputed, or not asked.
        label: The label in force.
        round_index: The round that asked for the item, or for which its label was imported.
        answers: What people answered, oldest first.
    """

    role: str | None = None
    status: str = NOT_KNOWN
    label: Label | None = None
    round_index: int | None = None
    answers: tuple[GivenAnswer, ...] = ()

    @property
    def annotators(self) -> dict[str, None]:
        """Who gave the item a label, in order, each once."""
        return {a.annotator: None for a in self.answers if a.annotator and a.label is not None}

    @property
    def labelled_at(self) -> datetime | None:
        """When somebody last gave the item the label in force, or a part of it."""
        if self.label is None:
            return None
        value = self.label.value
        given = [a for a in self.answers if a.label is not None]
        same = [a for a in given if a.label == value]
        if not same and isinstance(value, list) and self.label.source == "annotator":
            same = given  # several answers make it up together
        return max((a.answered_at for a in same if a.answered_at), default=None)


UNKNOWN = Known()


class ExportColumns:
    """Makes flat rows: the user's columns, then those of star_al.

    A user's column that has the name of one of ours becomes ``data_<name>``.

    Args:
        task: The campaign's task.
        data: Which columns hold the text and the options.
    """

    def __init__(self, task: Task, data: DataSpec) -> None:
        self._task, self._data = task, data
        self._letters = _probability_columns(LETTERS if task.has_options else "")
        self._names: dict[tuple[str, ...], list[str]] = {}

    def labelled(self, own: JsonObject, item: Item | None, known: Known) -> dict[str, JsonValue]:
        """A row with ``item_id``, ``role``, ``status``, ``label`` and who gave it when, in which round.

        Where values stand for texts, ``label_text`` as well: the option, or the name of the level.

        Args:
            own: The user's columns.
            item: The row's item; None for a row without a text.
            known: What the campaign knows of it.
        """
        return self._beside(own, self._label_columns(item, known))

    def with_prediction(
        self, own: JsonObject, item: Item | None, known: Known, answer: ModelAnswer | None
    ) -> dict[str, JsonValue]:
        """A row as ``labelled`` makes it, with ``kind`` (human, model or None) and the columns of ``predicted``.

        Those are None if there is a human label.
        """
        shown = None if known.label else answer
        kind = "human" if known.label else "model" if shown else None
        ours = self._label_columns(item, known) | {"kind": kind} | self._prediction_columns(item, shown)
        return self._beside(own, ours, self._letters)

    def predicted(
        self, own: JsonObject, item: Item | None, answer: ModelAnswer | None
    ) -> dict[str, JsonValue]:
        """A row with ``predicted``, ``confidence``, uncertainties and ``probability_<label>`` or letter.

        Where values stand for texts, ``predicted_text`` as well. Where answers are open, ``alternatives`` lists the
        others that were found, with their probabilities.
        """
        return self._beside(own, self._prediction_columns(item, answer), self._letters)

    def answered(
        self, own: JsonObject, item: Item | None, known: Known, answer: GivenAnswer | None
    ) -> dict[str, JsonValue]:
        """A row for one answer: who gave which ``label`` when, and the ``final_label`` of the item."""
        ours: dict[str, JsonValue] = {
            "item_id": item.item_id if item else None,
            "role": known.role,
            "round": known.round_index,
            "annotator": answer.annotator if answer else None,
            "label": exported_label(self._task, answer.label) if answer else None,
            "skipped": answer.skipped if answer else None,
            "answered_at": _moment(answer.answered_at) if answer else None,
            "seconds": answer.seconds if answer else None,
            "final_label": exported_label(self._task, known.label.value) if known.label else None,
        }
        return self._beside(own, ours)

    def own_columns(self, item: Item) -> dict[str, JsonValue]:
        """The user's columns of an item as the campaign keeps it, where its row cannot be read."""
        data = self._data
        columns: dict[str, JsonValue] = {}
        fields = user_fields(item.fields)
        template = self._task.spec.split_template
        if data.text not in fields and (template is None or template.item_text is None):
            columns[data.text] = item.text
        if isinstance(data.options, str) and data.options not in fields:
            columns[data.options] = list(item.options)
        if isinstance(data.options, tuple):
            padded = (*item.options, *[None] * len(data.options))
            columns |= dict(zip(data.options, padded, strict=False))
        return columns | fields

    # -- columns ---------------------------------------------------------------------------------------

    def _label_columns(self, item: Item | None, known: Known) -> dict[str, JsonValue]:
        label = known.label
        columns: dict[str, JsonValue] = {
            "item_id": item.item_id if item else None,
            "role": known.role,
            "status": known.status if item else NO_TEXT,
            "label": exported_label(self._task, label.value) if label else None,
        }
        if self._task.has_texts:
            columns["label_text"] = self._task.text(item, label.value) if item and label else None
        return columns | {
            "source": label.source if label else None,
            "round": known.round_index,
            "version": label.version if label else None,
            "annotators": list(known.annotators) or None,
            "labelled_at": _moment(known.labelled_at) if label else None,
        }

    def _prediction_columns(self, item: Item | None, shown: ModelAnswer | None) -> dict[str, JsonValue]:
        columns: dict[str, JsonValue] = {"predicted": shown.label if shown else None}
        if self._task.has_texts:
            columns["predicted_text"] = self._task.text(item, shown.label) if item and shown else None
        columns |= {
            "confidence": shown.confidence if shown else None,
            "total_uncertainty": shown.total_uncertainty if shown else None,
            "aleatoric": shown.aleatoric if shown else None,
            "epistemic": shown.epistemic if shown else None,
        }
        if item is None and self._task.has_options:
            return columns  # without options there is no letter
        labels = self._task.choices(item or Item("", ""))
        if labels is None:
            return columns | self._open_columns(shown)
        names = _probability_columns(labels)
        values = shown.probabilities_C if shown else [None] * len(names)
        return columns | dict(zip(names, values, strict=True))

    def _open_columns(self, shown: ModelAnswer | None) -> dict[str, JsonValue]:
        """The other answers, and the probability of each label where a text has any number of them."""
        others = [{"answer": value, "probability": p} for value, p in shown.alternatives] if shown else None
        labels = self._task.spec.label_names
        told = [shown.signals.get(f"p({name})") if shown else None for name in labels]
        return {"alternatives": others} | dict(zip(_probability_columns(labels), told, strict=True))

    def _beside(
        self, own: JsonObject, ours: dict[str, JsonValue], reserved: Sequence[str] = ()
    ) -> dict[str, JsonValue]:
        """The user's columns, renamed where they have one of our names, with ours after them."""
        key = (*own, "", *ours)
        names = self._names.get(key)
        if names is None:
            names = self._names[key] = _free_names(own, {*ours, *reserved})
        return dict(zip(names, own.values(), strict=True)) | ours


def options_found(item: Item, data: DataSpec) -> dict[str, JsonValue]:
    """The column of options that were found inside the text; none if they have columns of their own."""
    return {"options": list(item.options)} if isinstance(data.options, OptionsPattern) else {}


def _free_names(own: Mapping[str, JsonValue], ours: Collection[str]) -> list[str]:
    return [_free_name(name, own, ours) for name in own]


def _free_name(name: str, columns: JsonObject, ours: Collection[str]) -> str:
    while name in ours:
        name = f"data_{name}"
        while name in columns:
            name = f"data_{name}"
    return name


def _probability_columns(label_names: Sequence[str]) -> list[str]:
    return [f"probability_{name}" for name in label_names]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
