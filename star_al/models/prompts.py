"""What the model reads of an item, and how its labels are spelled, as token ids.

A prompt is rendered once with marks in place of text, labels and options, and cut at the marks. Its fixed
pieces are tokenised with the chat's control tokens, the filled-in ones as plain text: content can neither
end its message nor change the prompt, and truncation cuts the text, then an item's own options, and nothing
else. Prompt and label are tokenised apart, so that no token straddles the border.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

from jinja2 import TemplateError

from star_al.config.spec import TaskSpec
from star_al.errors import ConfigError, ModelError
from star_al.models.label_tree import is_prefix_free, label_tree
from star_al.task import LETTERS, ClosedTask
from star_al.types import Item

CONTENT_FREE = "N/A"
"""The text of a content-free input (Zhao et al. 2021)."""

_INSTRUCTIONS = {
    ("classification", "letter"): "Classify the text. Answer with exactly one of these labels: {labels}.",
    ("multiple_choice", "letter"): "Choose the right option. Answer with its letter only.",
    ("multiple_choice", "text"): "Choose the right option. Answer with its text only.",
}
_TEMPLATES = {"classification": "Text:\n{text}", "multiple_choice": "{text}\n\nOptions:\n{options}"}
_PLAIN_TAILS = {
    ("classification", "letter"): "\n\nLabel:",
    ("multiple_choice", "letter"): "\n\nAnswer:",
    ("multiple_choice", "text"): "\n\nAnswer:",
}
_FIELDS = ("text", "labels", "options")
_FIXED_CLOCK = "{% macro strftime_now(format) %}01 January 2025{% endmacro +%}"
"""Put before a chat template that may print today's date: a prompt must be the same tomorrow."""

_CHARACTERS_A_TOKEN = 64  # texts are cut to this many characters for each token of room, then tokenised


@dataclass(frozen=True)
class Prompt:
    """Token ids of an item's prompt and of each of its labels, in the order of the task's columns."""

    item_id: str
    tokens: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    truncated: bool = False
    """Whether the text or an option was cut."""

    def __len__(self) -> int:
        """Tokens when all labels follow the prompt in one sequence."""
        return len(self.tokens) + len(label_tree(self.labels))


@dataclass(frozen=True)
class _Content:
    """What an item puts into the prompt besides its text: ids by piece, and its labels."""

    fills: tuple[Sequence[int], ...]
    labels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Line:
    """An option in the prompt: its name, its text, which may be cut, and the line's end."""

    name: list[int]
    option: list[int]
    end: list[int]

    def cut(self, size: int) -> list[int]:
        return self.name + self.option[:size] + self.end


@dataclass(frozen=True)
class _Piece:
    """Fixed text and the field that follows it, null at the prompt's end.

    A space between them, ``gap``, is tokenised with the field, as a word's token holds the space before it.
    """

    text: str
    field: str | None = None
    gap: str = ""


class PromptFormat:
    """How the items of a task are shown to one model.

    ``max_tokens`` bounds prompt and text; ``context`` bounds these and the labels.

    Raises:
        ConfigError: the template lacks what it needs.
        ModelError: no text fits beside the prompt, or two labels are the same tokens.
    """

    def __init__(self, tokenizer: Any, task: ClosedTask, *, max_tokens: int, context: int) -> None:
        self._tokenizer = tokenizer
        self._task = task
        self._max_tokens = max_tokens
        self._context = context
        self.is_chat = bool(task.spec.chat_template and tokenizer.chat_template)
        self._pieces = self._cut(self._render(*_messages(task.spec)))
        self._fixed = [self._encode_fixed(index, piece.text) for index, piece in enumerate(self._pieces)]
        self._gap = "" if self.is_chat or self._pieces[-1].text[-1:].isspace() else " "
        if not task.is_multiple_choice:
            self._class_labels = self._encode_labels(self._spellings)
        self.encode(Item(item_id="", text="", options=("A", "B") if task.is_multiple_choice else ()))

    @cached_property
    def _spellings(self) -> tuple[str, ...]:
        return tuple(label.verbaliser or label.name for label in self._task.spec.labels)

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that tokens depend on besides tokenizer and item."""
        spec = self._task.spec
        pieces = [astuple(piece) for piece in self._pieces]
        labels = [spec.kind, spec.answer, spec.label_names, self._spellings, self._gap]
        parts = [pieces, labels, self.is_chat, self._max_tokens, self._context]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that begin every prompt: all before the first field that an item fills in."""
        first = next(index for index, piece in enumerate(self._pieces) if piece.field in ("text", "options"))
        nobody = Item(item_id="", text="")
        fills = [self._fill(piece, nobody) for piece in self._pieces[:first]]
        parts = (part for pair in zip(self._fixed, [*fills, []], strict=False) for part in pair)
        return tuple(chain.from_iterable(parts))

    def encode(self, item: Item) -> Prompt:
        """An item's prompt. What does not fit is cut at its end: the text, and once it is gone, long options.

        Raises:
            ModelError: the prompt does not fit even so, or the item has no options.
        """
        content, options_cut = self._content(item)
        place = next(index for index, piece in enumerate(self._pieces) if piece.field == "text")
        text, text_cut = self._encode_text(self._pieces[place].gap + item.text, self._room(content))
        fills = (*content.fills[:place], text, *content.fills[place + 1 :])
        parts = (part for pair in zip(self._fixed, fills, strict=True) for part in pair)
        tokens = tuple(chain.from_iterable(parts))
        return Prompt(item.item_id, tokens, content.labels, options_cut or text_cut)

    def encode_content_free(self, item: Item) -> Prompt:
        """The prompt of an empty input with the labels of ``item`` (for contextual calibration)."""
        return self.encode(Item(item_id=item.item_id, text=CONTENT_FREE, options=item.options))

    # -- rendering -----------------------------------------------------------------------------------------

    def _render(self, instruction: str, message: str) -> str:
        """The whole prompt, with marks."""
        instruction, message = _mark(instruction), _mark(message)
        joined = "\n\n".join(part for part in (instruction, message) if part)
        if not self.is_chat:
            return joined if self._task.spec.template else joined + _PLAIN_TAILS[_kind(self._task.spec)]
        user = {"role": "user", "content": message}
        if instruction:
            try:
                rendered = self._apply_template([{"role": "system", "content": instruction}, user])
                if instruction.strip() in rendered:
                    return rendered
            except (TemplateError, ValueError, TypeError):
                pass  # the model's template knows no system message
        try:
            return self._apply_template([{"role": "user", "content": joined}])
        except (TemplateError, ValueError, TypeError) as exc:
            raise ModelError(
                f"the model's chat template cannot be used: {exc}. Set task.chat_template: false."
            ) from exc

    def _apply_template(self, messages: list[dict[str, str]]) -> str:
        rendered = self._tokenizer.apply_chat_template(
            messages,
            chat_template=_FIXED_CLOCK + self._tokenizer.get_chat_template(),
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return str(rendered)

    def _cut(self, rendered: str) -> tuple[_Piece, ...]:
        """Pieces of a rendered prompt; the last one is fixed text."""
        parts = re.split("|".join(f"({re.escape(_mark_of(field))})" for field in _FIELDS), rendered)
        strings = [part for part in parts if part is not None]
        fields = {_mark_of(field): field for field in _FIELDS}
        pieces: list[_Piece] = []
        before = ""
        for string in strings:
            if string in fields:
                gap = " " if before.endswith(" ") else ""
                pieces.append(_Piece(before.removesuffix(" "), fields[string], gap))
                before = ""
            else:
                before += string
        names = [piece.field for piece in pieces]
        if names.count("text") != 1:
            raise ConfigError(
                f"task.template: {{text}} must occur once, it occurs {names.count('text')} times."
            )
        if self._task.is_multiple_choice and "options" not in names and self._task.spec.answer == "letter":
            raise ConfigError(
                "task.template: {options} is missing; the model cannot answer with a letter without it."
            )
        return (*pieces, _Piece(before))

    def _encode_fixed(self, index: int, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids if text else []
        if index == 0 and not self.is_chat:
            start: list[int] = self._tokenizer("", add_special_tokens=True).input_ids[:1]
            if start == [self._tokenizer.bos_token_id]:
                return start + ids
        return ids

    # -- content -------------------------------------------------------------------------------------------

    @cached_property
    def _control(self) -> re.Pattern[str] | None:
        """Where any of the tokenizer's added tokens begins in a text."""
        added = {str(token) for token in self._tokenizer.added_tokens_decoder.values()}
        words = sorted(
            (word for word in added if len(word) > 1 and not word.isspace()), key=len, reverse=True
        )
        return re.compile(f"(?={'|'.join(map(re.escape, words))})") if words else None

    def _encode_content(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a control token is cut after its first character."""
        starts = [match.start() + 1 for match in self._control.finditer(text)] if self._control else []
        pieces = [text[a:b] for a, b in pairwise([0, *starts, len(text)])]
        return [
            token for piece in pieces for token in self._tokenizer(piece, add_special_tokens=False).input_ids
        ]

    def _encode_text(self, text: str, room: int) -> tuple[list[int], bool]:
        head = text[: room * _CHARACTERS_A_TOKEN]
        ids = self._encode_content(head)
        return ids[:room], len(ids) > room or len(head) < len(text)

    def _content(self, item: Item) -> tuple[_Content, bool]:
        """What the item puts in besides its text, and whether options had to be cut for it to fit.

        Raises:
            ModelError: it does not fit even without options, or the item lacks them.
        """
        head = self._max_tokens * _CHARACTERS_A_TOKEN
        short = replace(item, options=tuple(option[:head] for option in item.options))
        content = _Content(tuple(self._fill(piece, short) for piece in self._pieces), self._labels(short))
        room = self._room(content)
        if room > 0 or (room == 0 and item.options):
            return content, short != item
        if not item.options:
            raise self._no_room(item, content)
        return self._cut_options(short, content), True

    def _fill(self, piece: _Piece, item: Item) -> list[int]:
        """Ids of labels or options; none for the text, which waits for its room, and where no field is."""
        if piece.field in (None, "text"):
            return []
        if piece.field == "labels":
            return self._encode_content(piece.gap + ", ".join(self._spellings))
        names = self._task.label_names(item)
        lines = [f"{name}. {option}" for name, option in zip(names, item.options, strict=False)]
        return self._encode_content(piece.gap + "\n".join(lines))

    def _cut_options(self, item: Item, whole: _Content) -> _Content:
        """All options longer than a common length cut to it, the longest with which the prompt fits."""
        lines = [self._lines(piece, item) for piece in self._pieces]
        spelled = self._encode_spellings(item.options) if self._task.spec.answer == "text" else ()

        def cut_to(size: int) -> _Content:
            fills = (
                list(chain.from_iterable(line.cut(size) for line in own)) if own else fill
                for own, fill in zip(lines, whole.fills, strict=True)
            )
            labels = _ended([label[: max(1, size)] for label in spelled], self._end_token)
            return _Content(tuple(fills), labels or whole.labels)

        sizes = [len(line.option) for own in lines for line in own] + [len(label) for label in spelled]
        size = bisect_right(range(max(sizes, default=0) + 1), 0, key=lambda n: -self._room(cut_to(n))) - 1
        if size < 0:
            raise self._no_room(item, cut_to(0))
        return cut_to(size)

    def _lines(self, piece: _Piece, item: Item) -> list[_Line]:
        """The item's options where the piece shows them, else none."""
        if piece.field != "options":
            return []
        gaps = [piece.gap, *[""] * (len(item.options) - 1)]
        ends = [*["\n"] * (len(item.options) - 1), ""]
        parts = zip(gaps, self._task.label_names(item), item.options, ends, strict=True)
        encode = self._encode_content
        return [
            _Line(encode(f"{gap}{name}."), encode(f" {option}"), encode(end))
            for gap, name, option, end in parts
        ]

    def _limit(self, content: _Content) -> int:
        """The most tokens that a prompt with these labels may have."""
        return min(self._max_tokens, self._context - max(map(len, content.labels)))

    def _used(self, content: _Content) -> int:
        return sum(map(len, self._fixed)) + sum(map(len, content.fills))

    def _room(self, content: _Content) -> int:
        """Tokens left for the text; negative where the prompt does not fit without it."""
        return self._limit(content) - self._used(content)

    def _no_room(self, item: Item, content: _Content) -> ModelError:
        whose = f"item {item.external_id or item.item_id}: " if item.item_id else ""
        without = "text and options" if item.options else "text"
        limit = self._limit(content)
        advice = "Raise model.max_tokens, or shorten" if limit == self._max_tokens else "Shorten"
        return ModelError(
            f"{whose}the prompt without any {without} has {self._used(content)} tokens, {limit} fit. "
            f"{advice} task.instruction, task.template or the labels."
        )

    # -- labels --------------------------------------------------------------------------------------------

    def _labels(self, item: Item) -> tuple[tuple[int, ...], ...]:
        if not self._task.is_multiple_choice:
            return self._class_labels
        if not item.options:
            raise ModelError(f"item {item.external_id or item.item_id}: it has no options to choose from.")
        if self._task.spec.answer == "letter":
            return self._letters[: len(item.options)]
        return _ended(self._encode_spellings(item.options), self._end_token)

    @cached_property
    def _letters(self) -> tuple[tuple[int, ...], ...]:
        return self._encode_labels(tuple(LETTERS))

    def _encode_labels(self, spellings: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Ids of labels that must differ; equal options of an item merely get equal probabilities."""
        labels = self._encode_spellings(spellings)
        seen: dict[tuple[int, ...], str] = {}
        for spelling, label in zip(spellings, labels, strict=True):
            if label in seen:
                raise ModelError(
                    f"the labels {seen[label]!r} and {spelling!r} are the same to the tokenizer. "
                    "Give one of them another verbaliser."
                )
            seen[label] = spelling
        return _ended(labels, self._end_token)

    def _encode_spellings(self, spellings: Sequence[str]) -> list[tuple[int, ...]]:
        labels = [tuple(self._encode_content(self._gap + spelling.strip())) for spelling in spellings]
        if () in labels:
            empty = spellings[labels.index(())]
            raise ModelError(f"the label {empty!r} has no tokens. Give it another verbaliser.")
        return labels

    @property
    def _end_token(self) -> int:
        end = self._tokenizer.eos_token_id
        return int(end if end is not None else self._tokenizer("\n", add_special_tokens=False).input_ids[-1])


def _ended(labels: Sequence[tuple[int, ...]], end_token: int) -> tuple[tuple[int, ...], ...]:
    """Labels with an end token on all of them when one begins another."""
    if is_prefix_free(labels):
        return tuple(labels)
    return tuple((*label, end_token) for label in labels)


def _kind(spec: TaskSpec) -> tuple[str, str]:
    return spec.kind, spec.answer if spec.kind == "multiple_choice" else "letter"


def _messages(spec: TaskSpec) -> tuple[str, str]:
    """Instruction and user message, with fields in braces."""
    instruction = _INSTRUCTIONS[_kind(spec)] if spec.instruction is None else spec.instruction
    return instruction, _TEMPLATES[spec.kind] if spec.template is None else spec.template


def _mark_of(field: str) -> str:
    return f"⟦star-al {field}⟧"


def _mark(text: str) -> str:
    """A text with marks for ``{text}``, ``{labels}`` and ``{options}``; other braces stay what they are."""
    return re.sub(r"\{(text|labels|options)\}", lambda match: _mark_of(match[1]), text)
