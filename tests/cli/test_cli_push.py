"""Models and labelled data are pushed to a hub that stands in for the real one, and the token stays secret."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.stand_in_hub import TOKEN, StandInHub, stand_in_hub


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with stand_in_hub() as listening:
        yield listening


def push(address: str, *arguments: object, token: str | None = TOKEN, home: Path) -> tuple[int, str, str]:
    """Run a command as one does who has this token; the hub's client reads its settings when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if token is not None:
        environment["HF_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, "-m", "star_al", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_model_becomes_a_private_repository(hub: StandInHub, finished: Path, tmp_path: Path) -> None:
    arguments = (
        "export-model",
        finished / "campaign.yaml",
        "--out",
        tmp_path / "model",
        "--push",
        "ann/tickets",
    )
    code, out, err = push(hub.address, *arguments, home=tmp_path)
    assert code == 0, err
    assert f"Pushed to {hub.address}/ann/tickets" in out and TOKEN not in out + err
    assert hub.visibility == {"ann/tickets": "private"} and set(hub.tokens) <= {TOKEN, None}
    written = {
        str(path.relative_to(tmp_path / "model")): path.read_bytes()
        for path in (tmp_path / "model").rglob("*")
        if path.is_file()
    }
    assert hub.files["ann/tickets"] == written
    assert "is a folder of this machine" in out  # the base model: others need it, too


def test_the_rows_become_a_data_set_with_a_card(hub: StandInHub, finished: Path, tmp_path: Path) -> None:
    code, out, err = push(
        hub.address, "export", finished / "campaign.yaml", "--push", "ann/labels", "--public", home=tmp_path
    )
    assert code == 0, err
    assert f"Pushed 60 rows to {hub.address}/datasets/ann/labels" in out and TOKEN not in out + err
    assert hub.visibility == {"ann/labels": "public"}
    files = hub.files["ann/labels"]
    assert sorted(files) == ["README.md", "train.parquet"]
    rows = pq.read_table(io.BytesIO(files["train.parquet"])).to_pylist()
    assert len(rows) == 60 and sum(row["label"] is not None for row in rows) == 22
    assert {row["annotators"] for row in rows} == {None, '["annotator 1"]'}
    card = files["README.md"].decode()
    assert "60 rows; 22 texts labelled by people" in card and "data_files: train.parquet" in card
    assert "no random sample" in card and "oracle" not in card


def test_a_public_repository_gets_nothing_private(hub: StandInHub, finished: Path, tmp_path: Path) -> None:
    hub.visibility["ann/open"] = "public"
    code, _, err = push(
        hub.address, "export", finished / "campaign.yaml", "--push", "ann/open", home=tmp_path
    )
    assert code == 7 and "ann/open exists on the hub and is public. Give --public" in err
    assert hub.files == {}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no token", "there is no token for the Hugging Face hub. Make one"),
        ("wrong token", "the hub does not accept the token"),
        ("no rights", "the token may not write to ann/tickets"),
        ("no network", "cannot be reached"),
        ("bad name", "cannot be the name of a repository"),
    ],
)
def test_what_goes_wrong_is_said_before_any_work(
    hub: StandInHub, finished: Path, tmp_path: Path, case: str, words: str
) -> None:
    hub.may_write = case != "no rights"
    token = {"no token": None, "wrong token": "hf_AnotherSecretToken"}.get(case, TOKEN)
    address = "http://127.0.0.1:9" if case == "no network" else hub.address
    repo = "a/b/c" if case == "bad name" else "ann/tickets"
    arguments = ("export-model", finished / "campaign.yaml", "--out", tmp_path / "model", "--push", repo)
    code, out, err = push(address, *arguments, token=token, home=tmp_path)
    assert (code, words in err) == (7, True), err
    assert len(err.strip().splitlines()) == 1 and out == ""
    assert "hf_" not in err and not (tmp_path / "model").exists()


def test_public_without_push_and_nowhere_to_write_are_usage_errors(finished: Path, tmp_path: Path) -> None:
    config = finished / "campaign.yaml"
    for arguments in (("export", config), ("export", config, "--out", tmp_path / "x.csv", "--public")):
        assert push("http://127.0.0.1:9", *arguments, home=tmp_path)[0] == 2
