"""Every command, campaign file, query and Python line that the README and the docs show is run, or at least checked.

Blocks of one page run in order in one folder, which holds a few files of made-up texts. The model is the NumPy learner.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from star_al.cli.everywhere import moved_to_front
from star_al.cli.main import app, run_command
from star_al.config.file import load_campaign
from star_al.config.writing import to_yaml
from support import controller
from support.campaigns import make_rows, write_jsonl
from support.doc_blocks import PAGES, ROOT, Block, blocks_of, name_of
from support.kill_at import use_numpy_learner

LANGUAGES = {"bash", "json", "python", "sql", "text", "yaml"}
"""What a block may be; "text" is a drawing, a formula or an output, not something to type."""

SHELL = {"cd", "cp", "export", "mkdir", "pg_dump", "ray", "source", "sqlite3"}
"""What else a page may tell people to type."""

EVERYWHERE = controller.TESTS / "support" / "everywhere"

MINIMAL: Mapping[str, Any] = {
    "name": "shown",
    "data": {"path": "texts.jsonl"},
    "task": {"kind": "classification", "labels": ["business", "sport", "tech"]},
    "model": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    "annotator": {"kind": "oracle", "gold": "label"},
}
"""What a part of a campaign file is read with."""

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pages
def test_each_block_says_what_it_is(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= LANGUAGES


# -- checked ---------------------------------------------------------------------------------------------


@pages
def test_each_command_is_one_that_the_program_knows(page: Path) -> None:
    for block in blocks_of(page, "bash"):
        for words in block.commands():
            try:
                _check(words)
            except Exception as exc:
                pytest.fail(f"{block.place}: {' '.join(words)}\n{exc}", pytrace=False)


def _check(words: Sequence[str]) -> None:
    if words[0] == "star-al":
        _parse_as_the_program_does(words[1:])
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in words[1:] if "=" not in word and word not in targets] == []
    elif words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.findall(r"\[(.+?)\]", " ".join(words))
        assert {extra for each in named for extra in each.split(",")} <= extras.keys()
    elif words[:2] == ["python", "-m"] or words[:2] == ["python3", "-m"]:
        assert words[2] in ("venv", "http.server", "pytest", "star_al"), f"no module {words[2]}"
    elif words[0] == "python":
        script = ROOT / words[1]
        known = script.read_text(encoding="utf-8")
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in known] == []
    else:
        assert words[0] in SHELL, f"nothing checks {words[0]}"


def _parse_as_the_program_does(words: Sequence[str]) -> None:
    """Raises a usage error where a command or an option does not exist, or a value cannot be."""
    words = moved_to_front(words)
    group = typer.main.get_command(app)
    context = group.make_context("star-al", [*words], resilient_parsing=not words)
    while hasattr(group, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, rest = group.resolve_command(context, rest)
        context, group = command.make_context(name, rest, parent=context), command


@pages
def test_each_campaign_file_is_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks_of(page, "yaml"):
        tree = YAML(typ="safe", pure=True).load(block.text)
        whole = {"name", "task"} <= tree.keys()
        text = block.text if whole else to_yaml({k: v for k, v in MINIMAL.items() if k not in tree})
        path = tmp_path / "campaign.yaml"
        path.write_text(text if whole else f"{text}\n{block.text}")
        load_campaign(path)


@pages
def test_each_json_block_is_json(page: Path) -> None:
    for block in blocks_of(page, "json"):
        for line in block.text.splitlines():
            json.loads(line)


# -- run -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a page's blocks run in."""
    write_jsonl(tmp_path / "texts.jsonl", make_rows(240))
    write_jsonl(tmp_path / "test.jsonl", make_rows(60, seed=1))
    for seed, name in ((2, "new.jsonl"), (3, "more.jsonl")):
        write_jsonl(tmp_path / name, make_rows(20, seed=seed))

    use_numpy_learner(monkeypatch.setattr)
    # What `init` writes would depend on how fast this machine is just now.
    monkeypatch.setattr("star_al.app.round_time.estimate_in", lambda _: lambda *_: 20.0)
    monkeypatch.setenv("PYTHONPATH", controller.environment()["PYTHONPATH"])  # for the workers of a cluster
    monkeypatch.chdir(tmp_path)
    return tmp_path


WITH_SOMETHING_TO_RUN = [
    page for page in PAGES if any(block.why_not is None for block in blocks_of(page, "bash", "python", "sql"))
]


@pytest.mark.parametrize("page", WITH_SOMETHING_TO_RUN, ids=name_of)
def test_each_page_does_what_it_shows(page: Path, folder: Path) -> None:
    for block in blocks_of(page, "bash", "python", "sql"):
        if block.why_not is None:
            _RUN[block.language](block)


def _run_commands(block: Block) -> None:
    for words in block.commands():
        code, output = _run(words)
        assert code == 0, f"{block.place}: {' '.join(words)} ended with {code}\n{output}"


def _run(words: Sequence[str]) -> tuple[int, str]:
    if words[0] == "cd":
        os.chdir(words[1])
        return 0, ""
    if words[0] == "sqlite3":
        return _sqlite(*words[1:])
    if words[:2] == ["star-al", "simulate"]:  # its processes need the learner, too
        paths = [str(EVERYWHERE), controller.environment()["PYTHONPATH"]]
        environment = controller.environment(OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(paths))
        line = [sys.executable, "-m", "star_al.cli.main", *words[1:]]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=240, check=False)
        return done.returncode, done.stdout + done.stderr
    if words[0] == "star-al":
        return run_command(words[1:]), ""
    assert shutil.which(words[0]), f"there is no program {words[0]}"
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def _sqlite(file: str, statement: str) -> tuple[int, str]:
    """What the program sqlite3 does, which not every machine has."""
    assert Path(file).exists(), file
    with sqlite3.connect(file) as database:
        if statement.startswith(".backup "):
            with sqlite3.connect(statement.removeprefix(".backup ")) as copy:
                database.backup(copy)
        else:
            assert database.execute(statement).fetchall(), f"{statement} finds nothing"
    return 0, ""


def _run_query(block: Block) -> None:
    """In the database that the page's commands have made."""
    (file,) = Path().glob("*.db")
    code, _ = _sqlite(str(file), block.text.strip().removesuffix(";"))
    assert code == 0


def _run_python(block: Block) -> None:
    exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})


_RUN: Mapping[str, Callable[[Block], None]] = {
    "bash": _run_commands,
    "python": _run_python,
    "sql": _run_query,
}
