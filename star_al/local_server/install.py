"""Install Label Studio into a virtual environment of its own, because it pins many libraries tightly."""

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
from star_al.local_server.place import Place, disk_errors
from star_al.ports import Advance, Progress

VERSION = "1.23.2"
"""The version that star_al is tested with."""

KEPT_LINES = 15
"""Lines of pip's output in an error message."""


def check_version(version: str) -> None:
    """Check that a version is a number like 1.23.2.

    Raises:
        AnnotatorError: It is not.
    """
    if not re.fullmatch(r"\d+(\.\d+)+\w*", version):
        raise AnnotatorError(f"{version!r} is not a version of Label Studio. Pass one like {VERSION}.")


def install(place: Place, version: str, progress: Progress) -> None:
    """Install a version unless it is installed; an interrupted installation starts again.

    Raises:
        AnnotatorError: The environment cannot be created, or pip fails; the message has pip's last lines.
    """
    if python(place, version).exists():
        return
    progress.say(f"Installing Label Studio {version} into {place.environments}: about 1 GB, once")
    with disk_errors(place), progress.task(f"Installing Label Studio {version}, packages", None) as advance:
        place.environments.mkdir(parents=True, exist_ok=True)
        for unfinished in place.environments.glob(f"{version}-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
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
    """The interpreter of a version's environment; it exists once the installation is complete.

    The version's folder is a link to the folder in which it was installed, because an environment cannot be
    moved, and because a pip that outlives a killed `up` must not write into a folder that is in use.
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
        raise AnnotatorError(f"Label Studio {version} could not be installed: {_reason(output)}\n{output}")


def _reason(output: str) -> str:
    if "No space left on device" in output:
        return "the disk is full. Free about 1.5 GB and run the same command again."
    if "ensurepip" in output:
        return "this Python has no ensurepip. Install it (Debian: apt install python3-venv) and try again."
    if "from versions: none" in output or re.search(r"Connection|Timeout|ProxyError|SSLError", output):
        return "the package index cannot be reached. Check the network and the proxy, and run the same command again."
    if "No matching distribution" in output:
        return "the package index has no such version for this Python. Choose another with --version."
    return "pip failed with this message:"
