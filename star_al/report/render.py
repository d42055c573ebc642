"""Render templates into a single self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""JSON escapes of the characters that mean something to an HTML parser."""


@dataclass(frozen=True)
class Table:
    """A table of formatted values."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A chart on a page.

    Attributes:
        svg: The drawing, made by ``canvas.draw_svg``.
        caption: What the chart shows, in words; also its text for screen readers.
        table: The values it shows.
        note: How to read it.
    """

    title: str
    svg: str
    caption: str
    table: Table
    note: str = ""


def render(template: str, **values: Any) -> str:
    """Render a template with the style sheet and the script inlined.

    Every value is escaped, except ``Picture.svg``. The page's content security policy forbids all requests
    and all scripts except star_al's own.
    """
    script = _file("table.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=_file("page.css"), script=script, script_hash=digest, **values)


def json_for_page(value: object) -> str:
    """Write JSON for a ``<script>`` element, escaped so that no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


@lru_cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("star_al.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_is"] = (
        Markup  # only for what star_al makes itself: SVG, escaped JSON, its own files
    )
    return environment


def _file(name: str) -> str:
    return (resources.files("star_al.report") / "templates" / name).read_text(encoding="utf-8")
