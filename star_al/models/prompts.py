"""What the model reads of an item, and how its labels are spelled, as token ids.

If a prompt is too long, its text is cut first, then the item's options, and nothing else. Prompt and label
are tokenised separately, so that no token reaches across the border (docs/methods.md, "Label probabilities").
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

from star_al.errors import ModelError
from star_al.models.chat_format import plain_markers
from star_al.models.content import ContentEncoder, control_tokens
from star_al.models.label_encoder import LabelEncoder, Labels
from star_al.models.label_tree import is_prefix_free, label_tree
from star_al.models.piece_tokenizer import PieceTokenizer
from star_al.models.prompt_fields import PromptFields
from star_al.models.prompt_template import Piece, PromptTemplate, prompt_template, uses_chat
from star_al.models.writing.ending import Ending
from star_al.task import LETTERS, Task
from star_al.types import Item, JsonObject, JsonValue

PROMPTS_VERSION = 2
"""Version of how prompts are read. It grows if models may read the same texts otherwise than before."""

CONTENT_FREE = "N/A"
"""The text of a content-free input (Zhao et al. 2021, arXiv 2102.09690)."""

_CHARACTERS_PER_TOKEN = 64
"""A text is cut to so many characters for each token of room before it is tokenised: a book takes no longer."""


@dataclass(frozen=True)
class Reward:
    """What turns log-likelihoods of completions into rewards, β (log p − log p₀) (Rafailov et al. 2023).

    Attributes:
        beta: β.
        reference: log p₀ of each label's tokens by the base model, up to a constant of the prompt.
    """

    beta: float
    reference: tuple[float, ...]


@dataclass(frozen=True)
class Prompt:
    """Token ids of an item's prompt and of each of its labels.

    Attributes:
        item_id: The item.
        tokens: The prompt, without any label.
        labels: The labels, in the order of the task's columns.
        truncated: True if the text or an option was cut.
        text: Where the item's text begins and ends among the tokens.
        paired: True if only the labels of a pair compete with each other, the first two, the next two and so on: they
            are the answers to questions of their own.
        reward: By which its labels are compared; None to compare their log-likelihoods.
    """

    item_id: str
    tokens: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    truncated: bool = False
    text: tuple[int, int] = (0, 0)
    paired: bool = False
    reward: Reward | None = None

    def __len__(self) -> int:
        """Return the number of tokens of the prompt with all its labels in one sequence."""
        return len(self.tokens) + len(label_tree(self.labels))


@dataclass(frozen=True)
class _Content:
    """What an item puts into the prompt besides its text: token ids for each piece, and labels."""

    fills: tuple[Sequence[int], ...]
    labels: tuple[tuple[int, ...], ...]


class PromptFormat:
    """How the items of a task are shown to one model.

    Args:
        tokenizer: The model's tokenizer.
        task: The task.
        max_tokens: Limit for the prompt with the text.
        context: The model's limit, for the prompt with the text and a label.

    Attributes:
        is_chat: True if prompts are made by the tokenizer's chat template.

    Raises:
        ConfigError: The template lacks a field that it needs.
        ModelError: No text fits beside the prompt, two labels are the same tokens, the chat template cannot be
            used, or the tokenizer does not know a label or cannot read a prompt in parts.
    """

    paired: ClassVar[bool] = False
    """True if labels are answers to questions of their own, two each."""

    def __init__(self, tokenizer: Any, task: Task, *, max_tokens: int, context: int) -> None:
        self._tokenizer = tokenizer
        self._task = task
        self._max_tokens = max_tokens
        self._context = context
        self._parts = PieceTokenizer(tokenizer)
        self._control = control_tokens(tokenizer)
        self.is_chat = uses_chat(task.spec, tokenizer)
        self._template = self._fit_gap(prompt_template(task.spec, tokenizer))
        self._pieces, self._gap = self._template.pieces, self._template.gap
        self._spellings = task.spellings
        self._completion = task.spec.completion
        self.markers = plain_markers(self._template.chat, self._control)
        self._content = ContentEncoder(self._parts, self._control, self.markers, tokenizer.unk_token_id)
        self._fields = PromptFields(
            self._template,
            task,
            parts=self._parts,
            content=self._content,
            opens=not self.is_chat,
        )
        self._answers = LabelEncoder(
            tokenizer,
            self._parts,
            self._content,
            tail=self._pieces[-1].text,
            gap=self._gap,
            end=self._template.chat.end,
            control=self._control.values(),
        )
        self._letters_of: dict[int, Labels] = {}
        # Fail now, and not at the first item, if nothing fits beside the prompt.
        self.encode(Item(item_id="", text="", options=task.sample_options))
        self._fields.check(tokenizer, self._answers)

    def _fit_gap(self, template: PromptTemplate) -> PromptTemplate:
        """Move white space before a field or a label there, for tokenizers that join it to the next word."""
        if self._parts.is_neutral:
            return template
        joined = None if self._parts.breaks_are_spaces else " "
        pieces = []
        for piece in template.pieces:
            text = piece.text.rstrip(joined)
            pieces.append(Piece(text, piece.field, piece.text[len(text) :] + piece.gap))
        last = pieces.pop()
        return replace(template, pieces=(*pieces, Piece(last.text)), gap=last.gap + template.gap)

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that token ids depend on besides the tokenizer and the item."""
        spec = self._task.spec
        pieces = [astuple(piece) for piece in self._pieces]
        answer = "text" if spec.scored_on == "option" else "letter"  # as the setting `answer` has it
        labels = [spec.kind, answer, spec.label_names, self._spellings, self._gap]
        parts = [pieces, labels, self.is_chat, self._max_tokens, self._context, *self._departures()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _departures(self) -> list[JsonObject]:
        """Return in what the ids depart from those of version 0.1: nothing for models that it read rightly.

        So the key of such a model stays, and with it what is stored under the key.
        """
        by_option = self._task.spec.scored_on == "option"
        needs_end = by_option or not is_prefix_free(self._answers.spelled(self._spellings))
        ordinary = [token for token in self._parts.added if not token.isspace() and len(token) > 1]
        departures: dict[str, JsonValue] = {}
        if not self._parts.is_neutral:
            departures["anchored"] = True
        if needs_end and self._answers.end != (self._tokenizer.eos_token_id,):
            departures["end"] = list(self._answers.end)
        if not self.is_chat and self._parts.opening not in ([], [self._tokenizer.bos_token_id]):
            departures["opening"] = list(self._parts.opening)
        if any(t not in self._control or any(t in s for s in self._spellings) for t in ordinary):
            departures["words stay whole"] = True
        if self._task.listing != ", ".join(self._spellings):
            departures["labels"] = self._task.listing
        if self.markers:
            departures["markers"] = list(self.markers)
        if self._completion is not None:
            departures["completion"] = [self._completion.max_completion_tokens, list(self._answers.end)]
            departures["beta"] = self._completion.beta
        if longest := self._task.spec.longest_answer:
            departures["written"] = [longest, list(self._answers.end)]
        return [departures] if departures else []

    @cached_property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that begin every prompt: everything before the first field that an item fills in."""
        first = next(index for index, piece in enumerate(self._pieces) if piece.field in ("text", "options"))
        empty = Item(item_id="", text="")
        fills = [self._fields.fill(index, empty) for index in range(first)]
        parts = (part for pair in zip(self._fields.fixed, [*fills, []], strict=False) for part in pair)
        return tuple(chain.from_iterable(parts))

    def encode(self, item: Item) -> Prompt:
        """Encode an item. If it is too long, its text is cut at the end, and once that is gone, long options.

        Raises:
            ModelError: The prompt does not fit even then, or the item has no options.
        """
        content, options_cut = self._content_of(item)
        place = next(index for index, piece in enumerate(self._pieces) if piece.field == "text")
        text, text_cut = self._encode_text(place, item.text, self._room(content))
        fills = (*content.fills[:place], text, *content.fills[place + 1 :])
        parts = [part for pair in zip(self._fields.fixed, fills, strict=True) for part in pair]
        start = sum(map(len, parts[: 2 * place + 1]))
        tokens = tuple(chain.from_iterable(parts))
        span = (start, start + len(text))
        return Prompt(item.item_id, tokens, content.labels, options_cut or text_cut, span)

    def encode_content_free(self, item: Item) -> Prompt:
        """Encode a content-free input with the labels of ``item``, for contextual calibration."""
        return self.encode(Item(item_id=item.item_id, text=CONTENT_FREE, options=item.options))

    def written(self, text: str) -> tuple[int, ...]:
        """Return the ids of an answer as the model is to write it, its end included; cut at the longest answer."""
        label = (*self._answers.options([text])[0], *self._answers.end)
        return label[: self._task.spec.longest_answer]

    def ending(self, model: Any) -> Ending:
        """Return when an answer that the model writes is over.

        Args:
            model: It may know further ends.
        """
        return Ending.of(self._answers.end, frozenset(self._control.values()), model, self._tokenizer)

    def record(self) -> JsonObject:
        """Return what a program with the same tokenizer needs to encode items as ``encode`` does, as JSON values."""
        choice, scored_on = self._task.has_options, self._task.spec.scored_on
        return {
            "pieces": self._fields.record(),
            "has_options": choice,
            "labels": [] if choice else [list(label) for label in self._class_labels],
            "letters": self._letters_record() if scored_on == "letter" else {},
            "tail": self._pieces[-1].text,
            "gap": self._gap,
            "end": self._end_record() if scored_on in ("option", "completion") else [],
            "completion": None if self._completion is None else asdict(self._completion),
            "max_tokens": self._max_tokens,
            "context": self._context - self._task.spec.longest_answer,
            "control": dict(self._control),
            "markers": list(self.markers),
            "unknown": self._tokenizer.unk_token_id,
        }

    def _letters_record(self) -> JsonObject:
        """The letters' labels by number of options, as far as the tokenizer knows the letters."""
        found: dict[str, JsonValue] = {}
        for n in range(2, len(LETTERS) + 1):
            try:
                found[str(n)] = [list(label) for label in self._letters(n)]
            except ModelError:
                break
        return found

    def _end_record(self) -> list[JsonValue]:
        """What ends an answer; empty if the tokenizer has nothing for it."""
        try:
            return list(self._answers.end)
        except ModelError:
            return []

    @property
    def template(self) -> str:
        """The prompt as text, with ``{text}`` and ``{options}`` for what an item fills in."""
        return self._fields.shown({"text": "{text}", "options": "{options}"})

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about how this model reads the prompt."""
        found = []
        if self.markers:
            found.append(
                f"The model's chat template marks turns by ordinary text ({', '.join(self.markers)}). Where an "
                "item's text holds such a mark, a space is put into it, so that the text cannot end its turn"
            )
        unknown = self._fields.unknown_characters(self._tokenizer.unk_token_id)
        if unknown:
            found.append(
                f"The tokenizer does not know {', '.join(map(repr, unknown))} in the prompt. Set task.instruction "
                "and task.template to texts without"
            )
        return tuple(found)

    # -- content -------------------------------------------------------------------------------------------

    def _encode_text(self, place: int, text: str, room: int) -> tuple[list[int], bool]:
        """Return at most ``room`` ids of the text that fills a piece, and whether it was cut."""
        whole = self._pieces[place].gap + text
        head = whole[: room * _CHARACTERS_PER_TOKEN]
        ids = self._fields.text(place, head)
        return ids[:room], len(ids) > room or len(head) < len(whole)

    def _content_of(self, item: Item) -> tuple[_Content, bool]:
        """Return what the item puts in besides its text, and whether options were cut to make it fit.

        Raises:
            ModelError: It does not fit even without options, or the item has none although the task needs
                them.
        """
        longest = self._completion.max_completion_tokens if self._completion else 0
        head = max(self._max_tokens, longest) * _CHARACTERS_PER_TOKEN
        short = replace(item, options=tuple(option[:head] for option in item.options))
        fills = tuple(self._fields.fill(index, short) for index in range(len(self._pieces)))
        content = _Content(fills, self._labels(short))
        room = self._room(content)
        if room > 0 or (room == 0 and item.options):
            return content, short != item or self._are_cut(content.labels)
        if not item.options:
            raise self._no_room(item, content)
        return self._cut_options(short, content), True

    def _cut_options(self, item: Item, whole: _Content) -> _Content:
        """Cut options to a common length, the longest with which the prompt fits."""
        lines = [self._fields.option_lines(index, item) for index in range(len(self._pieces))]
        spelled = self._spelled_options(item)

        def cut_to(size: int) -> _Content:
            fills = (
                list(chain.from_iterable(line.cut(size) for line in own)) if own else fill
                for own, fill in zip(lines, whole.fills, strict=True)
            )
            labels = self._cut_labels(spelled, max(1, size))
            return _Content(tuple(fills), labels or whole.labels)

        sizes = [len(line.option) for own in lines for line in own] + [len(label) for label in spelled]
        # The room only falls as options grow, so the longest length that leaves some is found by bisection.
        size = bisect_right(range(max(sizes, default=0) + 1), 0, key=lambda n: -self._room(cut_to(n))) - 1
        if size < 0:
            raise self._no_room(item, cut_to(0))
        return cut_to(size)

    def _limit(self, content: _Content) -> int:
        """Return the number of tokens that a prompt with these labels may have."""
        longest = max(map(len, content.labels), default=self._task.spec.longest_answer)
        return min(self._max_tokens, self._context - longest)

    def _used(self, content: _Content) -> int:
        return sum(map(len, self._fields.fixed)) + sum(map(len, content.fills))

    def _room(self, content: _Content) -> int:
        """Return the number of tokens left for the text; negative if the prompt does not fit even without it."""
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

    def _labels(self, item: Item) -> Labels:
        if self._task.has_options and not item.options:
            raise ModelError(f"item {item.external_id or item.item_id}: it has no options to choose from.")
        match self._task.spec.scored_on:
            case "label":
                return self._class_labels
            case "letter":
                return self._letters(len(item.options))
            case "option":
                return self._answers.ended(self._answers.options(item.options))
            case "completion":
                assert self._completion is not None
                return self._cut_labels(self._spelled_options(item), self._completion.max_completion_tokens)

    def _spelled_options(self, item: Item) -> Labels:
        """Return the ids of an item's options if the model is scored on them; completions have their end."""
        match self._task.spec.scored_on:
            case "option":
                return self._answers.options(item.options)
            case "completion":
                return tuple((*ids, *self._answers.end) for ids in self._answers.options(item.options))
        return ()

    def _cut_labels(self, spelled: Labels, size: int) -> Labels:
        """Cut labels to a length. Options end alike, so that they can be compared; a cut completion has no end."""
        cut = [label[:size] for label in spelled]
        return tuple(cut) if self._completion is not None else self._answers.ended(cut)

    def _are_cut(self, labels: Labels) -> bool:
        """Return whether a completion lost its end."""
        end = self._answers.end if self._completion is not None else ()
        return any(label[len(label) - len(end) :] != end for label in labels)

    def rewarded(self, prompt: Prompt, reference: Sequence[float]) -> Prompt:
        """Return a prompt whose completions are compared by their rewards.

        Args:
            prompt: The prompt.
            reference: log p₀ of each completion.
        """
        assert self._completion is not None
        return replace(prompt, reward=Reward(self._completion.beta, tuple(map(float, reference))))

    @cached_property
    def _class_labels(self) -> Labels:
        return self._answers.distinct(self._spellings)

    def _letters(self, n: int) -> Labels:
        if n not in self._letters_of:
            self._letters_of[n] = self._answers.distinct(tuple(LETTERS[:n]))
        return self._letters_of[n]
