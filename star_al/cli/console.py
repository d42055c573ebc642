"""What reaches the terminal: results to stdout, progress and errors to stderr, both made harmless first."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from star_al.display.text import clean, redacted
from star_al.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

LEAST_WIDTH = 80
"""Tables are laid out for at least this many columns, whatever a pipe or a narrow window says."""


class TerminatedError(BaseException):
    """The process was asked to end (SIGTERM); ``except Exception`` does not hold it."""


def say(text: str) -> None:
    """A line of the result, to stdout."""
    typer.echo(clean(text))


def complain(text: str) -> None:
    """A line that is not the result, to stderr, without secrets."""
    typer.echo(redacted(clean(text)), err=True)


def print_table(table: Table) -> None:
    """A table of clean texts, to stdout; only one that expands to the width is cut to it."""
    from rich.console import Console

    console = Console(width=width(), highlight=False, markup=False, emoji=False)
    if not table.expand:
        natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
        console.width = max(console.width, natural)
    console.print(table)


def width() -> int:
    """Columns that a table may take."""
    from rich.console import Console

    return max(Console().width, LEAST_WIDTH)


def print_json(value: object) -> None:
    """One JSON document, and nothing else, to stdout; readable characters where the stream can hold them."""
    unicode_stream = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not unicode_stream, indent=2, default=_json_default)
    typer.echo(text)


def _json_default(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON type")


def command_line(*words: str | Path) -> str:
    """A command as one types it."""
    return shlex.join(map(str, words))


@contextmanager
def told_when_stdout_fails() -> Iterator[None]:
    """Turn a write to stdout that fails (a full disk) into a StoreError; a closed pipe stays quiet."""
    stream = sys.stdout
    sys.stdout = cast("TextIO", _Stdout(stream))
    try:
        yield
    finally:
        sys.stdout = stream


class _Stdout:
    """A text stream whose write errors are the user's to hear of; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text == "":  # click probes streams with it and swallows the error
            return 0
        with self._told():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._told():
            self._stream.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._drop()
            raise  # typer ends the command quietly
        except OSError as exc:
            self._drop()
            raise StoreError(
                f"standard output cannot be written ({exc.strerror or exc}). Free the disk or write elsewhere."
            ) from exc

    def _drop(self) -> None:
        """Let what the stream still holds go nowhere, or Python would complain again when the process ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def resumable(*command: str | Path) -> Iterator[None]:
    """Tell how to go on when the body is interrupted by Ctrl-C or SIGTERM."""
    try:
        yield
    except (KeyboardInterrupt, TerminatedError):
        complain(f"Stopped; nothing is lost. Go on with: {command_line(*command)}")
        raise
