"""The artefact folder: adapters and score files by content hash, written aside and then renamed.

adapters/<sha256>/       what a learner wrote for one round
scores/<sha256>.parquet  the full scores of one round
.staging/<host>.<pid>.<random>/  being written; what a dead run left goes at the next start
.work/<name>/            pages of a long step, kept over a crash so that it resumes
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from star_al.errors import StoreError
from star_al.types import Adapter

STALE_SECONDS = 7 * 86_400.0
"""After this long without a change a staging or work folder is taken for forgotten, whoever made it."""


class ArtefactFolder:
    """The artefact folder ``root``, made when missing; removes what dead runs left half-written.

    Raises:
        StoreError: from any method, when the folder cannot be read or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with _translated(root):
            for folder in (self._adapters, self.scores, self._staging, self._work):
                folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()

    @property
    def scores(self) -> Path:
        """The folder of score files."""
        return self.root / "scores"

    @property
    def _adapters(self) -> Path:
        return self.root / "adapters"

    @property
    def _staging(self) -> Path:
        return self.root / ".staging"

    @property
    def _work(self) -> Path:
        return self.root / ".work"

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty folder to write an artefact into; gone afterwards unless it was adopted."""
        folder = self._staging / f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"
        with _translated(folder):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def work(self, name: str) -> Iterator[Path]:
        """A folder of pages for one step, as an earlier try left it; kept on an error, gone on success."""
        folder = self._work / name
        with _translated(folder):
            folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, staged: Path, kind: str) -> Adapter:
        """Move a staged folder to its place under its content hash; on disk before this returns.

        Content that is there already stays, unless it is damaged, and the staged copy goes.
        """
        with _translated(staged):
            files = _files(staged)
            if not files:
                raise StoreError(f"{staged}: an artefact without files cannot be kept.")
            sha256 = content_hash(staged)
            size = sum(file.stat().st_size for file in files)
            for file in (*files, *_folders(staged)):
                _sync(file)
            self._put(staged, self._adapters / sha256, sha256)
            _sync(self._adapters)
        return Adapter(sha256=sha256, kind=kind, path=f"adapters/{sha256}", size_bytes=size)

    def path_of(self, sha256: str) -> Path:
        """The folder of an adapter whose files are what its hash says.

        Raises:
            StoreError: it is missing or damaged.
        """
        folder = self._adapters / sha256
        if not folder.is_dir():
            raise StoreError(
                f"{folder}: the adapter is missing. Restore the folder, or set artefacts to where it is."
            )
        with _translated(folder):
            found = content_hash(folder)
        if found != sha256:
            raise StoreError(
                f"{folder}: the adapter is damaged (its content has the hash {found[:12]}…). Restore it."
            )
        return folder

    def score_file(self, sha256: str) -> Path:
        """The score file of a round.

        Raises:
            StoreError: there is none.
        """
        path = self.scores / f"{sha256}.parquet"
        if not path.is_file():
            raise StoreError(
                f"{path}: the scores are missing. Restore the folder, or set artefacts to where it is."
            )
        return path

    def _put(self, staged: Path, target: Path, sha256: str) -> None:
        if target.exists():
            if content_hash(target) == sha256:
                shutil.rmtree(staged)
                return
            target.rename(self._staging / f"damaged.{uuid.uuid4().hex}")
        try:
            staged.rename(target)
        except OSError:
            if not target.exists():  # else another process was first with the same content
                raise

    def _remove_leftovers(self) -> None:
        for folder in self._staging.iterdir():
            if _is_stale(folder) or not _may_live(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self._work.iterdir():
            if _is_stale(folder):
                shutil.rmtree(folder, ignore_errors=True)


def content_hash(folder: Path) -> str:
    """SHA-256 over the sorted relative names, the sizes and the bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def _folders(folder: Path) -> list[Path]:
    return [*(path for path in folder.rglob("*") if path.is_dir()), folder]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_stale(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:  # its owner was quicker
        return False


def _may_live(name: str) -> bool:
    """Whether the process that named a staging folder may still run; always, on another machine."""
    host, _, rest = name.rpartition(".")[0].rpartition(".")
    if host != socket.gethostname() or not rest.isdigit():
        return name.partition(".")[0] != "damaged"
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"{path}: cannot be read or written ({exc.strerror or exc}). "
            "Check the artefact folder and the disk, then run again."
        ) from exc
