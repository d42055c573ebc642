"""Label Studio in a virtual environment of its own: it pins many libraries tightly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

from star_al.errors import AnnotatorError
from star_al.local_server.where import Place, told_of_disk
from star_al.ports import Advance, Progress

VERSION = "1.23.2"
"""The version that star_al is tested with."""

KEPT_LINES = 15
"""Lines of pip's output that an error shows."""


def install(place: Place, version: str, progress: Progress) -> None:
    """Install a version, if that has not been done; an install that was broken off is made again.

    Raises:
        AnnotatorError: the environment cannot be made, or pip fails; the message has pip's last lines.
    """
    if not re.fullmatch(r"\d+(\.\d+)+\w*", version):
        raise AnnotatorError(f"{version!r} is no version of Label Studio. Give one like {VERSION}.")
    if python(place, version).exists():
        return
    progress.say(f"Installing Label Studio {version} into {place.environments}: about 1 GB, once")
    with told_of_disk(place), progress.task(f"Installing Label Studio {version}, packages", None) as advance:
        place.environments.mkdir(parents=True, exist_ok=True)
        for left in place.environments.glob(f"{version}-*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{version}-", dir=place.environments))
        _run([sys.executable, "-m", "venv", folder], version, advance)
        _run(
            [
                *(folder / "bin" / "python", "-I", "-m", "pip", "install", f"label-studio=={version}"),
                *("--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
            ],
            version,
            advance,
        )
        _link(place.environments / version, folder)


def python(place: Place, version: str) -> Path:
    """The interpreter of a version's environment; it exists once the install is complete.

    The version is a link to the folder that its install was made in: an environment cannot be moved, and a
    pip that outlives a killed `up` writes where nobody looks.
    """
    return place.environments / version / "bin" / "python"


def _link(link: Path, folder: Path) -> None:
    aside = folder / "link"
    aside.symlink_to(folder)
    aside.replace(link)


def _run(command: list[str | Path], version: str, advance: Advance) -> None:
    last: deque[str] = deque(maxlen=KEPT_LINES)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with subprocess.Popen(
        command, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last.append(line.rstrip())
                advance(int(line.startswith("Collecting ")))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        output = "\n".join(last)
        raise AnnotatorError(f"Label Studio {version} was not installed: {_reason(output)}\n{output}")


def _reason(output: str) -> str:
    if "No space left on device" in output:
        return "the disk is full. Free about 1.5 GB and run the same command again."
    if "ensurepip" in output:
        return "this Python has no ensurepip. Install it (Debian: apt install python3-venv) and run again."
    if "from versions: none" in output or re.search(r"Connection|Timeout|ProxyError|SSLError", output):
        return "the package index cannot be reached. Check network and proxy, and run the same command again."
    if "No matching distribution" in output:
        return "the package index has no such version for this Python. Choose another one with --version."
    return "pip says"
