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

from jinja2 import TemplateError

from star_al.config.spec import TaskSpec
from star_al.errors import ConfigError, ModelError

FIELDS = ("text", "labels", "options")
"""What an item, or for ``labels`` the task, fills in."""

_INSTRUCTIONS = {
    ("classification", "letter"): "Classify the text. Answer with exactly one of these labels: {labels}.",
    ("multiple_choice", "letter"): "Choose the right option. Answer with its letter only.",
    ("multiple_choice", "text"): "Choose the right option. Answer with its text only.",
}
_TEMPLATES = {"classification": "Text:\n{text}", "multiple_choice": "{text}\n\nOptions:\n{options}"}
_PLAIN_ENDINGS = {
    ("classification", "letter"): "\n\nLabel:",
    ("multiple_choice", "letter"): "\n\nAnswer:",
    ("multiple_choice", "text"): "\n\nAnswer:",
}
"""What a prompt without a chat template ends with, unless the user gives a template."""

_FIXED_CLOCK = "{% macro strftime_now(format) %}01 January 2025{% endmacro +%}"
"""Put before a chat template, which may print today's date: a prompt must be the same tomorrow."""


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


def prompt_pieces(spec: TaskSpec, tokenizer: Any) -> tuple[Piece, ...]:
    """Render the prompt of a task and cut it at its fields.

    Returns:
        The pieces in order; the last one has no field.

    Raises:
        ConfigError: The template lacks a field that it needs.
        ModelError: The model's chat template cannot be used.
    """
    pieces = _cut(_render(spec, tokenizer))
    fields = [piece.field for piece in pieces]
    if fields.count("text") != 1:
        raise ConfigError(f"task.template: {{text}} must occur once, it occurs {fields.count('text')} times.")
    if spec.kind == "multiple_choice" and "options" not in fields and spec.answer == "letter":
        raise ConfigError(
            "task.template: {options} is missing; the model cannot answer with a letter without it."
        )
    return pieces


def _render(spec: TaskSpec, tokenizer: Any) -> str:
    """Return the whole prompt, with marks in place of fields."""
    kind = (spec.kind, spec.answer if spec.kind == "multiple_choice" else "letter")
    instruction = _with_marks(_INSTRUCTIONS[kind] if spec.instruction is None else spec.instruction)
    message = _with_marks(_TEMPLATES[spec.kind] if spec.template is None else spec.template)
    joined = "\n\n".join(part for part in (instruction, message) if part)
    if not uses_chat(spec, tokenizer):
        return joined if spec.template else joined + _PLAIN_ENDINGS[kind]
    user = {"role": "user", "content": message}
    if instruction:
        try:
            rendered = _apply_chat_template(tokenizer, [{"role": "system", "content": instruction}, user])
            if instruction.strip() in rendered:
                return rendered
        except (TemplateError, ValueError, TypeError):
            pass  # some chat templates know no system message: the instruction then begins the user's
    try:
        return _apply_chat_template(tokenizer, [{"role": "user", "content": joined}])
    except (TemplateError, ValueError, TypeError) as exc:
        raise ModelError(
            f"the model's chat template cannot be used: {exc}. Set task.chat_template: false."
        ) from exc


def _apply_chat_template(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    rendered = tokenizer.apply_chat_template(
        messages,
        chat_template=_FIXED_CLOCK + tokenizer.get_chat_template(),
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    return str(rendered)


def _mark(field: str) -> str:
    return f"⟦star-al {field}⟧"


_FIELD_OF: Mapping[str, str] = {_mark(field): field for field in FIELDS}


def _with_marks(text: str) -> str:
    """Replace ``{text}``, ``{labels}`` and ``{options}`` by marks; other braces stay as they are."""
    return re.sub(rf"\{{({'|'.join(FIELDS)})\}}", lambda match: _mark(match[1]), text)


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
