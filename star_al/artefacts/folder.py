"""The artefact folder: adapters and score files by content hash, written aside and then renamed.

With shared storage (``shared_files``), the folder is a copy of what this machine has written or read: what is written
goes up before anybody is told of it, and what is missing or damaged here is fetched.

adapters/<sha256>/         what a learner wrote for one round
scores/<sha256>.parquet    the full scores of one round
.staging/<owner>.<random>/ being written; the next run removes what a dead one left
.work/<name>/              shards of a long step, kept over a crash so that it resumes
"""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from star_al.artefacts.shared_files import SharedFiles
from star_al.common.files import disk_errors, publish, sha256_of
from star_al.common.process_identity import ProcessIdentity, has_ended
from star_al.common.user_cache import cache_folder
from star_al.errors import StoreError
from star_al.types import Adapter

STALE_SECONDS = 7 * 86_400.0
"""A staging or work folder unchanged for this long counts as forgotten, whoever made it."""

COPY_SECONDS = 86_400.0
"""A worker's copy of an adapter that was not asked for in this time is removed."""

FETCHES = 2
"""How often a file is fetched whose copy arrives damaged."""


class ArtefactFolder:
    """The artefact folder ``root``. Only methods that write make folders; reading leaves the disk as it is.

    Args:
        root: The folder on this machine.
        shared: Storage that other machines use, too; None without.

    Raises:
        StoreError: From any method, if the folder or the storage cannot be read or written.
    """

    def __init__(self, root: Path, shared: SharedFiles | None = None) -> None:
        self.root = root
        self.shared = shared
        self._shared_names = set[str]()  # what this process has found on the storage

    @classmethod
    def at(cls, place: str) -> ArtefactFolder:
        """The artefacts at a path, or at an address with a copy in the user's cache."""
        if "://" not in place:
            return cls(Path(place))
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        return cls(cache_folder() / "artefacts" / name, SharedFiles(place))

    @property
    def place(self) -> str:
        """Where the artefacts are for everybody: the address of the storage, or the folder."""
        return str(self.root) if self.shared is None else self.shared.address

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

    def prepare(self) -> None:
        """Make the folder if it is missing, and remove what dead runs left half-written."""
        with _disk_errors(self.root):
            for name in ("adapters", "scores", ".staging", ".work"):
                self.made(name)
            for folder in self._staging.iterdir():
                if _is_stale(folder) or _is_abandoned(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
            for folder in self._work.iterdir():
                if _is_stale(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        if self.shared is not None:
            self.shared.remove_forgotten(".work")

    def made(self, name: str) -> Path:
        """The folder ``name``, made if it is missing."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what people wrote
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    def remove_unused_copies(self) -> None:
        """Remove copies of adapters that no process of this machine has asked for within a day."""
        with _disk_errors(self._adapters):
            for folder in self.made("adapters").iterdir():
                if _is_stale(folder, COPY_SECONDS):
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty folder to write an artefact into; it is removed afterwards unless it was adopted."""
        owner = quote(str(ProcessIdentity.of()), safe="")
        folder = self._staging / f"{owner}.{uuid.uuid4().hex}"
        with _disk_errors(folder):
            self.made(f".staging/{folder.name}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def work(self, name: str) -> Iterator[Path]:
        """A folder for the shards of one step, as an earlier try left it; removed on success, kept on an error."""
        folder = self._work / name
        with _disk_errors(folder):
            self.made(f".work/{name}")
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def adopt(self, staged: Path, kind: str) -> Adapter:
        """Move a staged folder to its place under its content hash; it is on disk when this returns.

        Identical content that is there already stays, and the staged copy is removed. Damaged content is
        replaced.
        """
        with _disk_errors(staged):
            files = _files(staged)
            if not files:
                raise StoreError(f"{staged}: an artefact without files cannot be kept.")
            sha256 = content_hash(staged)
            size = sum(file.stat().st_size for file in files)
            self.made("adapters")
            self._put(staged, self._adapters / sha256, sha256)
        if self.shared is not None:
            self._send_adapter(sha256)
        return Adapter(sha256=sha256, kind=kind, path=f"adapters/{sha256}", size_bytes=size)

    def path_of(self, sha256: str) -> Path:
        """Return an adapter's folder after verifying its files against its hash.

        Raises:
            StoreError: The adapter is missing or damaged.
        """
        folder = self._adapters / sha256
        self._synchronise(f"adapters/{sha256}", sha256)
        if not folder.is_dir():
            raise StoreError(
                f"{folder}: the adapter is missing. Restore the folder, or set artefacts to where it is."
            )
        with _disk_errors(folder):
            found = content_hash(folder)
        if found != sha256:
            raise StoreError(
                f"{folder}: the adapter is damaged (its content has the hash {found[:12]}…). Restore it."
            )
        return folder

    def sha256_of(self, folder: Path) -> str | None:
        """The content hash under which an adapter's folder was adopted; None for any other folder."""
        return folder.name if folder.parent == self._adapters else None

    def score_file(self, sha256: str) -> Path:
        """Return the score file of a round after verifying its content against its hash.

        Raises:
            StoreError: It is missing or damaged.
        """
        path = self.scores / f"{sha256}.parquet"
        self._synchronise(f"scores/{sha256}.parquet", sha256)
        if not path.is_file():
            raise StoreError(
                f"{path}: the scores are missing. Restore the folder, or set artefacts to where it is."
            )
        with _disk_errors(path):
            found = sha256_of(path)
        if found != sha256:
            raise StoreError(
                f"{path}: the score file is damaged (its content has the hash {found[:12]}…). Restore it."
            )
        return path

    def share_scores(self, sha256: str) -> None:
        """Send a score file that was written here to the shared storage, if there is one."""
        name = f"scores/{sha256}.parquet"
        if self.shared is None:
            return
        size = (self.root / name).stat().st_size
        if list(self.shared.sizes(name).values()) != [size]:
            self.shared.upload(self.root / name, name)

    def _send_adapter(self, sha256: str) -> None:
        assert self.shared is not None
        folder, name = self._adapters / sha256, f"adapters/{sha256}"
        there = self.shared.sizes(name)
        for file in _files(folder):
            relative = file.relative_to(folder).as_posix()
            if there.get(relative) != file.stat().st_size:
                self.shared.upload(file, f"{name}/{relative}")

    def _synchronise(self, name: str, sha256: str) -> None:
        """Fetch from the shared storage what is missing or damaged here, and send what is missing there.

        That is so with what was written before ``artefacts`` named the storage.
        """
        if self.shared is None:
            return
        if not self._holds(self.root / name, sha256):
            self._fetch(name, sha256)
        elif name not in self._shared_names:
            send = self.share_scores if name.startswith("scores/") else self._send_adapter
            with suppress(StoreError):  # to read a copy, no storage is needed
                send(sha256)
        self._shared_names.add(name)

    def _holds(self, path: Path, sha256: str) -> bool:
        """Return whether a file or folder is here and whole."""
        with _disk_errors(path):
            return path.exists() and _hash_of(path) == sha256

    def _fetch(self, name: str, sha256: str) -> None:
        """Fetch an adapter or a score file from the shared storage.

        Raises:
            StoreError: It is missing there, or damaged.
        """
        assert self.shared is not None
        for _ in range(FETCHES):
            with self.stage() as staged:
                if not self._download(name, staged):
                    raise StoreError(
                        f"{self.shared.address}/{name}: is missing. Restore it, or correct artefacts."
                    )
                fetched = staged if name.startswith("adapters/") else staged / Path(name).name
                with _disk_errors(self.root / name):
                    if _hash_of(fetched) == sha256:
                        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                        self._put(fetched, self.root / name, sha256)
                        return
        raise StoreError(
            f"{self.shared.address}/{name}: is damaged: its content has another hash. Restore it."
        )

    def _download(self, name: str, folder: Path) -> bool:
        """Fetch a file, or all files of a folder; returns False if there is none."""
        assert self.shared is not None
        if name.startswith("scores/"):
            return self.shared.download(name, folder / Path(name).name)
        found = self.shared.sizes(name)
        for relative in found:
            with _disk_errors(folder):
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            self.shared.download(f"{name}/{relative}", folder / relative)
        return bool(found)

    def _put(self, staged: Path, target: Path, sha256: str) -> None:
        if target.exists():
            if _hash_of(target) == sha256:
                _remove(staged)
                return
            target.rename(self._staging / f"damaged.{uuid.uuid4().hex}")
        try:
            publish(staged, target)
        except OSError:
            if not target.exists():  # else another process was first with the same content
                raise


def content_hash(folder: Path) -> str:
    """SHA-256 over the sorted relative names, the sizes and the bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _hash_of(path: Path) -> str:
    return content_hash(path) if path.is_dir() else sha256_of(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def _is_stale(folder: Path, seconds: float = STALE_SECONDS) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > seconds
    except FileNotFoundError:  # its owner was quicker
        return False


def _is_abandoned(name: str) -> bool:
    """True if the owner of a staging folder has ended, or if damaged content was moved there."""
    owner, _, _ = name.rpartition(".")
    return owner == "damaged" or has_ended(unquote(owner))


def _disk_errors(path: Path) -> AbstractContextManager[None]:
    advice = "Check the artefact folder and the disk, then run again."
    return disk_errors(StoreError, f"{path}: cannot be read or written", advice)
