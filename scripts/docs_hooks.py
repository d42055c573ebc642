"""Pages of the documentation that are made when it is built: the commands, and the files at the root."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click
from typer.main import get_command
from typer.models import Context

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in ``docs/``."""
    pages = {
        "cli.md": commands(),
        "contributing.md": from_root("CONTRIBUTING.md"),
        "changelog.md": from_root("CHANGELOG.md"),
    }
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def commands() -> str:
    """Every command with its options, as Typer describes them."""
    from star_al.cli.main import app

    command: Any = get_command(app)
    context = Context(command, info_name="star-al")
    text = get_docs_for_click(obj=command, ctx=context, name="star-al", title="Commands")
    return _with_whole_summaries(text, command.commands)


def _with_whole_summaries(text: str, commands: Mapping[str, Any]) -> str:
    """The list of commands with links and whole first lines, which Typer cuts short."""

    def whole(line: re.Match[str]) -> str:
        help_text = commands[line["name"]].help or ""
        summary = " ".join(help_text.partition("\n\n")[0].split())
        return f"* [`{line['name']}`](#star-al-{line['name']}): {summary}"

    names = "|".join(map(re.escape, commands))
    return re.sub(rf"^\* `(?P<name>{names})`: .*$", whole, text, flags=re.MULTILINE)


def from_root(name: str) -> str:
    """A file beside ``docs/``, its links seen from within that folder."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)
