"""What `init` reads from the user: labels in a file, and answers at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import typer

from star_al.cli.console import complain
from star_al.display.text import clean
from star_al.errors import ConfigError


def given_labels(listed: str) -> tuple[str, ...]:
    """Return the labels of ``--labels``: a comma-separated list, ``@FILE``, or the path of a text file.

    Raises:
        ConfigError: The file cannot be read.
    """
    from star_al.app.init.questions import split_labels

    path = Path(listed.removeprefix("@")).expanduser()
    if not listed.startswith("@") and not (path.suffix and path.is_file()):
        return split_labels(listed)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"--labels: {path} cannot be read ({reason}). It needs one label a line.") from exc
    return tuple(line.strip() for line in lines if line.strip())


class TerminalQuestions:
    """Asks at the terminal. Implements ``star_al.app.init.questions.Ask``."""

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Return one of the choices, given by its number or its name."""
        names = list(choices)
        for number, name in enumerate(names, 1):
            note = f" ({choices[name]})" if choices[name] else ""
            complain(clean(f"  {number}  {name}{note}"))
        while True:
            answer: str = typer.prompt(question, default=str(names.index(default) + 1), err=True).strip()
            if answer in choices:
                return answer
            if answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return names[int(answer) - 1]
            complain(f"Type a number from 1 to {len(choices)}.")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return the answer to a question that is answered with yes or no."""
        return typer.confirm(clean(question), default=default, err=True)

    def text(self, question: str, default: str | None = None) -> str:
        """Return a line of text; an empty one only if that is the default."""
        return str(typer.prompt(clean(question), default=default, show_default=bool(default), err=True))


def terminal() -> TerminalQuestions | None:
    """Return questions for the user, if somebody sits at a terminal."""
    return TerminalQuestions() if sys.stdin.isatty() and sys.stdout.isatty() else None
