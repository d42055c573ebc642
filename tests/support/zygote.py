"""A process that has imported all of star_al and forks a controller for each order; each is born in no time.

with Zygote() as zygote:
    done = zygote.run("run", "campaign.yaml", at=("SIGKILL", "request", 3, "before"))
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support import controller, kill_at

IMPORTED = (
    "db.migrate",
    "db.store",
    "httpx",
    "star_al.annotators.label_studio.annotator",
    "star_al.app.running",
    "star_al.cli.main",
    "support.numpy_learner",
)


@dataclass(frozen=True)
class Done:
    """How a controller ended (negative: the signal), and what it printed."""

    returncode: int
    output: str


class Zygote:
    """Runs one controller at a time, each a child of one process, with the NumPy learner."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.zygote"],
            env=controller.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, at: tuple[str, str, int, str] = ("SIGKILL", "-", 0, "before")) -> Done:
        """Run to the end; ``at`` as in ``support.controller``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.NamedTemporaryFile("r", prefix="star_al_output_") as output:
            order = {"output": output.name, "arguments": [*map(str, at), *arguments]}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = self._process.stdout.readline()
            assert code, "the zygote has died"
            return Done(int(code), Path(output.name).read_text())

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)  # the end of its input is the end of it


def _obey(order: dict[str, str | list[str]]) -> int:
    """Fork a controller and wait for it; its exit code."""
    child = os.fork()
    if child == 0:
        output = os.open(str(order["output"]), os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 1
        try:
            kill_at.main(list(order["arguments"]))
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        print(_obey(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
