"""Storage by fsspec that cuts uploads and downloads short, as often as a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from fsspec.implementations.local import LocalFileSystem


class FaultyStorage(LocalFileSystem):  # type: ignore[misc]
    """A local folder under ``faulty://``; it moves by copying, as object stores do."""

    protocol = "faulty"
    uploads_to_cut: ClassVar[int] = 0
    copies_to_cut: ClassVar[int] = 0
    downloads_to_cut: ClassVar[int] = 0

    def put_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        super().put_file(path1, path2)
        if FaultyStorage.uploads_to_cut:
            FaultyStorage.uploads_to_cut -= 1
            _halve(path2)
            raise OSError("connection reset by peer")

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self.cp_file(path1, path2)
        if FaultyStorage.copies_to_cut:
            FaultyStorage.copies_to_cut -= 1
            _halve(path2)
            raise KeyboardInterrupt  # the process ends here
        self.rm(path1)

    def get_file(self, path1: str, path2: str, callback: Any = None, **_: Any) -> None:
        super().get_file(path1, path2)
        if FaultyStorage.downloads_to_cut:
            FaultyStorage.downloads_to_cut -= 1
            _halve(path2)


def _halve(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
