"""A process that has imported all of star_al and forks controllers, so that they start in milliseconds.

    with Zygote() as zygote:
        ended = zygote.run("run", "campaign.yaml", at=("SIGKILL", "request", 3, "before"))
        controller = zygote.start("run", "campaign.yaml")
        controller.kill()
        assert controller.wait().returncode == -signal.SIGKILL

Each controller is a process of its own with the NumPy learner, as ``support.controller`` starts it, but without the
seconds that a new interpreter takes to import the libraries.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from star_al.app.worker_processes import PRELOADED
from support import controller, kill_at

IMPORTED = (
    "db.migrate",
    "httpx",
    "star_al.annotators.label_studio.annotator",
    "star_al.cli.main",
    "star_al.config.writing",
    "star_al.display.progress",
    "support.label_set_learner",
    *(name for name in PRELOADED if not name.startswith("star_al.models")),
)
"""What a controller imports, except torch, which the NumPy learner does not need."""
IMPORTED_BY_MODELS = ("star_al.models.head_learner", *PRELOADED)
"""What a controller with a learner of ours imports too."""
SECONDS = 240
"""No controller in the tests runs longer."""


@dataclass(frozen=True)
class Done:
    """How a controller ended (negative: the signal), and what it printed on stdout and stderr."""

    returncode: int
    output: str


class Zygote:
    """Starts controllers as children of one process; ``environment`` is added to their environment."""

    def __init__(self, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="star_al_zygote_")
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.zygote"],
            env=controller.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, at: controller.At = controller.NEVER) -> Done:
        """Run to the end; ``at`` as in ``support.controller``."""
        return self.start(*arguments, at=at).wait()

    def start(self, *arguments: str, at: controller.At = controller.NEVER) -> Controller:
        """Start and return at once."""
        self._started += 1
        output = Path(self._folder.name) / f"{self._started}.txt"
        pid = self.order({"start": [*map(str, at), *arguments], "output": str(output)})
        assert pid is not None
        return Controller(self, pid, output)

    def order(self, order: dict[str, object]) -> int | None:
        """Send one order to the process; its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote has died"
        code: int | None = json.loads(answer)
        return code

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)  # it ends at the end of its input, and its children with it
        self._folder.cleanup()


@dataclass(frozen=True)
class Controller:
    """A child of a zygote."""

    _zygote: Zygote
    pid: int
    _output: Path

    def wait(self, seconds: float = SECONDS) -> Done:
        """How it ended.

        Raises:
            TimeoutError: it still runs after ``seconds``.
        """
        code = self._zygote.order({"wait": self.pid, "seconds": seconds})
        if code is None:
            raise TimeoutError(f"still running after {seconds} s: {self._output.read_text()}")
        return Done(code, self._output.read_text())

    def kill(self) -> None:
        """Send SIGKILL; nothing happens if it has ended already."""
        self._zygote.order({"kill": self.pid})


class _Children:
    """The children of the zygote, and how those that have ended did."""

    def __init__(self) -> None:
        self._codes: dict[int, int | None] = {}

    def start(self, arguments: list[str], output: str) -> int:
        """Fork a controller; its process id."""
        pid = os.fork()
        if pid == 0:
            _become_controller(arguments, output)
        self._codes[pid] = None
        return pid

    def wait(self, pid: int, seconds: float) -> int | None:
        """The exit code, or ``None`` if the child still runs after ``seconds``."""
        deadline = time.monotonic() + seconds
        while (code := self._code(pid)) is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return code

    def kill(self, pid: int) -> None:
        """A child that was waited for is left alone: its id may belong to another process now."""
        if self._code(pid) is None:
            os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        for pid in self._codes:
            self.kill(pid)

    def _code(self, pid: int) -> int | None:
        if self._codes[pid] is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            self._codes[pid] = os.waitstatus_to_exitcode(status) if ended else None
        return self._codes[pid]


def _become_controller(arguments: list[str], output: str) -> None:
    """Run the command line in a forked child, with its own output and without the zygote's orders."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT, 0o600), 1)
    os.dup2(1, 2)
    code = 1
    try:
        kill_at.main(arguments)
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    own = os.environ["STAR_AL_TEST_LEARNER"] == "own"
    for name in (*IMPORTED, *(IMPORTED_BY_MODELS if own else ())):
        importlib.import_module(name)
    children = _Children()
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            answer: int | None = children.start(order["start"], order["output"])
        elif "wait" in order:
            answer = children.wait(order["wait"], order["seconds"])
        else:
            children.kill(order["kill"])
            answer = None
        print(json.dumps(answer), flush=True)
    children.kill_all()


if __name__ == "__main__":
    main()
