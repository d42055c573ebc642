"""Shell completion, and `python -m star_al`: both work through the command line's own error handling."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROTOCOLS = {
    "bash": {"COMP_WORDS": "star-al his", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "star-al his"},
    "fish": {"_TYPER_COMPLETE_ARGS": "star-al his", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}
"""The environment in which each shell asks for completions of `star-al his`."""


def star_al(
    *arguments: str, code: str = "import star_al.__main__ as m; m.main()", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shell", PROTOCOLS)
def test_a_shell_gets_completions_without_heavy_imports(shell: str) -> None:
    code = (
        "import sys, star_al.__main__ as m\n"
        "try: m.main()\n"
        "finally: print(*{'torch', 'pandas', 'sqlalchemy'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = star_al(code=code, _STAR_AL_COMPLETE=f"complete_{shell}", **PROTOCOLS[shell])
    assert done.returncode == 0
    assert "history" in done.stdout and "simulate" not in done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("shell", PROTOCOLS)
def test_the_completion_script_is_shown(shell: str) -> None:
    done = star_al("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert f"_STAR_AL_COMPLETE=complete_{shell}" in done.stdout and "star-al" in done.stdout


def test_completion_is_installed_for_bash(tmp_path: os.PathLike[str]) -> None:
    done = star_al(
        "--install-completion",
        "bash",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert done.returncode == 0, done.stderr
    assert "bash completion installed" in done.stdout


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "star_al", "--help"], capture_output=True, text=True, check=True
    )
    assert "star-al [OPTIONS] COMMAND" in done.stdout


# -- values --------------------------------------------------------------------------------------------


def proposals(folder: Path, words: str) -> list[str]:
    """What bash is told to propose for the last of the words, in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "star_al"],
        env=os.environ
        | {
            "_STAR_AL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_campaign_files_are_proposed(tmp_path: Path) -> None:
    for name in ("news.yaml", "other.yml", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "more.yaml").touch()
    assert proposals(tmp_path, "star-al run n") == ["news.yaml"]
    assert proposals(tmp_path, "star-al status ") == ["news.yaml", "other.yml"]
    assert proposals(tmp_path, "star-al status deep/") == ["deep/more.yaml"]


def test_rounds_of_the_campaign_on_the_line_are_proposed(finished: Path) -> None:
    assert proposals(finished, "star-al explain --round ") == ["0", "1", "2"]
    assert proposals(finished, "star-al replay campaign.yaml --round ") == ["0", "1", "2"]
    assert proposals(finished, "star-al replay no.yaml --round ") == []


def test_the_last_strategy_of_a_list_is_completed(tmp_path: Path) -> None:
    assert proposals(tmp_path, "star-al simulate --strategies random,ran") == []
    assert proposals(tmp_path, "star-al simulate --strategies random,mar") == ["random,margin"]
    assert proposals(tmp_path, "star-al simulate --posteriors lap") == ["laplace"]
