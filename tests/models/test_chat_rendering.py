"""Chat templates are rendered as transformers does, in a process that can be ended."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from star_al.errors import ModelError
from star_al.models import chat_rendering
from star_al.models.chat_rendering import Conversation, render
from support.tiny_model import CHAT_TEMPLATE, build_tokenizer

TALK = ({"role": "user", "content": "a <b> & ü"}, {"role": "assistant", "content": "c"})


def tokenizer_with(template: str) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


TEMPLATES = {
    "usual": CHAT_TEMPLATE,
    "white space": "  {% for m in messages %}\n  {{ m.content }}\n  {% endfor %}\n\n x",
    "tojson": "{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}",
    "loop controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}",
    "tokens": "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}",
    "absent": "{{ tools is none }}{{ documents is none }}{{ absent is defined }}{{ messages[0].absent }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "no thoughts": "{% if enable_thinking is defined and not enable_thinking %}quick{% endif %}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("prompts_answer", [False, True])
def test_equals_transformers(template: str, prompts_answer: bool) -> None:
    tokenizer = tokenizer_with(template)
    own = tokenizer.apply_chat_template(
        list(TALK), tokenize=False, add_generation_prompt=prompts_answer, enable_thinking=False
    )
    (rendered,) = render(tokenizer, [Conversation(TALK, prompts_answer=prompts_answer)])
    assert rendered.text == own


def test_a_conversation_that_is_refused_leaves_the_others() -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ messages | length }}"
    )
    system = Conversation(({"role": "system", "content": "x"},))
    refused, rendered = render(tokenizer_with(template), [system, Conversation(TALK)])
    assert (refused.text, refused.error) == (None, "no system")
    assert rendered.text == "2"


ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "one step": "{{ 9 ** (9 ** 9) }}",
    "calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_does_not_end_is_ended(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_rendering, "_SECONDS", 1)
    with pytest.raises(
        ModelError, match=r"chat template cannot be used: it did not end within 1 seconds.*false"
    ):
        render(tokenizer_with(template), [Conversation(TALK)])


def test_a_template_that_does_not_end_is_ended_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_rendering, "_SECONDS", 1)
    errors: list[BaseException] = []
    tokenizer = tokenizer_with(ENDLESS["loops"])

    def work() -> None:
        try:
            render(tokenizer, [Conversation(TALK)])
        except ModelError as exc:
            errors.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert len(errors) == 1


def test_a_template_that_waits_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_rendering, "_SECONDS", 100)
    monkeypatch.setattr(chat_rendering, "_WAIT_SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(ModelError, match="did not end"):
        render(tokenizer_with(ENDLESS["loops"]), [Conversation(TALK)])
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "it writes too much"),
        ("{{ 'x' * 10 ** 10 }}", "it needs too much memory"),
    ],
)
def test_a_template_that_writes_without_end_is_refused(template: str, why: str) -> None:
    with pytest.raises(ModelError, match=f"chat template cannot be used: {why}"):
        render(tokenizer_with(template), [Conversation(TALK)])


def test_a_template_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    real: Callable[..., Any] = subprocess.run

    def run(*args: Any, **settings: Any) -> Any:
        started.append(args)
        return real(*args, **settings)

    monkeypatch.setattr("star_al.models.chat_rendering.subprocess.run", run)
    tokenizer = tokenizer_with(CHAT_TEMPLATE + "once")
    assert render(tokenizer, [Conversation(TALK)]) == render(tokenizer, [Conversation(TALK)])
    assert len(started) == 1
