"""A campaign from the command line with a tiny model, SQLite and a simulated annotator."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from ruamel.yaml import YAML

from star_al.app.compose import open_parts
from star_al.app.init.starter_file import SCHEMA_FILE
from star_al.app.stores import reading
from star_al.common.process_identity import ProcessIdentity
from star_al.config.file import load_campaign
from star_al.config.writing import with_values
from star_al.stats.learning_curves import Comparison
from star_al.stats.temperature import apply_temperature
from star_al.steps.base_predictions import base_log_probs
from star_al.types import FloatArray
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.quiet import Quiet

StarAl = Callable[..., tuple[int, str, str]]

HISTORY_KEYS = {
    "round",
    "state",
    "labels",
    "accuracy",
    "nll",
    "brier",
    "ece",
    "base_accuracy",
    "base_ece",
    "temperature",
    "blend_weight",
    "seconds",
    "stop_reason",
}


def column(rows: list[dict[str, object]], name: str) -> FloatArray:
    return np.array([row[name] for row in rows], dtype=np.float64)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_init_writes_a_campaign_that_runs(
    star_al: StarAl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "mine.jsonl", make_rows(40))
    code, out, _ = star_al("init", "mine.jsonl", "--label-column", "label", "--model", model)
    assert code == 0
    assert "40 texts" in out and "star-al run campaign.yaml" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.yaml", "mine.jsonl", SCHEMA_FILE]

    config = tmp_path / "campaign.yaml"
    written = YAML(typ="safe").load(config.read_text(encoding="utf-8"))
    jsonschema.validate(written, json.loads((tmp_path / SCHEMA_FILE).read_text()))
    config.write_text(with_values(config.read_text(), {"model.max_tokens": 96}))
    code, out, err = star_al("run", "campaign.yaml", "--max-rounds", 1)
    assert code == 0, err
    assert (
        "Paused after round 0: 1 round finished, as requested. " in out and "star-al run campaign.yaml" in out
    )


def test_history_as_json_is_one_list_with_the_promised_keys(star_al: StarAl, finished: Path) -> None:
    code, out, err = star_al("history", finished / "campaign.yaml", "--format", "json")
    rows = json.loads(out)
    assert code == 0 and err == ""
    assert all(row.keys() >= HISTORY_KEYS for row in rows)
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert [row["labels"] for row in rows] == [0, 4, 8]
    assert [row["state"] for row in rows] == ["collected", "collected", "stopped"]
    assert rows[-1]["stop_reason"].startswith("round limit")


def test_history_as_csv_holds_the_same_rows(star_al: StarAl, finished: Path) -> None:
    _, as_json, _ = star_al("history", finished / "campaign.yaml", "--format", "json")
    _, as_csv, _ = star_al("history", finished / "campaign.yaml", "--format", "csv")
    expected = [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in json.loads(as_json)
    ]
    assert list(csv.DictReader(io.StringIO(as_csv))) == expected


@pytest.mark.parametrize("columns", ["80", "120"])
def test_tables_fit_the_terminal(
    star_al: StarAl, finished: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _, history, _ = star_al("history", finished / "campaign.yaml")
    _, explained, _ = star_al("explain", finished / "campaign.yaml", "--round", 1)
    for table in (history.split("Stopped")[0], explained.split("Reason for")[0]):
        assert "…" not in table.splitlines()[0] and "…" not in table.splitlines()[1]
        assert max(map(len, table.splitlines())) <= int(columns)
    assert "Stopped at round 2: round limit" in history
    assert ("why" in explained.splitlines()[1]) == (columns == "120")


def test_explain_says_rank_uncertainty_and_label(star_al: StarAl, finished: Path) -> None:
    code, out, _ = star_al("explain", finished / "campaign.yaml", "--round", 1, "--format", "json")
    asked = json.loads(out)
    gold = {row["id"]: row["label"] for row in rows_of(finished / "pool.jsonl")}
    assert code == 0
    assert [each["rank"] for each in asked] == [1, 2, 3, 4]
    assert all(each["label"] == gold[each["id"]] for each in asked)
    assert all(0 <= each["blended"] <= 1 and each["base_uncertainty"] > 0 for each in asked)
    blended = [each["blended"] for each in asked]
    assert blended == sorted(blended, reverse=True)
    assert all(each["why"].startswith("rank ") for each in asked)


def test_explain_names_held_out_items_apart(star_al: StarAl, finished: Path) -> None:
    _, out, _ = star_al("explain", finished / "campaign.yaml", "--round", 0)
    assert "Round 0 asked for labels of 4 texts" in out
    held_out = "(drawn at random at import, never trained on)"
    assert f"It also asked for 8 audit labels {held_out}; 8 have been given." in out
    assert f"It also asked for 6 calibration labels {held_out}; 6 have been given." in out


@pytest.mark.parametrize("command", ["explain", "replay"])
def test_an_unknown_round_is_a_clear_error(star_al: StarAl, finished: Path, command: str) -> None:
    code, out, err = star_al(command, finished / "campaign.yaml", "--round", 9)
    assert (code, out) == (2, "")
    assert "there is no round 9" in err and len(err.splitlines()) == 1


def test_status_says_where_the_campaign_stands(star_al: StarAl, finished: Path) -> None:
    code, out, _ = star_al("status", finished / "campaign.yaml")
    assert code == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
    assert lines["data"] == "46 pool, 8 audit, 6 calibration"
    assert lines["labels"] == "8 pool, 8 audit, 6 calibration"
    assert lines["round"] == "2"
    assert lines["next"].startswith("stopped: round limit")
    assert lines["running"] == "no"
    assert lines["database"].endswith("small.db")


def test_status_says_which_process_runs_the_campaign(star_al: StarAl, own_copy: Path) -> None:
    config = own_copy / "campaign.yaml"
    me = ProcessIdentity.of()
    elsewhere = replace(me, place="trainer/0123456789abcdef/4026531836")

    def set_owner(owner: object) -> None:
        with sqlite3.connect(own_copy / "small.db") as database:
            database.execute(
                "UPDATE campaigns SET lease_owner = ?, lease_expires = '2999-01-01 00:00:00.000000'",
                (str(owner),),
            )

    set_owner(me)
    assert f"running     process {me.pid} on this machine, started at " in star_al("status", config)[1]
    assert json.loads(star_al("status", config, "--format", "json")[1])["run"].startswith(
        f"process {me.pid} on this"
    )
    code, _, err = star_al("run", config)
    assert code == 3 and f"another star-al run (process {me.pid} on this machine) has the campaign" in err
    set_owner(elsewhere)
    assert f"running     process {me.pid} on trainer, started at " in star_al("status", config)[1]
    set_owner(replace(me, pid=2**22 + 1))  # no process has such an id
    assert "running     no" in star_al("status", config)[1]


def test_replay_of_an_unchanged_round_is_the_same(star_al: StarAl, finished: Path) -> None:
    code, out, err = star_al("replay", finished / "campaign.yaml", "--round", 1)
    assert code == 0, err
    assert "Replaying round 1 chose the same 4 texts in the same order and trained the same adapter." in out


def test_a_training_that_diverges_is_repeated_with_another_rate(star_al: StarAl, own_copy: Path) -> None:
    """Earlier rounds keep their own learning rate, even if they decide again."""
    config = own_copy / "campaign.yaml"
    before = load_campaign(config).spec.adapter.learning_rate
    for rate, ends_with in ((1e30, 5), (before / 2, 0)):
        changes = {"adapter.learning_rate": rate, "stopping.max_rounds": 4}
        config.write_text(with_values(config.read_text(), changes))
        code, _, err = star_al("run", config)
        assert code == ends_with, err
        assert code == 0 or ("diverged" in err and "Lower adapter.learning_rate" in err)
    with sqlite3.connect(own_copy / "small.db") as database:
        rates = database.execute(
            "SELECT config ->> '$.adapter.learning_rate' FROM rounds ORDER BY round_index"
        ).fetchall()
        told = database.execute(
            "SELECT message FROM events WHERE message LIKE 'settings changed%'"
        ).fetchall()
    assert rates == [(before,)] * 3 + [(before / 2,)] * 2
    assert told == [
        ("settings changed: adapter.learning_rate, stopping.max_rounds",),
        ("settings changed: adapter.learning_rate",),
    ]
    code, out, err = star_al("replay", config, "--round", 1)
    assert code == 0, err
    assert "trained the same adapter" in out


def test_replay_notices_another_order(star_al: StarAl, own_copy: Path) -> None:
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE queries SET rank = 5 - rank WHERE round_index = 1")
    code, out, _ = star_al("replay", own_copy / "campaign.yaml", "--round", 1)
    assert code == 1
    assert "Replaying round 1 chose the same 4 texts in a different order" in out


def test_predict_answers_every_text_and_keeps_columns(
    star_al: StarAl, finished: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "new.jsonl", [{"text": f"the bank {i}", "mine": i} for i in range(7)])
    out_file = tmp_path / "predicted.jsonl"
    code, out, err = star_al("predict", finished / "campaign.yaml", "--in", texts, "--out", out_file)
    assert code == 0, err
    assert out.startswith("Wrote 7 predictions") and "adapter of round 2" in out
    rows = rows_of(out_file)
    assert [row["mine"] for row in rows] == list(range(7))
    assert all(row["predicted"] in ("sport", "business", "tech") for row in rows)
    assert all(1 / 3 <= float(str(row["confidence"])) <= 1 for row in rows)
    columns = ["text", "mine", "predicted", "confidence", "total_uncertainty", "aleatoric", "epistemic"]
    assert list(rows[0]) == [*columns, "probability_sport", "probability_business", "probability_tech"]


def test_predict_says_calibrated_probabilities_and_the_split_of_the_raw_samples(
    star_al: StarAl, own_copy: Path, tmp_path: Path
) -> None:
    arguments = ["predict", own_copy / "campaign.yaml", "--in", own_copy / "pool.jsonl"]
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE rounds SET temperature = 0.25 WHERE round_index = 2")
    assert star_al(*arguments, "--out", tmp_path / "sharp.jsonl")[0] == 0
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE rounds SET temperature = 1 WHERE round_index = 2")
    assert star_al(*arguments, "--out", tmp_path / "raw.jsonl")[0] == 0

    labels = ("sport", "business", "tech")
    for sharp, raw in zip(rows_of(tmp_path / "sharp.jsonl"), rows_of(tmp_path / "raw.jsonl"), strict=True):
        sharp_C, raw_C = (np.array([row[f"probability_{name}"] for name in labels]) for row in (sharp, raw))
        assert sharp_C.sum() == pytest.approx(1) and raw_C.sum() == pytest.approx(1)
        assert sharp["predicted"] == labels[sharp_C.argmax()] and sharp["confidence"] == sharp_C.max()
        np.testing.assert_allclose(sharp_C, raw_C**4 / (raw_C**4).sum(), rtol=1e-6)
        split = ("total_uncertainty", "aleatoric", "epistemic")
        assert [sharp[name] for name in split] == [raw[name] for name in split]
        assert raw["total_uncertainty"] == pytest.approx(-(raw_C * np.log(raw_C)).sum())
        assert sharp["aleatoric"] + sharp["epistemic"] == pytest.approx(sharp["total_uncertainty"])  # type: ignore[operator]
        assert 0 < sharp["epistemic"] < sharp["aleatoric"]  # type: ignore[operator]


def test_predict_says_what_it_left_out_and_does_not_need_the_data(
    star_al: StarAl, own_copy: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(
        tmp_path / "new.jsonl", [{"text": text} for text in ("the bank", " ", "a\0goal\0", None)]
    )
    (own_copy / "pool.jsonl").unlink()
    out_file = tmp_path / "predicted.jsonl"
    code, out, err = star_al("predict", own_copy / "campaign.yaml", "--in", texts, "--out", out_file)
    assert code == 0, err
    assert out.startswith("Wrote 2 predictions") and "2 rows without text have none" in out
    assert "replaced 2 characters (NUL, lone surrogates) with U+FFFD" in out
    rows = rows_of(out_file)
    assert [row["text"] for row in rows] == ["the bank", " ", "a\ufffdgoal\ufffd", None]
    assert [row["predicted"] is None for row in rows] == [False, True, False, True]


def test_predict_says_what_its_paths_are_relative_to(star_al: StarAl, finished: Path) -> None:
    arguments = ["predict", finished / "campaign.yaml", "--in", "absent.csv", "--out", "out.csv"]
    code, _, err = star_al(*arguments)
    assert code == 2 and "relative to the current folder" in err


def test_a_round_killed_after_training_does_not_predict(
    star_al: StarAl, own_copy: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "new.jsonl", [{"text": "the bank"}])
    arguments = ["predict", own_copy / "campaign.yaml", "--in", texts, "--out", tmp_path / "out.jsonl"]
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE rounds SET temperature = NULL WHERE round_index = 2")
    assert "adapter of round 1, temperature" in star_al(*arguments)[1]

    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE rounds SET temperature = NULL WHERE round_index > 0")
        database.execute("UPDATE rounds SET base_temperature = 4 WHERE round_index = 0")
    assert "base model, temperature 4.00 of round 0" in star_al(*arguments)[1]
    [warm] = rows_of(tmp_path / "out.jsonl")
    with sqlite3.connect(own_copy / "small.db") as database:
        database.execute("UPDATE rounds SET temperature = NULL")
    assert "base model, no temperature yet" in star_al(*arguments)[1]
    [plain] = rows_of(tmp_path / "out.jsonl")
    assert warm["predicted"] == plain["predicted"]
    assert 1 / 3 <= float(str(warm["confidence"])) < float(str(plain["confidence"]))


def test_without_an_adapter_the_base_model_predicts_as_it_was_measured(
    star_al: StarAl, model: Path, tmp_path: Path
) -> None:
    config = write_campaign(tmp_path, n=40, model__name=str(model), task__contextual_calibration=True)
    assert star_al("run", config, "--max-rounds", 1)[0] == 0
    code, _, err = star_al("export", config, "--out", tmp_path / "all.jsonl", "--with-predictions")
    assert code == 0, err
    assert "base model, contextual calibration, temperature" in err
    rows = [row for row in rows_of(tmp_path / "all.jsonl") if row["kind"] == "model"]

    file = load_campaign(config)
    with reading(file) as (store, campaign):
        parts = open_parts(file, store, campaign, Quiet())
        evaluation = store.rounds(campaign.campaign_id)[0].evaluation
        assert evaluation is not None
        log_probs_N_C = base_log_probs(parts, [str(row["item_id"]) for row in rows], contextual=True)
    expected_N = np.exp(apply_temperature(log_probs_N_C, evaluation.base_temperature)).max(axis=1)
    np.testing.assert_allclose(column(rows, "confidence"), expected_N, rtol=1e-4)
    entropy_N = -(np.exp(log_probs_N_C) * log_probs_N_C).sum(axis=1)
    np.testing.assert_allclose(column(rows, "total_uncertainty"), entropy_N, rtol=1e-4)
    assert {row[part] for row in rows for part in ("aleatoric", "epistemic")} == {
        None
    }  # one sample: no split


@pytest.mark.parametrize("name", ["pool.jsonl", "link.jsonl", "texts.jsonl", "test.jsonl"])
def test_no_output_is_written_over_the_campaign(star_al: StarAl, own_copy: Path, name: str) -> None:
    config = write_campaign(own_copy, evaluation={"kind": "test", "path": "test.jsonl"})
    (own_copy / "link.jsonl").symlink_to("small.db")
    write_jsonl(own_copy / "texts.jsonl", [{"text": "the bank"}])
    write_jsonl(own_copy / "test.jsonl", make_rows(3))
    before = {path.name: path.read_bytes() for path in own_copy.iterdir() if path.is_file()}
    commands = [["predict", config, "--in", own_copy / "texts.jsonl", "--out", own_copy / name]]
    if name != "texts.jsonl":
        commands += [["export", config, "--out", own_copy / name]]
    for command in commands:
        code, _, err = star_al(*command)
        assert code == 2 and "would be overwritten" in err
    assert {path.name: path.read_bytes() for path in own_copy.iterdir() if path.is_file()} == before


def test_added_rows_join_the_pool_once(star_al: StarAl, own_copy: Path, tmp_path: Path) -> None:
    more = write_jsonl(tmp_path / "more.jsonl", make_rows(5, seed=1) + make_rows(3))
    for expected in ("Added 5 new texts to the pool", "Added 0 new texts to the pool"):
        code, out, err = star_al("add-data", own_copy / "campaign.yaml", more)
        assert code == 0, err
        assert out.startswith(expected)
    assert "51 pool" in star_al("status", own_copy / "campaign.yaml")[1]


def test_pictures_are_drawn_from_the_store(star_al: StarAl, finished: Path, tmp_path: Path) -> None:
    code, out, err = star_al("pictures", finished / "campaign.yaml", "--out", tmp_path / "new")
    assert code == 0, err
    assert "learning_curve.png" in out and "reliability.png" not in out  # it has too few held-out texts
    (drawn,) = (tmp_path / "new").iterdir()
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_doctor_finds_a_healthy_campaign(star_al: StarAl, finished: Path) -> None:
    code, out, _ = star_al("doctor", finished / "campaign.yaml")
    assert code == 0, out
    assert "✗" not in out
    for name in ("packages", "device", "data", "model", "database", "artefacts", "disk"):
        assert f"✓ {name}" in out
    assert "dtype float32" in out


def test_doctor_returns_the_code_of_the_first_failure(star_al: StarAl, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "small.db").write_bytes(b"no database" * 1000)
    config = write_campaign(tmp_path, n=30)
    code, out, _ = star_al("doctor", config)
    assert code == 5
    assert "✗ model" in out and "config.json is missing" in out
    assert "✗ database" in out and "✓ disk" in out


def test_doctor_reports_a_bad_config_and_goes_on(star_al: StarAl, tmp_path: Path) -> None:
    code, out, _ = star_al("doctor", tmp_path / "none.yaml")
    assert code == 2
    assert "✗ config" in out and "✓ disk" in out


def test_doctor_reports_paths_that_cannot_be_looked_at(star_al: StarAl, tmp_path: Path) -> None:
    long = "x" * 300
    config = write_campaign(tmp_path, n=30, artefacts=f"{long}/artefacts", data__path=f"{long}.jsonl")
    code, out, _ = star_al("doctor", config)
    assert code == 2
    assert "unexpected" not in out and "✗ artefacts" in out and "✗ data" in out
    assert out.count("File name too long") >= 2


def test_doctor_runs_without_a_campaign(star_al: StarAl) -> None:
    code, out, _ = star_al("doctor")
    assert code == 0
    assert "torch" in out and "chosen by a speed test" in out


def test_the_demo_shows_rounds_pictures_and_what_to_do_next(
    star_al: StarAl, own_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What prepares the model and the news needs a package index and has tests of its own.
    monkeypatch.setattr("star_al.app.demo.prepare_demo", lambda folder, say, which: folder / "campaign.yaml")
    # With a head and an encoder, simulated campaigns have tests of their own, too.
    compared = Comparison("small", (), (), None, None)
    monkeypatch.setattr("star_al.app.demo_comparison.compare_with_random", lambda file, progress: compared)
    code, out, err = star_al("demo", "--folder", own_copy)
    assert code == 0, err
    assert "Stopped at round 2: round limit" in out
    assert (own_copy / "learning_curve.png").is_file()
    assert "and at most" in out and "star-al init data.csv --label-column label" in out
