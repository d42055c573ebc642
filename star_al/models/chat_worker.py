"""Render a chat template; run as a program of its own by ``chat_rendering``.

A template is code from whoever published the model, and may never end or fill the memory. A process can be ended;
nothing else can, in every thread, whatever the template computes. This file imports no more than jinja2, so that
the process starts at once. The environment is that of ``transformers.utils.chat_template_utils``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOO_LONG = "it writes too much"
TOO_LARGE = "it needs too much memory"

_MOST_CHARACTERS = 1_000_000
_MOST_MEMORY = 2**30


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks what an assistant says; it writes what is inside."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment in which chat templates are rendered."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    return made


def _tojson(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _render(template: str, conversation: dict[str, Any]) -> dict[str, str]:
    """Return the rendered conversation as ``text``, or why there is none as ``error``."""
    try:
        parts: list[str] = []
        size = 0
        for part in environment().from_string(template).generate(conversation):
            parts.append(part)
            size += len(part)
            if size > _MOST_CHARACTERS:
                return {"error": TOO_LONG}
        return {"text": "".join(parts)}
    except MemoryError:
        return {"error": TOO_LARGE}
    except Exception as exc:  # a template may raise anything that Python raises
        return {"error": str(exc) or type(exc).__name__}


def _limit(seconds: int) -> None:
    """Limit the memory and the computing time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit is all there is
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if sys.platform != "darwin":  # macOS refuses a limit of the address space
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def main() -> None:
    """Read a template and conversations as JSON from standard input, and write what they become."""
    given = json.load(sys.stdin)
    _limit(given["seconds"])
    rendered = [_render(given["template"], conversation) for conversation in given["conversations"]]
    json.dump(rendered, sys.stdout)


if __name__ == "__main__":
    main()
