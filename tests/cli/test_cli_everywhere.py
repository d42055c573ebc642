"""What every command takes: a default campaign file, --set, -q, -v, -V, and addresses from the environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from star_al.config.file import load_campaign
from star_al.config.spec import LabelStudioSpec
from star_al.errors import ConfigError
from support.campaigns import make_rows, write_campaign, write_jsonl

StarAl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(own_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished campaign, as the current one."""
    monkeypatch.chdir(own_copy)
    return own_copy


def test_commands_find_the_campaign_file_in_the_current_folder(star_al: StarAl, here: Path) -> None:
    write_jsonl(here / "more.jsonl", make_rows(3, seed=5))
    for words in (
        ["status"],
        ["history"],
        ["explain", "--round", "1"],
        ["report"],
        ["pictures"],
        ["add-data", "more.jsonl"],
        ["db", "check"],
        ["db", "upgrade"],
        ["export", "--out", "labels.csv"],
        ["run"],
    ):
        code, _, err = star_al(*words)
        assert code == 0, (words, err)


def test_without_a_campaign_file_there_is_advice(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = star_al("status")
    assert (
        code == 2
        and "campaign.yaml: no such file. Name your campaign file, or let `star-al init` write one." in err
    )


def test_a_setting_may_stand_anywhere_on_the_line(star_al: StarAl, here: Path) -> None:
    for words in (
        ["--set", "database.url=sqlite:///no.db", "status"],
        ["status", "--set", "database.url=sqlite:///no.db"],
        ["status", "campaign.yaml", "--set=database.url=sqlite:///no.db"],
    ):
        code, _, err = star_al(*words)
        assert code == 3 and "has not been started" in err


def test_a_setting_is_part_of_the_command_that_goes_on(star_al: StarAl, here: Path) -> None:
    code, out, err = star_al("run", "--set", "stopping.max_rounds=4", "--max-rounds", "1")
    assert code == 0, err
    assert "star-al run campaign.yaml --set stopping.max_rounds=4" in out
    assert "max_rounds: 2" in (here / "campaign.yaml").read_text(), "the file stays as it is"


def test_quiet_shows_results_and_errors_only(star_al: StarAl, here: Path) -> None:
    code, out, err = star_al("run", "--set", "stopping.max_rounds=3", "-q")
    assert code == 0 and err == "" and out.startswith("Stopped after round 3")
    code, _, err = star_al("-q", "explain", "--round", "99")
    assert code == 2 and "there is no round 99" in err


def test_verbose_shows_what_libraries_log(
    star_al: StarAl, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    from star_al.app import reporting

    def noisy(*_: object) -> None:
        logging.getLogger("some.library").info("asking postgresql://me:secret@host/db")

    monkeypatch.setattr(reporting, "write_report", noisy)
    assert "some.library" not in star_al("report")[2]
    _, _, err = star_al("report", "-v")
    assert "some.library: asking postgresql://me:***@host/db" in err
    assert "some.library" not in star_al("report")[2], "a later command is as quiet as before"


def test_the_version_has_a_short_option(star_al: StarAl) -> None:
    assert star_al("-V")[1] == star_al("--version")[1] != ""


def test_too_many_files_to_add_are_refused(star_al: StarAl, here: Path) -> None:
    code, _, err = star_al("add-data", "campaign.yaml", "one.jsonl", "two.jsonl")
    assert code == 2 and "3 names" in err


# -- the environment -----------------------------------------------------------------------------------


def test_the_environment_names_the_database_of_new_campaigns(
    star_al: StarAl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    config = write_campaign(tmp_path / "one", model__name=str(model), stopping__max_rounds=1)
    assert star_al("run", config)[0] == 0
    assert (tmp_path / "shared.db").exists() and not (tmp_path / "one" / "small.db").exists()
    assert str(tmp_path / "shared.db") in star_al("status", config)[1]


def test_a_campaign_in_its_own_file_stays_there(
    star_al: StarAl, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@nowhere.invalid/none")
    code, out, err = star_al("status")
    assert code == 0, err
    assert str(here / "small.db") in out


def test_the_environment_may_name_another_kind_of_database(
    star_al: StarAl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_campaign(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "mysql://u:secret@host/shop")
    code, _, err = star_al("status", config)
    assert code == 2 and "DATABASE_URL names a database that star_al cannot use" in err
    assert "secret" not in err
    monkeypatch.setenv("DATABASE_URL", "postgres://u@host/db")
    assert load_campaign(config).database_url == "postgresql://u@host/db"


def test_the_environment_names_the_label_studio_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://labels.example.org/")
    assert LabelStudioSpec(kind="label_studio").server_url == "https://labels.example.org"
    assert LabelStudioSpec(kind="label_studio", url="http://other:1").server_url == "http://other:1"
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://me:secret@labels.example.org")
    with pytest.raises(ConfigError, match="LABEL_STUDIO_URL holds more than an address") as raised:
        _ = LabelStudioSpec(kind="label_studio").server_url
    assert "secret" not in str(raised.value)


# -- campaigns of one name -----------------------------------------------------------------------------


def test_folders_with_odd_names_keep_their_campaigns_apart(
    star_al: StarAl, model: Path, tmp_path: Path
) -> None:
    first = write_campaign(tmp_path / "kept? yes", model__name=str(model), stopping__max_rounds=1)
    other = write_campaign(tmp_path / "kept? no", model__name=str(model))
    odd = write_campaign(tmp_path / "a%20b#c", model__name=str(model), stopping__max_rounds=1)
    assert star_al("run", first)[0] == 0
    assert star_al("status", other)[0] == 3
    assert star_al("run", odd)[0] == 0
    assert star_al("export", odd, "--out", odd.parent / "labels.parquet")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path != model) == [
        "a%20b#c",
        "kept? no",
        "kept? yes",
    ]
    assert sorted(path.parent.name for path in tmp_path.rglob("small.db")) == ["a%20b#c", "kept? yes"]


def test_a_campaign_of_the_same_name_over_other_data_is_refused(star_al: StarAl, here: Path) -> None:
    other = write_campaign(
        here.parent / "other", model__name="../model", database={"url": "sqlite:///../finished/small.db"}
    )
    write_jsonl(other.parent / "pool.jsonl", make_rows(30, seed=9))
    code, _, err = star_al("run", other)
    assert code == 2 and "was started on other data" in err and "another name" in err
    assert "any of the first 30 texts of pool.jsonl" in err


def test_a_data_file_that_has_grown_or_gone_is_still_the_campaigns(star_al: StarAl, here: Path) -> None:
    rows = [json.loads(line) for line in (here / "pool.jsonl").read_text().splitlines()]
    write_jsonl(here / "pool.jsonl", [*make_rows(3, seed=9), *rows])
    assert star_al("run")[0] == 0
    (here / "pool.jsonl").unlink()
    assert star_al("run")[0] == 0
