"""Templates → one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_al.data import writable_target
from star_al.errors import StoreError

if TYPE_CHECKING:
    from jinja2 import Environment

_HARMLESS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""Characters that would mean something to an HTML parser, as JSON escapes."""


@dataclass(frozen=True)
class Numbers:
    """A table of texts: what a picture shows, in figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A drawing for a page. ``svg`` comes from ``canvas.draw_svg``; ``words`` say what is to be seen."""

    title: str
    svg: str
    words: str
    numbers: Numbers
    note: str = ""


def render(template: str, **values: Any) -> str:
    """The page of a template, its style sheet and script within it.

    Every value is escaped where it stands, ``Picture.svg`` excepted. The page's own policy forbids it any
    request, and any script but the one that star_al brings.
    """
    script = _file("table.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().get_template(template)
    return page.render(style=_file("page.css"), script=script, script_hash=digest, **values)


def json_for_page(value: object) -> str:
    """JSON that can stand inside a ``<script>`` element: no character in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _HARMLESS.items():
        text = text.replace(character, escape)
    return text


def write_page(page: str, path: Path) -> None:
    """Write aside and rename: the page under its name is whole.

    Raises:
        StoreError: it cannot be written; ``path`` is as it was.
    """
    target = writable_target(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(page, encoding="utf-8", errors="replace")  # half a surrogate pair is no character
        aside.replace(target)
    except OSError as exc:
        raise StoreError(f"{path}: cannot be written ({exc.strerror or exc}). Give another --out.") from exc
    finally:
        with suppress(OSError):
            aside.unlink()


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
        Markup  # for what star_al itself made: SVG, JSON for the page, its own files
    )
    return environment


def _file(name: str) -> str:
    return (resources.files("star_al.report") / "templates" / name).read_text(encoding="utf-8")
