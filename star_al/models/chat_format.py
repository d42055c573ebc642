"""How a model's chat template writes a user's message and the answer to it.

An answer begins where the template lets an assistant's own words begin, and ends with what it writes after them.
Both are read off a conversation with a mark in place of the answer. The prompt to generate from
(``add_generation_prompt``) is no guide: it may open a block of thoughts, in which no label comes next, or stop
before a header that the model would write first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
_ROLE_LINE = re.compile(r"(?:^|(?<=[\n\s]))(?:#{1,6} ?)?[A-Z][\w ]{0,40}:")


@dataclass(frozen=True)
class ChatFormat:
    """A prompt as a chat template writes it.

    Attributes:
        prompt: The prompt up to where the answer begins.
        end: What follows the answer; empty if the template says nothing about it.
        between: What the template writes around messages, without their content.
    """

    prompt: str
    end: str
    between: tuple[str, ...]


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
    user: Message = {"role": "user", "content": message}
    system: Message = {"role": "system", "content": instruction}
    joined: Message = {
        "role": "user",
        "content": "\n\n".join(part for part in (instruction, message) if part),
    }
    choices = [*([(system, user)] if instruction else []), (joined,)]
    conversations = [one for messages in choices for one in _conversations(messages)]
    rendered = render(tokenizer, [*conversations, *_SKELETONS])
    skeletons = rendered[len(conversations) :]
    between = _between(skeletons)
    size = len(conversations) // len(choices)
    for index in range(len(choices)):
        own = rendered[index * size : (index + 1) * size]
        last = index == len(choices) - 1
        if own[0].text is not None and (last or instruction.strip() in own[0].text):
            prompt, end = _answered(own, tokenizer.get_chat_template())
            return ChatFormat(prompt, end, (*between, end))
    raise unusable(rendered[(len(choices) - 1) * size].error)


def _conversations(messages: Sequence[Message]) -> list[Conversation]:
    """Return what is rendered of messages: twice to be answered, then answered, then answered and gone on from."""
    answered = (*messages, {"role": "assistant", "content": ANSWER})
    return [
        Conversation(tuple(messages), prompts_answer=True),
        Conversation(tuple(messages), prompts_answer=True, thinks=True),
        Conversation(answered),
        Conversation((*answered, {"role": "user", "content": _NEXT})),
    ]


def _answered(rendered: Sequence[Rendered], template: str) -> tuple[str, str]:
    """Return what comes before and after an answer.

    Raises:
        ModelError: A block of thoughts is open where the answer would begin.
    """
    generated, thoughtful, answered, continued = rendered
    prompt, end = generated.text or "", ""
    for text in (answered.text, continued.text):
        # An answer that occurs twice, or not at all, shows nothing.
        if text is not None and text.count(ANSWER) == 1:
            before, end = text.split(ANSWER)
            end = end.split(_NEXT)[0]
            closes = thoughtful.text is not None and thoughtful.text != generated.text
            addition = prompt[len(before) :] if prompt.startswith(before) else ""
            if not _is_closed(addition, template, on_request=closes):
                prompt = before
            break
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

_TURNS = tuple(
    {"role": role, "content": mark}
    for role, mark in (("user", _USER), ("assistant", ANSWER), ("user", _NEXT))
)
_SKELETONS = (
    Conversation(({"role": "system", "content": _SYSTEM}, *_TURNS)),
    Conversation(_TURNS),
    Conversation(_TURNS[:1], prompts_answer=True),
)


def _between(skeletons: Iterable[Rendered]) -> tuple[str, ...]:
    """Return what a template writes before, between and after messages."""
    marks = "|".join(map(re.escape, (_SYSTEM, _USER, ANSWER, _NEXT)))
    found: dict[str, None] = {}
    for rendered in skeletons:
        found |= dict.fromkeys(re.split(marks, rendered.text or ""))
    return tuple(text for text in found if text)


def plain_markers(between: Sequence[str], special: Iterable[str]) -> tuple[str, ...]:
    """Return the marks of turns that a template writes as ordinary text, which a user's text may hold as well.

    Args:
        between: What the template writes around messages.
        special: The tokens that content cannot hold.

    Returns:
        Words in brackets, such as ``[/INST]``, and, where no special token ends a turn, lines such as
        ``ASSISTANT:``; without repetition.
    """
    tokens = sorted({token for token in special if any(token in text for text in between)}, key=len)[::-1]
    cut = re.compile("|".join(map(re.escape, tokens))) if tokens else None
    found: dict[str, None] = {}
    for text in between:
        runs = cut.split(text) if cut else [text]
        for run in runs:
            found |= dict.fromkeys(_BRACKETED.findall(run))
        if len(runs) == 1:
            found |= dict.fromkeys(line.strip() for line in _ROLE_LINE.findall(text))
    return tuple(found)
