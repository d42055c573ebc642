"""Options that every command takes, anywhere on its line: --set, --quiet, --verbose and --debug."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_FLAGS = {
    "--debug": "--debug",
    "--quiet": "--quiet",
    "-q": "--quiet",
    "--verbose": "--verbose",
    "-v": "--verbose",
}
_SET = "--set"

EPILOG = "Every command also takes --set NAME=VALUE, -q, -v and --debug: see star-al --help."
"""Shown below the help of a command."""


@dataclass
class Everywhere:
    """The values of these options.

    Attributes:
        debug: Show the traceback of an error.
        quiet: Show no progress.
        verbose: Show the log and the warnings of libraries.
        settings: Settings (``NAME=VALUE``) in place of those in the campaign file.
    """

    debug: bool = False
    quiet: bool = False
    verbose: bool = False
    settings: tuple[str, ...] = ()


_current: ContextVar[Everywhere] = ContextVar("everywhere")


def everywhere() -> Everywhere:
    """The options of the command that runs; the defaults outside a command."""
    return _current.get(Everywhere())


@contextmanager
def fresh_options() -> Iterator[Everywhere]:
    """The options of one command, which are filled in when its line is parsed."""
    token = _current.set(Everywhere())
    try:
        yield everywhere()
    finally:
        _current.reset(token)


def moved_to_front(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with these options first, where the program itself takes them.

    What follows ``--`` stays, as it is no option.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = iter(arguments[:end])
    front: list[str] = []
    rest: list[str] = []
    for word in words:
        if word in _FLAGS:
            front.append(_FLAGS[word])
        elif word == _SET:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word.startswith(_SET + "="):
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest, *arguments[end:]]
