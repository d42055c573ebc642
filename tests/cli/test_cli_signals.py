"""After Ctrl-C or SIGTERM, a campaign goes on as if it had not been interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.campaigns import write_campaign

StarAl = Callable[..., tuple[int, str, str]]

TESTS = Path(__file__).parent.parent
CHECKOUT = TESTS.parent


def run_with_signal(config: Path, signal_name: str, method: str, n: int) -> subprocess.CompletedProcess[str]:
    """Run `star-al run` with the NumPy learner, and send the signal before the n-th call of a store method."""
    command = [
        sys.executable,
        "-m",
        "support.kill_at",
        signal_name,
        method,
        str(n),
        "before",
        "run",
        str(config),
    ]
    path = os.pathsep.join([str(TESTS), str(CHECKOUT)])
    environment = {**os.environ, "STAR_AL_TEST_LEARNER": "numpy", "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that was never interrupted."""
    config = write_campaign(tmp_path_factory.mktemp("signals") / "unbroken", stopping__max_rounds=2)
    assert run_with_signal(config, "SIGINT", "-", 1).returncode == 0
    return config


@pytest.mark.parametrize(("signal_name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_says_how_to_go_on_and_loses_nothing(
    star_al: StarAl, unbroken: Path, tmp_path: Path, signal_name: str, code: int
) -> None:
    broken = write_campaign(tmp_path, stopping__max_rounds=2)
    stopped = run_with_signal(broken, signal_name, "commit_step", 10)
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == (
        f"Stopped; nothing is lost. Continue with: star-al run {broken}"
    )
    assert "Traceback" not in stopped.stderr

    assert run_with_signal(broken, "SIGINT", "-", 1).returncode == 0
    explained = [
        star_al("explain", config, "--round", 1, "--format", "json") for config in (broken, unbroken)
    ]
    assert explained[0] == explained[1]
    assert explained[0][0] == 0 and '"rank": 4' in explained[0][1]
