"""Files on storage that many machines share (S3, Google Cloud Storage, SFTP, …), by fsspec.

A file is written aside and then moved, so a name holds the whole file on storage that can rename. Where a move is a
copy, an upload that was cut short can still leave a part of a file; every reader compares what it got with the
content hash in the name. Credentials come from where the storage's own library looks for them: the environment.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from star_al.errors import StoreError

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extra of star-al with the library for a protocol."""

ASIDE = ".uploading"
"""Where files are while they are written."""

TRIES = 3
"""How often a file is sent or fetched before that has failed."""

STALE_DAYS = 7
"""A file that has been written aside, or in the work folder, for so long is forgotten."""


class SharedFiles:
    """The files below an address such as ``s3://bucket/folder``; names are relative to it.

    Raises:
        StoreError: From any method, if the storage cannot be used.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the address in it."""
        import fsspec

        protocol = self.address.partition("://")[0]
        try:
            filesystem, root = fsspec.core.url_to_fs(self.address)
        except ImportError as exc:
            package = f"star-al[{EXTRAS[protocol]}]" if protocol in EXTRAS else str(exc)
            raise StoreError(
                f"{self.address}: the library for {protocol}:// is not installed. Run: pip install '{package}'"
            ) from exc
        except ValueError as exc:
            raise StoreError(
                f"{self.address}: there is no storage of this kind ({exc}). Correct artefacts."
            ) from exc
        return filesystem, str(root).rstrip("/")

    def upload(self, local: Path, name: str) -> None:
        """Send a file; one of this name is replaced."""
        filesystem, root = self._opened
        target = f"{root}/{name}"
        with self._errors(name, "written"):
            for attempt in _tries():
                with attempt, self._aside() as aside:
                    filesystem.put_file(str(local), aside)
                    filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
                    filesystem.mv(aside, target)

    def download(self, name: str, local: Path) -> bool:
        """Fetch a file; returns False if there is none of this name."""
        filesystem, root = self._opened
        with self._errors(name, "read"):
            try:
                for attempt in _tries():
                    with attempt:
                        filesystem.get_file(f"{root}/{name}", str(local))
            except FileNotFoundError:
                return False
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        """The sizes of a folder's files, by name relative to it; empty if there is none."""
        filesystem, root = self._opened
        top = f"{root}/{folder}"
        with self._errors(folder, "listed"):
            filesystem.invalidate_cache()  # others write, too
            try:
                found = filesystem.find(top, detail=True)
            except FileNotFoundError:
                return {}
            return {path.removeprefix(top).lstrip("/"): int(info["size"]) for path, info in found.items()}

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        filesystem, root = self._opened
        with self._errors(name, "removed"), suppress(FileNotFoundError):
            filesystem.rm(f"{root}/{name}", recursive=True)

    def try_to_write(self) -> None:
        """Write a file and remove it."""
        filesystem, _ = self._opened
        with self._errors("", "written"), self._aside() as path:
            filesystem.pipe_file(path, b"")
            filesystem.rm(path)

    def remove_forgotten(self, work: str) -> None:
        """Remove old files that were written aside and never moved, and those of a folder ``work``."""
        filesystem, root = self._opened
        for folder in (ASIDE, work):
            with self._errors(folder, "removed"):
                for name in self.sizes(folder):
                    path = f"{root}/{folder}/{name}"
                    with suppress(FileNotFoundError, NotImplementedError):
                        if (datetime.now(UTC) - _aware(filesystem.modified(path))).days >= STALE_DAYS:
                            filesystem.rm(path)

    @contextmanager
    def _aside(self) -> Iterator[str]:
        """The path of a file to be written and then moved; what is left of it is removed."""
        filesystem, root = self._opened
        filesystem.makedirs(f"{root}/{ASIDE}", exist_ok=True)
        path = f"{root}/{ASIDE}/{uuid.uuid4().hex}"
        try:
            yield path
        except BaseException:
            with suppress(Exception):
                filesystem.rm(path)
            raise

    @contextmanager
    def _errors(self, name: str, what: str) -> Iterator[None]:
        """Turn what the storage's library raises into one line; libraries have errors of their own for one cause."""
        try:
            yield
        except StoreError:
            raise
        except Exception as exc:
            reason = next(iter(str(exc).splitlines()), "") or type(exc).__name__
            raise StoreError(
                f"{self.address}/{name}: cannot be {what} ({reason[:200]}). Check the address, the network and the "
                "credentials in the environment, then run again."
            ) from exc


def _tries() -> Retrying:
    """Try again what fails for a moment."""
    return Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(0.2, max=5),
        retry=retry_if_exception(
            lambda exc: isinstance(exc, OSError) and not isinstance(exc, FileNotFoundError)
        ),
        reraise=True,
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
