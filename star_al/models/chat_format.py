"""How a model's chat template writes a user's message and the answer to it.

An answer begins where the template lets an assistant's own words begin, and ends with what it writes after them.
Both are read off a conversation with a mark in place of the answer. The prompt to generate from
(``add_generation_prompt``) is no guide: it may open a block of thoughts, in which no label comes next, or stop
before a header that the model would write first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from star_al.errors import ModelError
from star_al.models.chat_rendering import ADVICE, Conversation, Message, Rendered, render, unusable

ANSWER = "⟦star-al answer⟧"
"""Stands for the answer in what is rendered."""

_SYSTEM, _USER, _NEXT = (f"⟦star-al {name}⟧" for name in ("system", "user", "next"))

_THOUGHTS = r"(?:\w+:)?(?:think|thinking|thought|thoughts|reason|reasoning|reflection|scratchpad|analysis)"
_OPENS = re.compile(rf"[<\[◁]\|?(?:START_)?({_THOUGHTS})\|?[>\]▷]", re.IGNORECASE)
_CLOSES = re.compile(rf"[<\[◁]\|?(?:/|END_)({_THOUGHTS})\|?[>\]▷]", re.IGNORECASE)
_TAG = re.compile(r"<(\w[\w:-]*)>")

_BRACKETED = re.compile(r"<{1,2}[^<>\s]{1,40}>{1,2}|\[[^\[\]\s]{1,40}\]")
_ROLE_LINE = re.compile(r"(?<!\S)(?:#{1,6} ?[^\W_][^\n:：]{0,40}[:：]?|[^\W\d_][\w ]{0,40}[:：])")


@dataclass(frozen=True)
class ChatFormat:
    """A prompt as a chat template writes it.

    Attributes:
        prompt: The prompt up to where the answer begins.
        end: What follows the answer; empty if the template says nothing about it.
        openings: What the template writes before the first message.
        between: What it writes after a message.
    """

    prompt: str
    end: str = ""
    openings: tuple[str, ...] = ()
    between: tuple[str, ...] = ()


def chat_format(tokenizer: Any, instruction: str, message: str) -> ChatFormat:
    """Render a prompt with the tokenizer's chat template.

    Args:
        tokenizer: Has a chat template.
        instruction: The system message; it begins the user's if the template knows no system message. May be
            empty.
        message: The user's message.

    Returns:
        The prompt and how an answer ends.

    Raises:
        ModelError: The template cannot be rendered, or lets no answer begin outside a block of thoughts.
    """
    why = ""
    for written in (str, _as_parts):
        rendered = _rendered(tokenizer, instruction, message, written)
        for choice in rendered.choices:
            if choice.shows_message:
                prompt, end = _answered(choice, tokenizer.get_chat_template())
                openings = tuple(dict.fromkeys(texts[0] for texts in rendered.segments))
                between = tuple(dict.fromkeys(text for texts in rendered.segments for text in texts[1:]))
                return ChatFormat(prompt, end, openings, between)
        why = why or rendered.choices[-1].generated.error
    raise unusable(why or "it leaves out the user's message")


def _as_parts(content: str) -> list[dict[str, str]]:
    """Return content as the templates of models with several kinds of input expect it."""
    return [{"type": "text", "text": content}]


@dataclass(frozen=True)
class _Choice:
    """A prompt in one of the ways to write it: prompted for an answer, answered, and gone on from.

    Attributes:
        needed: What must be in the prompt.
        generated: As the template prompts for an answer.
        thoughtful: The same, with thoughts wanted.
        answered: With an answer at the end.
        continued: With an answer and another message after it.
    """

    needed: tuple[str, ...]
    generated: Rendered
    thoughtful: Rendered
    answered: Rendered
    continued: Rendered

    @property
    def shows_message(self) -> bool:
        return self.generated.text is not None and _holds(self.generated.text, self.needed)

    @property
    def thinks_on_request(self) -> bool:
        return self.thoughtful.text not in (None, self.generated.text)


@dataclass(frozen=True)
class _Rendered:
    """Prompts, and of other conversations what is written around their messages."""

    choices: list[_Choice]
    segments: list[list[str]]


def _rendered(tokenizer: Any, instruction: str, message: str, written: Callable[[str], object]) -> _Rendered:
    """Render a prompt with a system message and, where a template knows none, as one message.

    Args:
        tokenizer: Has a chat template.
        instruction: The system message, or an empty text.
        message: The user's message.
        written: Makes a message's content of a text.
    """

    def turn(role: str, content: str) -> Message:
        return {"role": role, "content": written(content)}

    joined = "\n\n".join(part for part in (instruction, message) if part)
    marks = tuple(re.findall("⟦star-al \\w+⟧", message))
    ways: list[tuple[tuple[Message, ...], tuple[str, ...]]] = [((turn("user", joined),), marks)]
    if instruction:
        system = (turn("system", instruction), turn("user", message))
        ways.insert(0, (system, (instruction.strip(), *marks)))
    answer, going_on = turn("assistant", ANSWER), turn("user", _NEXT)
    talk = (turn("user", _USER), answer, going_on)
    skeletons = [
        Conversation((turn("system", _SYSTEM), *talk)),
        Conversation(talk),
        Conversation(talk[:1], prompts_answer=True),
    ]
    conversations = [
        conversation
        for messages, _ in ways
        for conversation in (
            Conversation(messages, prompts_answer=True),
            Conversation(messages, prompts_answer=True, thinks=True),
            Conversation((*messages, answer)),
            Conversation((*messages, answer, going_on)),
        )
    ]
    rendered = render(tokenizer, [*skeletons, *conversations])
    rows = iter(rendered[len(skeletons) :])
    choices = [_Choice(needed, next(rows), next(rows), next(rows), next(rows)) for _, needed in ways]
    return _Rendered(choices, _segments(rendered[: len(skeletons)]))


def _holds(text: str, needed: Iterable[str]) -> bool:
    return all(part in text for part in needed)


def _answered(choice: _Choice, template: str) -> tuple[str, str]:
    """Return what comes before and after an answer.

    Raises:
        ModelError: A block of thoughts is open where the answer would begin.
    """
    prompt, end = choice.generated.text or "", ""
    shown = [rendered.text.split(ANSWER) for rendered in (choice.answered, choice.continued) if rendered.text]
    # An answer that occurs twice, or not at all, shows nothing.
    shown = [parts for parts in shown if len(parts) == 2 and _holds(parts[0], choice.needed)]
    if shown:
        before = shown[0][0]
        # Some templates end an answer by nothing but the beginning of the next message.
        end = next((after.split(_NEXT)[0] for _, after in shown if after), "")
        addition = prompt.removeprefix(before) if prompt.startswith(before) else ""
        if not _is_closed(addition, template, on_request=choice.thinks_on_request):
            prompt = before
    if _is_open(prompt, template, end):
        raise ModelError(
            "the model's chat template begins each answer with a block of thoughts and does not close it: no "
            f"label can come next. {ADVICE}"
        )
    return prompt, end


def _is_closed(addition: str, template: str, *, on_request: bool) -> bool:
    """Return whether a prompt's additional ending is a block of thoughts that is closed again.

    Args:
        addition: What the prompt to generate from has after the beginning of an answer.
        template: The source of the template.
        on_request: True if the template writes it because no thoughts are wanted.
    """
    if not addition.strip() or _is_open(addition, template):
        return False
    return on_request or _CLOSES.search(addition) is not None


def _is_open(text: str, template: str, end: str = "") -> bool:
    """Return whether a text ends within a block that is not the answer itself.

    Args:
        text: The prompt, or its ending.
        template: The source of the template: a tag that it closes somewhere is a block.
        end: What follows the answer: a tag that is closed there holds the answer, unless it is for thoughts.
    """
    ending = text.rsplit("⟧", 1)[-1]
    for tag in _OPENS.finditer(ending):
        if tag[1].lower() not in (closing[1].lower() for closing in _CLOSES.finditer(ending, tag.end())):
            return True
    for tag in _TAG.finditer(ending):
        closing = f"</{tag[1]}>"
        if closing in template and closing not in ending[tag.end() :] and closing not in end:
            return True
    return False


# -- what marks a turn ---------------------------------------------------------------------------------------


def _segments(skeletons: Iterable[Rendered]) -> list[list[str]]:
    """Return what a template writes before, between and after messages."""
    marks = "|".join(map(re.escape, (_SYSTEM, _USER, ANSWER, _NEXT)))
    return [re.split(marks, rendered.text) for rendered in skeletons if rendered.text]


def plain_markers(chat: ChatFormat, special: Iterable[str]) -> tuple[str, ...]:
    """Return the marks of turns that a template writes as ordinary text, which a user's text may hold as well.

    Args:
        chat: How the template writes a prompt.
        special: The tokens that content cannot hold.

    Returns:
        Words in brackets, such as ``[/INST]``, and, where no special token ends a message, lines such as
        ``ASSISTANT:``; without repetition.
    """
    texts = [*chat.openings, *chat.between]
    tokens = sorted({token for token in special if any(token in text for text in texts)}, key=len)[::-1]
    cut = re.compile("|".join(map(re.escape, tokens)) or r"(?!)")
    found: dict[str, None] = {}
    for text in texts:
        for run in cut.split(text):
            found |= dict.fromkeys(_BRACKETED.findall(run))
    for text in chat.between:
        if not cut.search(text):
            found |= dict.fromkeys(line.strip() for line in _ROLE_LINE.findall(text))
    return tuple(found)
