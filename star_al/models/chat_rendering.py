"""Render conversations with a tokenizer's chat template, within limits of time, memory and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from star_al.errors import ModelError
from star_al.models import chat_worker

Message = Mapping[str, object]

ADVICE = "Set task.chat_template: false, or use another model."

_SECONDS = 5
"""Computing time of all conversations together; a usual template needs a hundredth of a second."""

_WAIT_SECONDS = 60
"""Time until the process is ended in any case; a busy machine may let it wait."""

_FIXED_CLOCK = "{% macro strftime_now(format) %}01 January 2025{% endmacro %}\n"
"""Put before a chat template, which may print today's date: a prompt must be the same tomorrow."""


@dataclass(frozen=True)
class Conversation:
    """Messages to render.

    Attributes:
        messages: Each with ``role`` and ``content``.
        prompts_answer: True to end with what the template writes where an answer is to be generated.
        thinks: What the template is told about thinking; most know no such thing.
    """

    messages: tuple[Message, ...]
    prompts_answer: bool = False
    thinks: bool = False


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, or ``None`` and why the template cannot render it."""

    text: str | None
    error: str = ""


def render(tokenizer: Any, conversations: Sequence[Conversation]) -> list[Rendered]:
    """Render conversations with the chat template of a tokenizer, all in one process.

    Args:
        tokenizer: Has a chat template.
        conversations: The conversations.

    Returns:
        What each becomes, in order. A template that refuses one may render the others.

    Raises:
        ModelError: The template does not end, or writes or needs too much.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError as exc:
        raise unusable(str(exc)) from exc
    variables = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    contexts = [
        {
            **variables,
            "messages": [dict(message) for message in one.messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": one.prompts_answer,
            "enable_thinking": one.thinks,
            "thinking": one.thinks,
        }
        for one in conversations
    ]
    return [
        Rendered(row.get("text"), row.get("error", ""))
        for row in json.loads(_run(_FIXED_CLOCK + template, json.dumps(contexts)))
    ]


@lru_cache(maxsize=64)
def _run(template: str, conversations: str) -> str:
    """Return what ``chat_worker`` writes about conversations given as JSON."""
    given = f'{{"seconds": {_SECONDS}, "template": {json.dumps(template)}, "conversations": {conversations}}}'
    search_path = os.pathsep.join(path for path in sys.path if path)
    try:
        ended = subprocess.run(
            [sys.executable, "-P", str(Path(chat_worker.__file__))],
            input=given.encode(),
            capture_output=True,
            timeout=_WAIT_SECONDS,
            env={**os.environ, "PYTHONPATH": search_path},
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _endless() from exc
    except OSError as exc:
        raise unusable(f"no process to render it in could be started ({exc.strerror or exc})") from exc
    # Past the limit the system sends SIGXCPU, and SIGKILL if that had no effect.
    if ended.returncode in (-getattr(signal, "SIGXCPU", 24), -signal.SIGKILL if os.name == "posix" else 1):
        raise _endless()
    if ended.returncode != 0:
        raise unusable(_last_line(ended.stderr) or f"rendering ended with code {ended.returncode}")
    answer = ended.stdout.decode()
    for limit in (chat_worker.TOO_LONG, chat_worker.TOO_LARGE):
        if any(row.get("error") == limit for row in json.loads(answer)):
            raise unusable(limit)
    return answer


def unusable(why: str) -> ModelError:
    """Return the error for a chat template that cannot be used."""
    return ModelError(f"the model's chat template cannot be used: {why.rstrip('.')}. {ADVICE}")


def _endless() -> ModelError:
    return unusable(f"it did not end within {_SECONDS} seconds")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
