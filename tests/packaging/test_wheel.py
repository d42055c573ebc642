"""The wheel holds everything the program needs and works without a checkout."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from support.campaigns import write_campaign
from support.tiny_model import build_tiny_model

CHECKOUT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without PYTHONPATH, which must succeed, and return its standard output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments: str | Path, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT, cwd=folder)
    (built,) = folder.glob("star_al-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` folder of an environment with the wheel, which finds the libraries of this environment.

    A .pth line adds the libraries. It does not add what .pth files of this environment add, such as an
    editable star_al.
    """
    environment = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    pip("--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=environment)
    own = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=environment).strip())
    (own / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python.parent


def test_wheel_holds_packages_migrations_and_configs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        *_placed("star_al", "star_al", "*.py"),
        *_placed("db", "db", "*.py"),
        *_placed("migrations", "db/_migrations", "*.py"),
        *_placed("configs", "star_al/_configs", "*.yaml"),
        *_placed("star_al/report/templates", "star_al/report/templates", "*.*"),
        "star_al/py.typed",
        "db/py.typed",
    }
    assert expected <= names, f"missing: {sorted(expected - names)}"
    assert any(name.startswith("db/_migrations/versions/") for name in names)
    folders = {name.partition("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"star_al", "db"}


def _placed(folder: str, place: str, pattern: str) -> set[str]:
    """Places in the wheel of the checkout's files under ``folder``."""
    root = CHECKOUT / folder
    return {f"{place}/{path.relative_to(root).as_posix()}" for path in root.rglob(pattern)}


def test_installed_program_answers_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert "demo" in run(installed / "star-al", "--help", cwd=tmp_path)


def test_installed_modules_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import star_al, db; print(star_al.__file__); print(db.__file__)"
    for path in run(installed / "python", "-c", code, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.parent)


def test_installed_demo_finds_its_campaign(installed: Path, tmp_path: Path) -> None:
    code = "from star_al.app.demo import NEWS, campaign_text; print(campaign_text(NEWS, {'model.name': 'm'}))"
    assert "name: m\n" in run(installed / "python", "-c", code, cwd=tmp_path)


def test_installed_program_runs_a_round_and_keeps_it(installed: Path, tmp_path: Path) -> None:
    build_tiny_model(tmp_path / "model")
    write_campaign(tmp_path, evaluation__stop_set=4)
    run(installed / "star-al", "run", "campaign.yaml", "--max-rounds", "2", cwd=tmp_path)
    history = json.loads(
        run(installed / "star-al", "history", "campaign.yaml", "--format", "json", cwd=tmp_path)
    )
    assert [(row["round"], row["state"], row["labels"]) for row in history] == [
        (0, "collected", 0),
        (1, "collected", 4),
    ]
    run(installed / "star-al", "db", "check", "campaign.yaml", cwd=tmp_path)
