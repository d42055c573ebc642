"""Fenced blocks of the README and the pages in ``docs/``.

A comment ``<!-- checked, not run: REASON -->`` before a block says that its commands are only compared with what the
program knows, since running them takes a server, a real model or the network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)\n(?P=indent)```", re.DOTALL)
_NOT_RUN = re.compile(r"<!-- checked, not run: (?P<why>[^>]+) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is where it begins; ``why_not`` says why it is not run, None if it is."""

    page: Path
    line: int
    language: str
    text: str
    why_not: str | None

    @property
    def place(self) -> str:
        """Where to find it."""
        return f"{name_of(self.page)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each shell command; comments are left out and continued lines are joined."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def name_of(page: Path) -> str:
    """A page as test ids and messages name it."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """The page's fenced blocks in order; of these languages only, if any are given."""
    text = page.read_text(encoding="utf-8")
    found = [_block(page, text, match) for match in _FENCE.finditer(text)]
    return [block for block in found if not languages or block.language in languages]


def _block(page: Path, text: str, match: re.Match[str]) -> Block:
    before = text[: match.start()]
    not_run = _NOT_RUN.search(before)
    indent = len(match["indent"])
    lines = [line[indent:] for line in match["text"].splitlines()]
    return Block(
        page,
        before.count("\n") + 1,
        match["language"],
        "\n".join(lines),
        not_run["why"] if not_run else None,
    )
