"""The lines of a text file, plain or gzipped, in any encoding and with any line ends."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from star_al.common.files import disk_errors
from star_al.data.limits import MAX_ROW, TOO_LONG
from star_al.data.source import Table
from star_al.errors import DataError

UTF_8 = "utf-8"
UTF_8_MARKED = "utf-8-sig"
"""UTF-8 with a byte order mark, as Excel writes it."""

_BOMS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, UTF_8_MARKED),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_BLOCK = 2**20
"""Bytes read at once."""

_SAMPLE = 2**16
"""Bytes from which an encoding is guessed."""

_WESTERN = "cp1252"
_OTHERS = [
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r",
    "cp932", "gb18030", "big5", "cp949", "euc_jp",
]  # fmt: skip
"""Encodings that are guessed if a file is neither UTF-8 nor Windows-1252. More of them would only guess worse."""

_MOST_MESS = 0.4
"""Share of unlikely characters that such a guess may leave, higher than usual because a file may be short."""


def open_bytes(table: Table) -> BinaryIO:
    """Open a table's file; gzip is unpacked."""
    if table.path is None:
        raise ValueError("a table in a file needs a path")
    if table.path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(table.path, "rb"))
    return table.path.open("rb")


@contextmanager
def read_errors(table: Table) -> Iterator[None]:
    """Turn errors of reading the table's file into one line for the user."""
    with disk_errors(DataError, f"{table.name}: cannot be read", "Check the path and its permissions."):
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            raise DataError(f"{table.name}: damaged gzip file ({exc}).") from exc


def find_encoding(table: Table) -> str:
    """Return the encoding of a text file: what the table says, or else what the file shows.

    UTF-8 is tried strictly over the whole file. What is not UTF-8 and has no byte order mark is guessed, always
    in the same way.

    Raises:
        DataError: The file cannot be read, or is binary.
    """
    if table.dialect.encoding is not None:
        return table.dialect.encoding
    with read_errors(table), open_bytes(table) as file:
        head = file.read(_SAMPLE)
        marked = next((name for mark, name in _BOMS if head.startswith(mark)), None)
        if marked is not None:
            return marked
        if b"\0" in head:
            return _wide(table, head)
        foreign = _first_foreign(head, file)
    if foreign is None:
        return UTF_8
    return table.dialect.fallback_encoding or _guessed(table, foreign or head)


def _wide(table: Table, head: bytes) -> str:
    """UTF-16 without a byte order mark, told by where its NUL bytes are."""
    high, low = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if low > 0.3 * half and high < 0.05 * half:
        return "utf-16-le"
    if high > 0.3 * half and low < 0.05 * half:
        return "utf-16-be"
    if _first_foreign(head, io.BytesIO()) is None:
        return UTF_8  # a stray NUL, which import replaces
    raise DataError(f"{table.name}: holds NUL bytes. Is the file binary? Save it as UTF-8 text.")


def _first_foreign(head: bytes, rest: BinaryIO) -> bytes | None:
    """The first block of bytes that is not UTF-8; None if all are."""
    decoder = codecs.getincrementaldecoder(UTF_8)()
    block = head
    while block:
        try:
            decoder.decode(block)
        except UnicodeDecodeError as exc:
            return block[max(0, exc.start - _SAMPLE) : exc.start + _SAMPLE]
        block = rest.read(_BLOCK)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return b""
    return None


def _guessed(table: Table, sample: bytes) -> str:
    from charset_normalizer import from_bytes

    lines = [line for line in sample.splitlines(keepends=True) if not line.isascii()]
    telling = b"".join(lines)[:_SAMPLE]
    if from_bytes(telling, cp_isolation=[_WESTERN]).best() is not None:
        return _WESTERN
    best = from_bytes(telling, cp_isolation=_OTHERS, threshold=_MOST_MESS).best()
    if best is None:
        raise DataError(
            f"{table.name}: not UTF-8 nor any other encoding that can be told. Is the file binary? "
            "If it is text, save it as UTF-8 or name its encoding (data.encoding)."
        )
    return best.encoding


def read_lines(table: Table, encoding: str, newline: str = "\n") -> Iterator[tuple[int, str]]:
    """Read numbered lines with their ends, without a byte order mark.

    Args:
        table: A text file.
        encoding: Its encoding.
        newline: What ends a line. Nothing else does, so that a text may hold other line separators.

    Raises:
        DataError: The file cannot be read or decoded, or a line is too long.
    """
    lines = _utf_8_lines if encoding in (UTF_8, UTF_8_MARKED) and newline == "\n" else _other_lines
    with read_errors(table), open_bytes(table) as file:
        for number, line in enumerate(lines(table, file, encoding, newline), 1):
            if len(line) > MAX_ROW:
                raise DataError(f"{table.place(number)}: {TOO_LONG}")
            yield number, line.removeprefix("\ufeff") if number == 1 else line


def _utf_8_lines(table: Table, file: BinaryIO, encoding: str, newline: str) -> Iterator[str]:
    number = 0
    while raw := file.readline(4 * MAX_ROW):
        number += 1
        try:
            line = raw.decode(UTF_8)
        except UnicodeDecodeError as exc:
            if len(raw) >= 4 * MAX_ROW:
                raise DataError(f"{table.place(number)}: {TOO_LONG}") from exc
            raise DataError(
                f"{table.place(number)}: byte {exc.start + 1} is not UTF-8. "
                "Is the file binary, or in another encoding? Save it as UTF-8."
            ) from exc
        yield line


def _other_lines(table: Table, file: BinaryIO, encoding: str, newline: str) -> Iterator[str]:
    reader = io.TextIOWrapper(file, encoding=encoding, newline=newline)
    number = 0
    while True:
        number += 1
        try:
            line = reader.readline(MAX_ROW + 1)
        except UnicodeError as exc:
            raise DataError(
                f"{table.place(number)}, or soon after: cannot be read as {encoding}. "
                "Name the file's encoding (data.encoding, or --encoding of init), or save it as UTF-8."
            ) from exc
        if not line:
            return
        yield line


def open_text(table: Table, encoding: str) -> io.TextIOWrapper:
    """Open a text file whose line ends do not matter."""
    return io.TextIOWrapper(open_bytes(table), encoding=encoding, newline="")
