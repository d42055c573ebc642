"""Whole campaigns from the command line: list, clone, archive, pause, close a round, delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.app.leasing import leased
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from support.campaigns import write_campaign
from support.kill_at import use_numpy_learner

StarAl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, star_al: StarAl) -> Path:
    """The folder of a finished campaign, as the current one; its model is the NumPy learner."""
    use_numpy_learner(monkeypatch.setattr)
    write_campaign(tmp_path, stopping__max_rounds=1)
    monkeypatch.chdir(tmp_path)
    assert star_al("run")[0] == 0
    return tmp_path


@pytest.fixture
def waiting(here: Path, star_al: StarAl) -> Path:
    """The same folder with a campaign file whose campaign waits for answers from Python."""
    write_campaign(
        here,
        name="asked",
        stopping__max_rounds=1,
        annotator={"kind": "api"},
        database={"url": "sqlite:///small.db"},
    )
    assert star_al("run", "-q")[0] == 6
    return here


def lines(star_al: StarAl, *words: str) -> list[dict[str, object]]:
    code, out, err = star_al("list", *words, "--format", "json")
    assert code == 0, err
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_a_list_has_every_campaign_of_the_database(star_al: StarAl, here: Path) -> None:
    assert star_al("clone", "copy", "--with-labels")[0] == 0
    copy, small = lines(star_al)
    assert (small["campaign"], small["state"]) == ("small", "stopped: round limit reached")
    assert (small["rounds"], small["labels"]) == (2, 18) and isinstance(small["accuracy"], float)
    assert (copy["campaign"], copy["rounds"], copy["labels"]) == ("copy", 0, 18)
    assert lines(star_al, f"sqlite:///{here / 'small.db'}") == [copy, small]
    table = star_al("list")[1].splitlines()
    assert table[1].split()[0] == "campaign" and table[2].startswith("copy") and max(map(len, table)) <= 80


def test_a_database_without_campaigns_has_an_empty_list(star_al: StarAl, here: Path) -> None:
    code, out, _ = star_al("list", "sqlite:///nothing.db")
    assert code == 0 and out == "No campaign has been started in this database.\n"
    assert not (here / "nothing.db").exists()


def test_an_archived_campaign_is_hidden_and_does_not_run(star_al: StarAl, here: Path) -> None:
    assert star_al("archive")[0] == 0
    assert lines(star_al) == [] and lines(star_al, "--archived")[0]["state"] == "archived"
    code, _, err = star_al("run")
    assert code == 2 and "was archived on" in err and "star-al archive --undo" in err
    assert star_al("status")[0] == star_al("export", "--out", "labels.csv")[0] == 0, "it can be read"
    assert star_al("archive", "--undo")[0] == star_al("run")[0] == 0


def test_a_campaign_that_runs_is_neither_archived_nor_deleted(star_al: StarAl, here: Path) -> None:
    file = load_campaign(here / "campaign.yaml")
    store = open_store(file)
    campaign = store.find_campaign("small")
    assert campaign is not None
    with leased(file, store, campaign):
        assert star_al("archive")[0] == star_al("delete", "--yes")[0] == 3
        assert lines(star_al)[0]["state"] == "running"
    store.close()
    assert star_al("status")[0] == 0


def test_a_paused_campaign_goes_on_after_resume(star_al: StarAl, waiting: Path) -> None:
    code, out, _ = star_al("pause")
    assert code == 0 and "star-al resume campaign.yaml" in out
    code, out, err = star_al("run")
    assert code == 6 and out.startswith("Paused since") and err == ""
    assert lines(star_al)[0]["state"] == "paused"
    assert star_al("resume")[0] == 0
    assert star_al("run", "-q")[1].startswith("Waiting for labels")


def test_a_round_is_closed_with_what_it_has(star_al: StarAl, waiting: Path) -> None:
    code, out, _ = star_al("close-round")
    assert code == 0 and "audit and calibration sets are closed with 0 texts done" in out
    assert star_al("run", "-q")[0] == 6, "now the batch of round 0 waits"
    code, out, _ = star_al("close-round")
    assert code == 0 and out.startswith(
        "Round 0 is closed with 0 texts done; 4 open texts go back to the pool."
    )
    assert star_al("run", "-q")[0] == 0, "nothing was labelled, and round 1 is the last"
    code, _, err = star_al("close-round")
    assert code == 2 and "not waiting for labels" in err


def test_a_clone_has_settings_and_data_and_runs(star_al: StarAl, here: Path) -> None:
    code, out, _ = star_al("clone", "again", "--out", "second.yaml")
    assert code == 0 and out.startswith("Wrote second.yaml: campaign 'again'.\n")
    spec = load_campaign(here / "second.yaml").spec
    assert spec.name == "again" and spec.database.url == "sqlite:///small.db"
    assert star_al("clone", "again", "--out", "second.yaml")[0] == 0, "safe to repeat"
    assert [one["campaign"] for one in lines(star_al)] == ["small"], "it starts with its first run"
    assert star_al("run", "second.yaml")[0] == 0
    assert [one["labels"] for one in lines(star_al)] == [18, 18]
    assert star_al("status", "second.yaml")[0] == 0


def test_a_clone_with_labels_trains_on_them_at_once(star_al: StarAl, here: Path) -> None:
    assert star_al("clone", "more", "--with-labels")[0] == 0
    code, _, err = star_al("run", "more.yaml")
    assert code == 0, err
    first = json.loads(star_al("history", "more.yaml", "--format", "json")[1])[0]
    assert (first["labels"], first["labels_bought"]) == (4, 18) and first["accuracy"] is not None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["small"], 3, "already exists"),
        (["a b"], 2, "name"),
        (["x", "--out", "campaign.yaml"], 2, "already exists"),
        (["x", "--out", "deep/x.yaml"], 2, "must be beside campaign.yaml"),
        (["campaign.yaml", "x", "y"], 2, "3 words"),
    ],
)
def test_a_clone_that_cannot_be_leaves_nothing_behind(
    star_al: StarAl, here: Path, words: list[str], code: int, message: str
) -> None:
    before = sorted(here.iterdir())
    found, _, err = star_al("clone", *words, "--with-labels")
    assert found == code and message in err
    assert sorted(here.iterdir()) == before


def test_deleting_asks_and_removes_only_what_is_the_campaigns(star_al: StarAl, here: Path) -> None:
    assert star_al("clone", "other", "--with-labels")[0] == star_al("run", "other.yaml")[0] == 0
    code, out, err = star_al("delete")
    assert code == 2 and "2 rounds, 18 labels and 18 answers" in out and "Add --yes" in err
    assert len(lines(star_al)) == 2
    note = here / "small-artefacts" / "notes.txt"
    note.write_text("mine")
    code, out, err = star_al("delete", "--yes")
    assert code == 0, err
    assert [one["campaign"] for one in lines(star_al)] == ["other"]
    assert list((here / "small-artefacts").rglob("*")) == [note], "a file of the user stays"
    assert (here / "campaign.yaml").exists() and (here / "pool.jsonl").exists()
    assert star_al("status")[0] == 3
    assert star_al("export", "other.yaml", "--out", "labels.csv", "--with-predictions")[0] == 0
    assert star_al("run")[0] == 0, "the name is free again"
