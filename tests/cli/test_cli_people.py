"""Campaigns labelled by people, from the command line: who did what and where, and the requests to the server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_al import local_server
from star_al.app.compose import open_parts
from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.local_server.credentials import new_credentials, write_credentials
from star_al.loop import Loop
from star_al.task import closed, make_task
from support import controller
from support.campaigns import write_campaign
from support.numpy_learner import NumpyLearner
from support.people import People
from support.quiet import Quiet

StarAl = Callable[..., tuple[int, str, str]]

NOWHERE = "http://127.0.0.1:9"
"""An address that nobody listens at."""


def write(folder: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "annotator": {"kind": "label_studio", "url": NOWHERE, "timeout": 2.0},
        "labelling": {"overlap": 2, "max_attempts": 2},
        "evaluation": {"kind": "none", "calibration": 0, "stop_set": 5},
        **changes,
    }
    return write_campaign(folder, **values)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Campaign file after a round of four queries: two were disputed, and a third person settled one of them."""
    config = write(tmp_path_factory.mktemp("people"))
    file = load_campaign(config)
    store = open_store(file, create=True)
    campaign = create_campaign(file, store, Quiet())
    people = People(lambda item_ids: store.items(campaign.campaign_id, item_ids))

    def first_two() -> None:
        for rank, query in enumerate(list(people.tasks.values()), start=1):
            gold = people.gold(query)
            wrong = next(name for name in ("sport", "business", "tech") if name != gold)
            people.answer("ann@example.org", query, gold)
            people.answer("bo@example.org", query, gold if rank > 2 else wrong)
        for key, answer in people.annotations.items():
            seconds = 4.0 if answer.annotator == "ann@example.org" else 7.5
            people.annotations[key] = replace(answer, lead_time=seconds)

    def third() -> None:
        first, second = (query for query in people.tasks.values() if query.attempt == 2)
        people.answer("cy@example.org", first)
        people.answer("cy@example.org", second, skip=True)

    people.script = [first_two, third]
    parts = open_parts(file, store, campaign, Quiet())
    learner = NumpyLearner(closed(make_task(file.spec.task)))
    lease = store.acquire_lease(campaign.campaign_id, "test", 60, may_take=lambda owner: True)
    parts = replace(parts, learner=learner).leased(lease, people, people.wait)
    assert Loop(parts).run(1).kind == "paused"
    store.release_lease(lease)
    store.close()
    return config


def test_status_says_who_labelled_and_where(star_al: StarAl, labelled: Path) -> None:
    code, out, err = star_al("status", labelled)
    assert code == 0, err
    assert f"label at    {NOWHERE}/projects/1/data" in out
    assert "open        0 texts; 1 closed without a label (1 disputed)" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "@" in line}
    assert rows == {
        "ann@example.org": ["4", "0", "4.0", "100.0"],
        "bo@example.org": ["4", "0", "7.5", "66.7"],
        "cy@example.org": ["1", "1", "–", "100.0"],
    }


def test_status_as_json(star_al: StarAl, labelled: Path) -> None:
    code, out, _ = star_al("status", labelled, "--format", "json")
    now = json.loads(out)
    assert code == 0
    assert (now["open"], now["skipped"], now["disputed"]) == (0, 1, 1)
    assert now["place"] == f"{NOWHERE}/projects/1/data"
    assert now["people"][1] == {
        "name": "bo@example.org",
        "answers": 4,
        "skips": 0,
        "seconds": 7.5,
        "compared": 3,
        "agreed": 2,
    }


def test_history_has_disputes_and_agreement(star_al: StarAl, labelled: Path) -> None:
    rows = json.loads(star_al("history", labelled, "--format", "json")[1])
    assert rows[0]["disputed"] == 1 and 0 < rows[0]["agreement"] < 1
    _, out, _ = star_al("history", labelled)
    assert out.splitlines()[1].split()[-2:] == ["/disp", "α"]
    assert out.splitlines()[2].split()[-2] == "4/1"
    assert "Krippendorff" in out
    assert max(map(len, out.splitlines()[:3])) <= 80


def test_explain_lists_answers_where_people_disagreed(star_al: StarAl, labelled: Path) -> None:
    code, out, _ = star_al("explain", labelled, "--round", 0)
    assert code == 0 and "Round 0 asked for labels of 4 texts" in out
    lines = [line for line in out.splitlines() if line.startswith("Rank ")]
    assert len(lines) == 6
    assert sum("(disputed)" in line for line in lines) >= 2
    assert any("attempt 2: cy@example.org skipped it" in line for line in lines)
    asked = json.loads(star_al("explain", labelled, "--round", 0, "--format", "json")[1])
    assert sorted(each["attempt"] for each in asked) == [1, 1, 1, 1, 2, 2]
    assert {len(each["answers"]) for each in asked} == {1, 2}
    assert any(each["answers"] == {"cy@example.org": None} for each in asked)


def test_looking_needs_neither_server_nor_token(
    star_al: StarAl, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    for command in (
        ["status"],
        ["history"],
        ["explain", "--round", 0],
        ["export", "--out", tmp_path / "x.csv"],
    ):
        code, _, err = star_al(command[0], labelled, *command[1:])
        assert code == 0, err


def test_a_missing_token_says_what_to_export(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    monkeypatch.setenv("STAR_AL_LABEL_STUDIO_HOME", str(tmp_path / "none"))
    config = write(tmp_path)
    code, _, err = star_al("run", config)
    assert code == 4 and "export LABEL_STUDIO_API_KEY=" in err and NOWHERE in err
    assert not (tmp_path / "small.db").exists()


def test_without_a_local_server_run_names_up(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_LABEL_STUDIO_HOME", str(tmp_path / "none"))
    code, _, err = star_al("run", write(tmp_path, annotator={"kind": "label_studio"}))
    assert code == 4 and "star-al up" in err
    assert not (tmp_path / "small.db").exists()


def test_an_unreachable_server_is_reported_before_anything_is_made(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "s3cret")
    code, _, err = star_al("run", write(tmp_path))
    assert code == 4 and NOWHERE in err and "s3cret" not in err
    assert not (tmp_path / "small.db").exists()


def test_labels_that_people_cannot_be_shown_are_reported_before_anything_is_made_or_changed(
    star_al: StarAl, tmp_path: Path, labelled: Path
) -> None:
    code, _, err = star_al("run", write(tmp_path, task__labels=["sport", "a\x07b"]))
    assert code == 2 and "'a\\x07b' contains a control character" in err
    assert not (tmp_path / "small.db").exists()
    # a started campaign does not adopt them: they could not be taken away again
    shutil.copytree(labelled.parent, tmp_path / "started")
    config = write(tmp_path / "started", task__labels=["sport", "business", "tech", "a\x07b"])
    assert star_al("run", config)[0] == 2
    store = open_store(load_campaign(config))
    campaign = store.find_campaign("small")
    store.close()
    assert campaign is not None
    assert len(CampaignSpec.model_validate(campaign.config).task.label_names) == 3


def test_the_token_of_a_local_server_that_is_down_is_not_sent(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    monkeypatch.setenv("STAR_AL_LABEL_STUDIO_HOME", str(tmp_path / "home"))
    place = local_server.default_place()
    place.home.mkdir()
    write_credentials(place, new_credentials(place, 9, local_server.VERSION))
    code, _, err = star_al("run", write(tmp_path))
    assert code == 4 and "local Label Studio is not running" in err and "star-al up" in err


def test_webhooks_need_people(star_al: StarAl, tmp_path: Path) -> None:
    code, _, err = star_al("run", write_campaign(tmp_path), "--webhook")
    assert code == 2 and "--webhook" in err and "oracle" in err


def test_doctor_says_that_the_server_is_unreachable(
    star_al: StarAl, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "s3cret")
    _, out, _ = star_al("doctor", labelled)
    assert "✗ server" in out and NOWHERE in out and "s3cret" not in out
    assert "token " not in out and "✗ project" not in out


def test_label_config_prints_what_is_written(star_al: StarAl, labelled: Path, tmp_path: Path) -> None:
    code, out, _ = star_al("label-config", labelled)
    file = load_campaign(labelled)
    store = open_store(file)
    campaign = store.find_campaign(file.spec.name)
    store.close()
    assert code == 0 and campaign is not None
    assert f"star_al:{campaign.key}" in out and 'value="sport"' in out
    code, out, _ = star_al("label-config", write(tmp_path))
    assert code == 0 and 'value="sport"' in out


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--apply",), 2)])
def test_label_config_of_an_oracle_is_an_error(
    star_al: StarAl, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    found, _, err = star_al("label-config", write_campaign(tmp_path), *arguments)
    assert found == code and "annotator.kind is oracle" in err


def test_label_config_is_not_applied_to_a_campaign_that_has_not_begun(
    star_al: StarAl, tmp_path: Path
) -> None:
    code, _, err = star_al("label-config", write(tmp_path), "--apply")
    assert code == 3 and "has not been started" in err


def test_labels_that_join_are_reported(tmp_path: Path) -> None:
    config = write_campaign(tmp_path, stopping__max_rounds=1)
    assert controller.run("run", str(config), "--max-rounds", "1").returncode == 0
    write_campaign(
        tmp_path, stopping__max_rounds=1, task__labels=["sport", "business", "tech", "arts", "x,y"]
    )
    done = controller.run("run", str(config))
    assert done.returncode == 0, done.stderr
    assert "Labels added: arts, x,y" in done.stderr
    assert "Labels added" not in controller.run("run", str(config)).stderr
