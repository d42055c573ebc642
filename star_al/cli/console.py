"""Output to the terminal: results to stdout, progress and errors to stderr, without control characters."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from star_al.cli.everywhere import everywhere
from star_al.display.text import clean, redacted
from star_al.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from star_al.ports import Progress

_CONTROL = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters that are allowed in JSON: delete, C1, and those that turn the direction of writing."""

LEAST_WIDTH = 80
"""Columns that tables are laid out for at least, also in a pipe or a narrow window."""


class TerminatedError(BaseException):
    """The process was asked to end (SIGTERM). It is no ``Exception``, so that nothing catches it by accident."""


def say(text: str) -> None:
    """Print a line of the result to stdout."""
    typer.echo(clean(text))


def say_file(path: Path) -> None:
    """Write the bytes of a file to stdout."""
    cast("_Stdout", sys.stdout).write_file(path)


def complain(text: str) -> None:
    """Print a line that is not part of the result to stderr, without secrets."""
    typer.echo(redacted(clean(text)), err=True)


def print_table(table: Table) -> None:
    """Print a table of clean texts to stdout; only a table that expands is cut to the terminal's width."""
    from rich.console import Console

    console = Console(width=width(), highlight=False, markup=False, emoji=False)
    if not table.expand:
        natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
        console.width = max(console.width, natural)
    console.print(table)


def width() -> int:
    """Return the number of columns that a table may take."""
    from rich.console import Console

    return max(Console().width, LEAST_WIDTH)


def print_json(value: object) -> None:
    """Print one JSON document to stdout, escaping control characters and what the stream cannot represent."""
    unicode_stream = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not unicode_stream, indent=2, default=_json_default)
    # JSON itself escapes those below U+0020 only; a terminal obeys the others as well.
    typer.echo(_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _json_default(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def command_line(*words: str | Path) -> str:
    """Return a command as one types it in a shell, with the settings that were given to this one."""
    given = (word for setting in everywhere().settings for word in ("--set", setting))
    return shlex.join([*map(str, words), *given])


def words_of(options: Mapping[str, object]) -> list[str]:
    """Return options as one types them: flags by their name, and none that was not given (None or False)."""
    words: list[str] = []
    for option, value in options.items():
        if value is not None and value is not False:
            words += [option] if value is True else [option, str(value)]
    return words


def make_progress() -> Progress:
    """Return the display of progress that suits the terminal; one that shows nothing for ``--quiet``."""
    from star_al.display.progress import SilentProgress, make_progress

    return SilentProgress() if everywhere().quiet else make_progress()


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Print what libraries log, line by line and without secrets, until the body ends."""
    root = logging.getLogger()
    before, handler = root.level, logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(before)
        root.removeHandler(handler)


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(clean(super().format(record)))


@contextmanager
def stdout_errors_reported() -> Iterator[None]:
    """Turn a failed write to stdout (a full disk) into a StoreError; a closed pipe is not an error."""
    stream = sys.stdout
    sys.stdout = cast("TextIO", _Stdout(stream))
    try:
        yield
    finally:
        sys.stdout = stream


class _Stdout:
    """A text stream that raises its write errors as StoreError; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text == "":  # click probes streams with it and swallows the error
            return 0
        with self._reporting():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._reporting():
            self._stream.flush()

    def write_file(self, path: Path) -> None:
        """Write the bytes of a file, whatever the stream's encoding is."""
        with path.open("rb") as file, self._reporting():
            self._stream.flush()
            shutil.copyfileobj(file, self._stream.buffer)
            self._stream.buffer.flush()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._drop()
            raise  # typer ends the command quietly
        except OSError as exc:
            self._drop()
            raise StoreError(
                f"cannot write to standard output ({exc.strerror or exc}). Free some disk space or write elsewhere."
            ) from exc

    def _drop(self) -> None:
        """Discard what the stream still buffers; otherwise Python reports the error again at exit."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def resumable(*command: str | Path, lost: str = "nothing is lost") -> Iterator[None]:
    """Say what is lost, and how to continue, if the body is interrupted by Ctrl-C or SIGTERM."""
    try:
        yield
    except (KeyboardInterrupt, TerminatedError):
        complain(f"Stopped; {lost}. Continue with: {command_line(*command)}")
        raise
