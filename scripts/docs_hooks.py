"""Pages of the documentation that are made when it is built: the commands, and the files at the root."""

from __future__ import annotations

import re
from pathlib import Path

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

    command = get_command(app)
    context = Context(command, info_name="star-al")
    return get_docs_for_click(obj=command, ctx=context, name="star-al", title="Commands")


def from_root(name: str) -> str:
    """A file beside ``docs/``, its links seen from within that folder."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)
