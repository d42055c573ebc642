"""Prompts and completions that are stored as lists of messages, ``[{"role": …, "content": …}]``, as texts."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.types import JsonObject, JsonValue

_TURN = "\n\nAssistant:"
"""What comes before a turn of the assistant where a conversation is one text, as in the HH-RLHF data."""


def is_messages(raw: JsonValue) -> bool:
    """Return whether a value is a list of messages."""
    return (
        isinstance(raw, (list, tuple))
        and bool(raw)
        and all(isinstance(each, dict) and "role" in each and "content" in each for each in raw)
    )


def prompt_text(raw: JsonValue) -> JsonValue:
    """Return the messages up to the last one by the assistant as a text; anything else as it is.

    A single message is its content; several begin with their role each.
    """
    if not is_messages(raw):
        return raw
    messages = _messages(raw)
    asked = messages[: len(messages) - len(_answers(messages))]
    if len(asked) == 1:
        return _content(asked[0])
    return "\n\n".join(f"{str(each['role']).capitalize()}: {_content(each)}" for each in asked)


def completion_text(raw: JsonValue) -> JsonValue:
    """Return what the assistant says at the end of messages as a text; anything else as it is."""
    return "\n\n".join(map(_content, _answers(_messages(raw)))) if is_messages(raw) else raw


def has_completion(raw: JsonValue) -> bool:
    """Return whether a value holds both a prompt and what the assistant says to it, as messages or a transcript."""
    if is_messages(raw):
        answers = _answers(_messages(raw))
        return 0 < len(answers) < len(_messages(raw))
    return isinstance(raw, str) and _TURN in raw


def split_transcript(raw: JsonValue) -> tuple[JsonValue, JsonValue]:
    """Return a transcript up to the assistant's last turn, and this turn; of anything else, it twice."""
    if not isinstance(raw, str) or _TURN not in raw:
        return raw, raw
    prompt, _, completion = raw.rpartition(_TURN)
    return prompt + _TURN, completion.strip()


def _messages(raw: JsonValue) -> list[JsonObject]:
    return [each for each in raw if isinstance(each, dict)] if isinstance(raw, (list, tuple)) else []


def _answers(messages: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """The messages by the assistant at the end."""
    start = len(messages)
    while start and messages[start - 1]["role"] == "assistant":
        start -= 1
    return messages[start:]


def _content(message: JsonObject) -> str:
    """A message's text; of parts such as images, only texts count."""
    content = message["content"]
    if isinstance(content, (list, tuple)):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
