"""Errors at the command line: one message, the right exit code, nothing half-written, no secrets."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.loop import Outcome
from star_al.types import Annotation, Event, Query, Reason, Role
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.quiet import Quiet

StarAl = Callable[..., tuple[int, str, str]]

CHECKOUT = Path(__file__).parent.parent.parent
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "sqlalchemy",
    "datasets",
    "matplotlib",
    "numpy",
    "pydantic",
    "ruamel",
}
HEAVY |= {"label_studio_sdk", "crowdkit", "pandas", "httpx", "playwright"}


def test_help_is_light() -> None:
    program = (
        "import sys; from star_al.cli.main import run_command; code = run_command(['--help']); "
        f"heavy = {HEAVY} & set(sys.modules); sys.exit(code or ' '.join(sorted(heavy)) or 0)"
    )
    start = time.monotonic()
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    print(f"--help took {time.monotonic() - start:.2f} s")
    assert done.returncode == 0, done.stderr
    assert "add-data" in done.stdout


def test_every_command_has_help(star_al: StarAl) -> None:
    commands = ["init", "run", "status", "history", "explain", "replay", "predict", "export", "add-data"]
    commands += ["doctor", "demo", "pictures", "db", "up", "label-config", "config"]
    for command in (*([name] for name in commands), ["db", "upgrade"], ["db", "check"], ["config", "schema"]):
        code, out, _ = star_al(*command, "--help")
        assert code == 0 and "Usage" in out


def test_version(star_al: StarAl) -> None:
    code, out, _ = star_al("--version")
    assert code == 0 and re.fullmatch(r"star-al \d+\.\d+\S*\n", out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "x.yaml", "--max-rounds", "0"],
        ["run", "x.yaml", "--webhook-url", "http://me"],
        ["fly"],
        ["history", "x", "--format", "pdf"],
    ],
)
def test_wrong_usage_is_code_2(star_al: StarAl, arguments: list[str]) -> None:
    assert star_al(*arguments)[0] == 2


def test_a_missing_campaign_file(star_al: StarAl, tmp_path: Path) -> None:
    code, out, err = star_al("run", tmp_path / "none.yaml")
    assert (code, out) == (2, "")
    assert "none.yaml: no such file" in err


def test_a_misspelt_key_is_named_with_its_neighbour(star_al: StarAl, tmp_path: Path) -> None:
    code, _, err = star_al("run", write_campaign(tmp_path, acquisition__batchsize=3))
    assert code == 2
    assert "acquisition.batchsize: unknown key. Did you mean 'batch_size'?" in err
    assert not list(tmp_path.glob("*.db"))


def test_looking_at_a_campaign_that_has_not_begun(star_al: StarAl, tmp_path: Path) -> None:
    config = write_campaign(tmp_path)
    code, _, err = star_al("status", config)
    assert code == 3 and "has not been started. Run `star-al run" in err and "db upgrade" not in err
    assert not (tmp_path / "small.db").exists()
    assert star_al("db", "upgrade", config)[0] == 0
    code, _, err = star_al("status", config)
    assert code == 3 and "star-al run" in err


def test_a_refused_change_is_shown_with_the_stored_and_the_present_value(
    star_al: StarAl, tmp_path: Path
) -> None:
    file = load_campaign(write_campaign(tmp_path, task__labels=["sport", "business", "tech", "true"]))
    store = open_store(file, create=True)
    made = create_campaign(file, store, Quiet())
    lease = store.acquire_lease(made.campaign_id, "me", 1.0, may_take=lambda _: True)
    item_id = store.item_ids(made.campaign_id, Role.POOL)[0]
    store.add_queries(lease, [Query("q", item_id, 0, Role.POOL, 1, Reason("why"))], Event("push", "asked"))
    store.mirror(lease, "api", [Annotation("1", "q", "sport")])
    store.release_lease(lease)
    store.close()
    path = write_campaign(tmp_path, task__labels=["sport", "business", "tech", "True"])
    code, _, err = star_al("run", path)
    assert code == 2
    assert "was started with different settings for task.labels. Change them back" in err
    shown = 'started with sport, business, tech, "true"; the file says sport, business, tech, "True"'
    assert f"\n  task.labels: {shown}\n" in err and "star-al clone campaign.yaml NAME --with-labels" in err


def test_init_leaves_a_file_that_is_there(star_al: StarAl, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "pool.jsonl", make_rows(30))
    out_file = tmp_path / "campaign.yaml"
    out_file.write_text("mine")
    arguments = ["init", data, "--label-column", "label", "--out", out_file]
    code, _, err = star_al(*arguments)
    assert code == 2 and "--force" in err and out_file.read_text() == "mine"
    assert star_al(*arguments, "--force")[0] == 0
    assert "label" in out_file.read_text()


def test_init_spares_its_data_and_writes_through_a_link(star_al: StarAl, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "pool.jsonl", make_rows(30))
    before = data.read_bytes()
    arguments = ["init", data, "--label-column", "label", "--force", "--out"]
    (tmp_path / "same.yaml").symlink_to(data)
    for out_file in (data, tmp_path / "same.yaml"):
        code, _, err = star_al(*arguments, out_file)
        assert code == 2 and "this is the data, which would be overwritten" in err
    assert data.read_bytes() == before

    (tmp_path / "sub").mkdir()
    (tmp_path / "c.yaml").symlink_to(tmp_path / "sub" / "real.yaml")
    assert star_al(*arguments, tmp_path / "c.yaml")[0] == 0
    assert (tmp_path / "c.yaml").is_symlink() and (tmp_path / "sub" / "real.yaml").is_file()


def test_init_spares_a_database_of_the_campaigns_name(star_al: StarAl, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "pool.jsonl", make_rows(30))
    (tmp_path / "pool.db").write_bytes(b"precious")
    code, _, err = star_al("init", data, "--label-column", "label", "--force", "--out", tmp_path / "pool.db")
    assert code == 2 and "is the campaign's database" in err
    assert (tmp_path / "pool.db").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool.db", "pool.jsonl"]


def test_init_writes_nothing_when_the_data_do_not_suit(star_al: StarAl, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "pool.jsonl", make_rows(30))
    code, _, err = star_al("init", data, "--label-column", "lable", "--out", tmp_path / "new" / "c.yaml")
    assert code == 2 and "'lable'" in err
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]


def test_db_upgrade_and_check_take_a_url_or_a_campaign(star_al: StarAl, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"
    code, _, err = star_al("db", "check", url)
    assert code == 3 and "no such database" in err
    assert star_al("db", "upgrade", url)[0] == 0
    assert star_al("db", "check", write_campaign(tmp_path))[0] == 0


def test_db_check_notices_another_version(star_al: StarAl, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"
    star_al("db", "upgrade", url)
    with sqlite3.connect(tmp_path / "small.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffff'")
    code, _, err = star_al("db", "check", url)
    assert code == 3 and "ffff" in err
    assert "Install a newer star_al" in err and "upgrade" not in err


def test_db_check_says_to_upgrade_an_empty_database(star_al: StarAl, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "small.db").close()
    (tmp_path / "small.db").touch()
    code, out, err = star_al("db", "check", f"sqlite:///{tmp_path / 'small.db'}")
    assert (code, out) == (3, "") and "star-al db upgrade" in err


def test_db_check_lists_what_differs_at_the_same_version(star_al: StarAl, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"
    star_al("db", "upgrade", url)
    with sqlite3.connect(tmp_path / "small.db") as database:
        database.execute("DROP VIEW round_history")
    code, out, err = star_al("db", "check", url)
    assert code == 3 and "the view round_history is missing" in out and "Restore a backup" in err


def test_no_password_in_a_message(star_al: StarAl) -> None:
    code, out, err = star_al("db", "check", "postgresql://me:s3cret@localhost:1/none")
    assert code == 3
    assert "s3cret" not in out + err and "me:***@localhost" in err


def test_an_unexpected_error_is_one_line_and_a_traceback_only_with_debug(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("postgresql://me:s3cret@host/x\nis broken")

    monkeypatch.setattr("star_al.app.running.run", broken)
    config = write_campaign(tmp_path)
    code, out, err = star_al("run", config)
    assert (code, out) == (1, "")
    assert err == (
        "star-al: internal error: RuntimeError: postgresql://me:***@host/x is broken; "
        "run with --debug for the traceback\n"
    )
    for arguments in (["--debug", "run", config], ["run", config, "--debug"], ["run", "--debug", config]):
        code, _, err = star_al(*arguments)
        assert code == 1 and "Traceback" in err and "s3cret" not in err


def test_waiting_for_labels_is_code_6(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome("waiting", 2, "3 queries are open")
    monkeypatch.setattr("star_al.app.running.run", lambda *args, **kwargs: outcome)
    code, out, _ = star_al("run", write_campaign(tmp_path), "--no-wait")
    assert code == 6 and "3 queries are open" in out


def written_to(stdout: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "star_al.cli.main", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize("command", ["--help", "doctor"])
def test_a_closed_pipe_is_quiet(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = written_to(writer, command)
    os.close(writer)
    assert done.stderr == b"" and done.returncode == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["--version"], ["run", "--help"]])
def test_a_full_disk_behind_stdout_is_one_message(command: list[str], unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = written_to(full.fileno(), *command, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 3
    assert done.stderr.startswith(b"star-al: cannot write to standard output (No space left on device)")
    assert done.stderr.count(b"\n") == 1


def test_a_stream_without_greek_gets_question_marks(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": ["λ", "é"][i % 2]} for i in range(30)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    command = [sys.executable, "-m", "star_al.cli.main", "init", "pool.jsonl", "--label-column", "label"]
    done = subprocess.run(
        command,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict", "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Labels: \xe9, ? (" in done.stdout or b"Labels: ?, \xe9 (" in done.stdout


def test_hostile_text_cannot_control_the_terminal(star_al: StarAl, model: Path, tmp_path: Path) -> None:
    row = {"id": "1", "text": "x", "label": "\x1b]0;owned\x07\x1b[31mred[/red]\x00"}
    data = tmp_path / "pool.jsonl"
    write_campaign(tmp_path, n=30, model__name=str(model))
    data.write_text(json.dumps(row) + "\n")
    code, _, err = star_al("run", tmp_path / "campaign.yaml")
    assert code == 2
    assert "\x1b" not in err and "\x07" not in err and "[/red]" in err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 3), ("n\n", 2)])
def test_another_variable_is_asked_for_on_a_terminal(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """A yes lets the command go on, here to the lack of a database server; it is asked once."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "settings")
    monkeypatch.setenv("MY_PASSWORD", "a-secret")
    config = write_campaign(tmp_path, database__url="postgresql://me:${MY_PASSWORD}@127.0.0.1:9/x")
    for times in (1, 2):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        stderr = Terminal()
        monkeypatch.setattr("sys.stderr", stderr)
        found, out, _ = star_al("status", config)
        shown = out + stderr.getvalue()
        assert found == code
        assert ("MY_PASSWORD, whose value is sent to 127.0.0.1:9/x" in shown) == (times == 1 or code == 2)
        assert "a-secret" not in shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
