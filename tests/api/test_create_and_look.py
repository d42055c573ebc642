"""``Campaign.create``, and what a campaign shows: tables, predictions, reports, representations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al import Campaign
from star_al.cli.main import run_command
from star_al.config.file import load_campaign
from star_al.errors import ConfigError, DataError, StoreError
from support.campaigns import WORDS, make_rows, write_jsonl
from support.packages import HEAVY
from support.quiet import Quiet

LABELS = list(WORDS)
SETTINGS = {"acquisition.batch_size": 5, "evaluation": {"size": 6, "calibration": 0}}

Create = Callable[..., Campaign]


@pytest.fixture
def create(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Create:
    """``Campaign.create`` in an empty folder, without a display."""
    monkeypatch.chdir(tmp_path)

    def create_(data: Any, labels: Any = LABELS, **options: Any) -> Campaign:
        settings: dict[str, Any] = {"model": "model", "progress": Quiet()} | options
        return Campaign.create(data, labels, **settings)

    return create_


def without_labels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": row["id"], "text": row["text"]} for row in rows]


def test_the_campaign_file_lies_beside_the_data_and_belongs_to_python_and_the_command_line(
    tmp_path: Path, create: Create
) -> None:
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "tickets.jsonl", without_labels(make_rows(40)))
    campaign = create("data/tickets.jsonl", settings=SETTINGS, id_column="id")
    assert campaign.path == tmp_path / "data" / "campaign.yaml"
    spec = load_campaign(campaign.path).spec
    assert (spec.name, spec.annotator.kind, spec.acquisition.batch_size) == ("tickets", "api", 5)
    assert (spec.evaluation.size, spec.data.id, spec.task.label_names) == (6, "id", tuple(LABELS))
    assert repr(campaign).endswith("state not started")


def test_creating_it_again_opens_it_and_another_one_is_refused(create: Create) -> None:
    texts = [row["text"] for row in make_rows(30)]
    before = create(texts).path.read_bytes()
    assert create(texts).path.read_bytes() == before
    with pytest.raises(ConfigError, match=r"exists with different settings for acquisition.batch_size\."):
        create(texts, settings={"acquisition.batch_size": 7})
    with pytest.raises(DataError, match=r"campaign\.jsonl: exists with other texts"):
        create([*texts, "one more"])


def test_a_campaign_with_a_head_names_no_language_model(tmp_path: Path, create: Create) -> None:
    texts = [row["text"] for row in make_rows(30)]
    campaign = create(texts, model=None, learner="head", settings={"head.neighbours": 5})
    spec = load_campaign(campaign.path).spec
    assert (spec.has_head_learner, spec.model.name, spec.head.neighbours) == (True, None, 5)
    with pytest.raises(ConfigError, match=r"exists with different settings for .*learner\.kind"):
        create(texts)


def test_texts_in_memory_become_a_file(tmp_path: Path, create: Create) -> None:
    pandas = pytest.importorskip("pandas")
    rows = without_labels(make_rows(30))
    frame = pandas.DataFrame(rows).assign(size=[None, *range(29)])
    campaign = create(frame, name="frame", id_column="id", settings=SETTINGS)
    assert (tmp_path / "frame.jsonl").exists()
    question = campaign.ask(1)[0]
    assert question.external_id is not None and question.fields is not None and "size" in question.fields
    campaign.close()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": []}, DataError, "there are no texts"),
        ({"data": [3]}, DataError, "row 1 is of type int"),
        ({"labels": "bug"}, ConfigError, "'bug' is a single string"),
        ({"settings": {"acquisition.batchsize": 3}}, ConfigError, "batchsize: unknown key. Did you mean"),
        ({"data": "nowhere.csv"}, DataError, "no such file"),
    ],
)
def test_what_cannot_be_created_is_refused(
    options: dict[str, Any], error: type[Exception], message: str, create: Create, tmp_path: Path
) -> None:
    options = {"data": [row["text"] for row in make_rows(30)], **options}
    with pytest.raises(error, match=message):
        create(options.pop("data"), **options)
    assert not (tmp_path / "campaign.yaml").exists()


def test_an_unknown_annotator_is_refused_whatever_labels_there_are(tmp_path: Path, create: Create) -> None:
    write_jsonl(tmp_path / "pool.jsonl", make_rows(40))
    with pytest.raises(ConfigError, match=r"annotator\.kind: there is no 'orakel'; choose from"):
        create("pool.jsonl", annotator="orakel", label_column="label")
    assert not (tmp_path / "campaign.yaml").exists()


def test_history_labels_and_predictions_are_tables(
    tmp_path: Path, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(40)
    write_jsonl(tmp_path / "pool.jsonl", rows)
    settings = {**SETTINGS, "stopping.max_rounds": 1}
    with create("pool.jsonl", annotator="oracle", label_column="label", settings=settings) as campaign:
        assert len(campaign.history()) == len(campaign.labels()) == 0
        with pytest.raises(StoreError, match=r"has not been started. Call ask\(\) or run\(\) first"):
            campaign.predict(["goal"])
        with pytest.raises(StoreError, match="has not been started"):
            campaign.report(tmp_path / "report.html")
        assert campaign.step().kind == "paused"
        assert campaign.run().kind == "stopped"
        monkeypatch.setitem(sys.modules, "pandas", None)
        predicted = campaign.predict([rows[0]["text"], "goal match striker"])
        assert isinstance(predicted, list) and [row["text"] for row in predicted][1] == "goal match striker"
        assert predicted[0]["predicted"] in LABELS
        assert sum(predicted[0][f"probability_{label}"] for label in LABELS) == pytest.approx(1)
        assert "label" not in predicted[0]
        assert campaign.predict([]) == []
        with pytest.raises(DataError, match="1 of the 2 given texts is empty"):
            campaign.predict(["goal", " "])
        monkeypatch.undo()
        pandas = pytest.importorskip("pandas")
        history: Any = campaign.history()
        assert isinstance(history, pandas.DataFrame)
        assert list(history["labels"]) == [0, 5]
        assert len(campaign.labels()) == 11
        assert campaign.export(tmp_path / "all.csv") == 40
        assert campaign.export(tmp_path / "labels.csv", rows="labelled") == 11
        assert campaign.export(tmp_path / "answers.csv", rows="answers") == 11
        with pytest.raises(DataError, match=r"rows is 'labeled'\. Give one of all, labelled, answers"):
            campaign.export(tmp_path / "labels.csv", rows="labeled")
        page = campaign.report(tmp_path / "report.html")
        assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
        assert "<td>11</td>" in campaign._repr_html_() and "labels 11" in repr(campaign)


def test_importing_the_api_loads_no_heavy_library() -> None:
    code = (
        "import sys; from star_al import Campaign; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY <= {"psutil", "scipy"}


def test_init_writes_a_campaign_for_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "pool.jsonl", without_labels(make_rows(40)))
    assert (
        run_command(
            ["init", "pool.jsonl", "--labels", ",".join(LABELS), "--annotator", "api", "--learner", "lora"]
        )
        == 0
    )
    assert "star_al.Campaign.open('campaign.yaml').ask()" in capsys.readouterr().out
    with Campaign.open("campaign.yaml", progress=Quiet()) as campaign:
        assert campaign.ask(3)[0].purpose == "audit"
