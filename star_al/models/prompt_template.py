"""The fixed text around a task's items: instruction, message and chat template, cut where an item fills something in.

A prompt is rendered once, with marks in place of text, labels and options, and cut at the marks. So the fixed
pieces can be tokenised with the chat's control tokens and what an item fills in as plain text: content can
neither end its message nor change the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from star_al.config.spec import ScoredOn, TaskSpec
from star_al.errors import ConfigError
from star_al.models.chat_format import ChatFormat, chat_format
from star_al.task import Task
from star_al.types import Item

FIELDS = ("text", "labels", "options")
"""What an item, or for ``labels`` the task, fills in."""


@dataclass(frozen=True)
class Wording:
    """What a prompt says unless the user words it.

    Attributes:
        instruction: The system message; ``{answer}`` is what the model is scored on.
        message: The user's message.
        ending: What a prompt without a chat template ends with.
        written: The instruction for models that write an answer as a whole, where star-al's own do not; None for the
            same one.
    """

    instruction: str
    message: str
    ending: str
    written: str | None = None

    @property
    def after_text(self) -> str:
        """What follows the text in a prompt without a chat template."""
        return self.message.partition("{text}")[2] + self.ending


WORDINGS: Mapping[str, Wording] = {
    "classification": Wording(
        "Classify the text. Answer with exactly one of these labels: {labels}.",
        "Text:\n{text}",
        "\n\nLabel:",
    ),
    "multiple_choice": Wording(
        "Choose the right option. Answer with its {answer} only.",
        "{text}\n\nOptions:\n{options}",
        "\n\nAnswer:",
    ),
    "rating": Wording(
        "Rate the text. Answer with exactly one of these numbers: {labels}.",
        "Text:\n{text}",
        "\n\nRating:",
    ),
    "text": Wording("Answer the question.", "{text}", "\n\nAnswer:"),
    "multi_label": Wording(
        "Say for each of these labels whether it fits the text, yes or no: {labels}.",
        "Text:\n{text}",
        "\n\nLabels:",
        written="Name the labels that fit the text, separated by commas, or none if no label fits: {labels}.",
    ),
    "preference": Wording("", "{text}", "\n\nAnswer:"),
}
"""By kind of task."""

_ANSWERS: Mapping[ScoredOn, str] = {
    "label": "label",
    "letter": "letter",
    "option": "text",
    "completion": "text",
}


@dataclass(frozen=True)
class Piece:
    """Fixed text and the field that follows it.

    Attributes:
        text: The fixed text.
        field: One of ``FIELDS``; ``None`` at the end of the prompt.
        gap: A space between text and field, if there is one. It is tokenised with the field, because a word's
            token usually includes the space before the word.
    """

    text: str
    field: str | None = None
    gap: str = ""


def uses_chat(spec: TaskSpec, tokenizer: Any) -> bool:
    """Return whether prompts are made by the tokenizer's chat template."""
    return bool(spec.chat_template and tokenizer.chat_template)


@dataclass(frozen=True)
class PromptTemplate:
    """The fixed text of a task's prompts.

    Attributes:
        pieces: In order; the last one has no field.
        gap: A space before the answer, if there is one. It is tokenised with the label.
        chat: How the chat template writes the prompt; empty but for the prompt without one.
    """

    pieces: tuple[Piece, ...]
    gap: str
    chat: ChatFormat


def prompt_template(spec: TaskSpec, tokenizer: Any) -> PromptTemplate:
    """Render the prompt of a task and cut it at its fields.

    Raises:
        ConfigError: The template lacks a field that it needs.
        ModelError: The model's chat template cannot be used.
    """
    rendered = _render(spec, tokenizer)
    pieces = _cut(rendered.prompt)
    fields = [piece.field for piece in pieces]
    if fields.count("text") != 1:
        raise ConfigError(
            f"task.template: {{text}} must occur once, it occurs {fields.count('text')} times. "
            "Or name columns of the data, such as {subject}."
        )
    if spec.scored_on == "letter" and "options" not in fields:
        raise ConfigError(
            "task.template: {options} is missing; the model cannot answer with a letter without it."
        )
    last, gap = pieces[-1], ""
    if not uses_chat(spec, tokenizer):
        gap = "" if last.text[-1:].isspace() else " "
    elif last.text.endswith(" "):
        last, gap = Piece(last.text[:-1]), " "
    return PromptTemplate((*pieces[:-1], last), gap, rendered)


def _render(spec: TaskSpec, tokenizer: Any) -> ChatFormat:
    """Return the whole prompt, with marks in place of fields; without a chat nothing is known of an answer's end."""
    instruction, message = map(_with_marks, _wording(spec))
    if uses_chat(spec, tokenizer):
        return chat_format(tokenizer, instruction, message)
    return ChatFormat(_joined(spec, instruction, message))


def prompt_of(task: Task, item: Item) -> tuple[str, str]:
    """Return the system message and the user's message of an item as texts, for other trainers."""
    options = zip(task.choices(item) or (), item.options, strict=False)
    fills = {
        "text": item.text,
        "labels": task.listing,
        "options": "\n".join(f"{name}. {option}" for name, option in options),
    }
    instruction, message = _wording(task.spec)
    if task.spec.instruction is None:
        instruction = WORDINGS[task.spec.kind].written or instruction
    instruction, message = (
        _FIELD.sub(lambda match: fills[match[1]], part) for part in (instruction, message)
    )
    return instruction, message


def plain_prompt_of(task: Task, item: Item) -> tuple[str, str]:
    """Return the prompt of an item without a chat template, and what comes between it and the answer."""
    prompt = _joined(task.spec, *prompt_of(task, item))
    return prompt, "" if prompt[-1:].isspace() else " "


def _wording(spec: TaskSpec) -> tuple[str, str]:
    """The instruction and the message with their fields in braces."""
    wording = WORDINGS[spec.kind]
    instruction = spec.instruction
    if instruction is None:
        instruction = wording.instruction.replace("{answer}", _ANSWERS[spec.scored_on])
    split = spec.split_template
    return instruction, wording.message if split is None else split.prompt


def _joined(spec: TaskSpec, instruction: str, message: str) -> str:
    """A prompt without a chat template."""
    joined = "\n\n".join(part for part in (instruction, message) if part)
    return joined if spec.template else joined + WORDINGS[spec.kind].ending


_FIELD = re.compile(rf"\{{({'|'.join(FIELDS)})\}}")


def _mark(field: str) -> str:
    return f"⟦star-al {field}⟧"


_FIELD_OF: Mapping[str, str] = {_mark(field): field for field in FIELDS}


def _with_marks(text: str) -> str:
    """Replace ``{text}``, ``{labels}`` and ``{options}`` by marks; other braces stay as they are."""
    return _FIELD.sub(lambda match: _mark(match[1]), text)


def _cut(rendered: str) -> tuple[Piece, ...]:
    """Cut a rendered prompt at its marks."""
    pieces: list[Piece] = []
    before = ""
    for part in re.split("|".join(f"({re.escape(mark)})" for mark in _FIELD_OF), rendered):
        if part is None:  # a group of the pattern that did not match
            continue
        if part in _FIELD_OF:
            gap = " " if before.endswith(" ") else ""
            pieces.append(Piece(before.removesuffix(" "), _FIELD_OF[part], gap))
            before = ""
        else:
            before += part
    return (*pieces, Piece(before))
