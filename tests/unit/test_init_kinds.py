"""`init` tells from the columns which kind of task the data are for, and its file reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from star_al.app.init.proposal import propose_campaign
from star_al.app.init.request import CampaignRequest
from star_al.app.init.starter_file import starter_file
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec, OracleSpec
from star_al.data.item_labels import gold_answer
from star_al.data.item_reader import ImportCounts
from star_al.data.items import read_items
from star_al.data.source import data_source
from star_al.errors import ConfigError, DataError
from star_al.task import make_task
from star_al.types import JsonValue

Rows = list[dict[str, Any]]


def asked(n: int, answer: str) -> list[dict[str, str]]:
    """A conversation."""
    return [
        {"role": "user", "content": f"What is {n}?"},
        {"role": "assistant", "content": answer},
    ]


def transcript(n: int, answer: str) -> str:
    return f"\n\nHuman: What is {n}?\n\nAssistant: {answer}"


def proposed(folder: Path, rows: Rows, **wish: Any) -> tuple[CampaignSpec, list[str]]:
    """The campaign as its file is read back, and what was told."""
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    request = CampaignRequest(str(folder / "d.jsonl"), "m", **wish)
    text = starter_file(propose_campaign(request, folder, tell=told.append))
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    return load_campaign(folder / "campaign.yaml").spec, told


def first(folder: Path) -> tuple[str, tuple[str, ...], JsonValue]:
    """The first item's text, options, and label by the simulated annotator."""
    file = load_campaign(folder / "campaign.yaml")
    task = make_task(file.spec.task)
    item = next(iter(read_items(data_source(file), task, ImportCounts()))).item
    assert isinstance(file.spec.annotator, OracleSpec)
    return item.text, item.options, gold_answer(task, item, file.spec.annotator.gold)


PAIRS: dict[str, Rows] = {
    "prompt": [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No."} for n in range(20)],
    "messages": [{"chosen": asked(n, f"It is {n}."), "rejected": asked(n, "No.")} for n in range(20)],
    "transcripts": [
        {"chosen": transcript(n, f"It is {n}."), "rejected": transcript(n, "No.")} for n in range(20)
    ],
    "winner": [
        {"instruction": f"What is {n}?", "response_a": "No.", "response_b": f"It is {n}.", "winner": "b"}
        if n % 2 == 0
        else {"instruction": f"What is {n}?", "response_a": "Yes.", "response_b": "No.", "winner": "tie"}
        for n in range(20)
    ],
}


@pytest.mark.parametrize("form", PAIRS)
def test_two_completions_make_it_a_preference(tmp_path: Path, form: str) -> None:
    spec, told = proposed(tmp_path, PAIRS[form])
    assert spec.task.kind == "preference" and spec.acquisition.scorer == "learner"
    text, options, gold = first(tmp_path)
    assert "What is 0?" in text and "It is 0." not in text
    assert sorted(options) == ["It is 0.", "No."] and options["AB".index(str(gold))] == "It is 0."
    assert told[0].startswith("Task: preference (task.kind), because the columns ")


WINNERS: dict[str, tuple[tuple[str, str], tuple[JsonValue, JsonValue]]] = {
    "numbers": (("response_1", "response_2"), (2, 1)),
    "decimals": (("response_1", "response_2"), (2.0, 1.0)),
    "indices": (("response_0", "response_1"), (1, 0)),
    "indexed columns": (("response_0", "response_1"), ("response_1", "response_0")),
    "models": (("response_a", "response_b"), ("model_b", "model_a")),
    "columns": (("output_1", "output_2"), ("output_2", "output_1")),
}


@pytest.mark.parametrize("form", WINNERS)
def test_winners_are_called_as_their_columns(tmp_path: Path, form: str) -> None:
    (one, other), winners = WINNERS[form]
    rows = [{"prompt": f"p{n}", one: f"a{n}", other: f"b{n}", "winner": winners[n % 2]} for n in range(20)]
    spec, _ = proposed(tmp_path, rows)
    assert isinstance(spec.annotator, OracleSpec) and spec.annotator.gold == "winner"
    assert first(tmp_path)[2] == "B"


@pytest.mark.parametrize(("pair", "unread"), [("ab", 2), ("12", 0), ("12", "left")])
def test_winners_that_cannot_be_read_are_said(tmp_path: Path, pair: str, unread: JsonValue) -> None:
    rows = [
        {
            "prompt": f"p{n}",
            f"response_{pair[0]}": f"a{n}",
            f"response_{pair[1]}": "b",
            "winner": (unread, 1)[n % 2],
        }
        for n in range(20)
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said: list[str] = []
    spec = propose_campaign(CampaignRequest(str(tmp_path / "d.jsonl"), "m"), tmp_path, said.append)
    assert spec.annotator.kind == "label_studio"
    assert [
        f"column 'winner' is not used, as it holds {str(unread)!r} and not " in each for each in said
    ] == [True]


NAMES = ("toxic", "insult", "threat")
SETS: dict[str, tuple[Rows, dict[str, Any]]] = {
    "lists": (
        [{"text": f"t{n}", "tags": [["toxic", "insult"], ["toxic"], []][n % 3]} for n in range(21)],
        {"label_column": "tags"},
    ),
    "columns": (
        [{"text": f"t{n}", "toxic": 1, "insult": int(n % 3 == 0), "threat": 0} for n in range(20)]
        + [{"text": "t20", "toxic": 0, "insult": 0, "threat": 1}],
        {},
    ),
    "bars": (
        [{"text": f"t{n}", "tags": ["insult|toxic", "toxic", "none"][n % 3]} for n in range(21)],
        {"label_column": "tags", "kind": "multi_label"},
    ),
}


@pytest.mark.parametrize("form", SETS)
def test_several_labels_a_text_make_it_multi_label(tmp_path: Path, form: str) -> None:
    rows, wish = SETS[form]
    spec, told = proposed(tmp_path, rows, **wish)
    assert spec.task.kind == "multi_label" and set(spec.task.label_names) >= {"toxic", "insult"}
    label = first(tmp_path)[2]
    assert isinstance(label, list | tuple) and sorted(map(str, label)) == ["insult", "toxic"]
    assert len(told) == ("kind" not in wish)


def test_given_labels_may_be_columns(tmp_path: Path) -> None:
    rows = [
        {"text": f"t{n}", "toxic": "no", "mine": "x", "insult": "yes" if n % 2 else "no"} for n in range(8)
    ]
    rows[0]["toxic"] = "yes"
    spec, _ = proposed(tmp_path, rows, labels=["insult", "toxic"])
    assert spec.data.label_columns == ("insult", "toxic")
    assert first(tmp_path)[2] == ["toxic"]


@pytest.mark.parametrize(
    "columns",
    [
        {"is_new": (0, 1), "is_old": (1, 0), "topic": ("a", "b")},
        {"label": (0, 1), "verified": (0, 0, 1)},
        {"Sentiment": (0, 1), "verified": (1, 0, 0)},
        {"annotator_1": (0, 1), "annotator_2": (0, 1, 1)},
    ],
)
def test_columns_with_1_and_0_may_be_no_labels(
    tmp_path: Path, columns: dict[str, tuple[JsonValue, ...]]
) -> None:
    rows = [{"text": f"t{n}"} | {name: of[n % len(of)] for name, of in columns.items()} for n in range(12)]
    with pytest.raises(ConfigError, match="no labels given"):
        proposed(tmp_path, rows)


class AtTerminal:
    """Somebody who says no, and takes the first column."""

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        return next(iter(choices))

    def confirm(self, question: str, *, default: bool) -> bool:
        return False

    def text(self, question: str, default: str | None = None) -> str:
        raise AssertionError(question)


@pytest.mark.parametrize("name", ["label", "spam"])
def test_at_a_terminal_one_column_with_1_and_0_may_be_chosen(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"t{n}", name: n % 2, "verified": int(n % 3 == 0)} for n in range(12)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = CampaignRequest(str(tmp_path / "d.jsonl"), "m")
    spec = propose_campaign(request, tmp_path, ask=AtTerminal())
    assert spec.task.kind == "classification" and spec.task.label_names == ("0", "1")
    assert isinstance(spec.annotator, OracleSpec) and spec.annotator.gold == name


@pytest.mark.parametrize("labels", [None, ("pos", "neg", "neu")])
def test_columns_of_which_one_is_1_are_one_label(tmp_path: Path, labels: tuple[str, ...] | None) -> None:
    rows = [
        {"text": f"t{n}", "pos": int(n % 3 == 0), "neg": int(n % 3 == 1), "neu": int(n % 3 == 2)}
        for n in range(9)
    ]
    with pytest.raises(
        DataError, match=r"exactly one of the columns 'pos', 'neg', 'neu' is 1.*--kind multi_label"
    ):
        proposed(tmp_path, rows, labels=labels)
    with pytest.raises(DataError, match="exactly one of the columns"):
        propose_campaign(
            CampaignRequest(str(tmp_path / "d.jsonl"), "m", labels=labels), tmp_path, ask=AtTerminal()
        )
    assert proposed(tmp_path, rows, labels=labels, kind="multi_label")[0].data.label_columns == (
        "pos",
        "neg",
        "neu",
    )


def test_a_label_that_no_text_has_yet_is_one(tmp_path: Path) -> None:
    rows = [
        {"text": f"t{n}", "toxic": n % 2, "insult": int(n % 4 == 1), "threat": 0, "page": 1}
        for n in range(12)
    ]
    spec, told = proposed(tmp_path, rows)
    assert spec.data.label_columns == ("toxic", "insult", "threat")
    assert "('page' is 1 in every row and says nothing)" in told[0]


def test_given_labels_are_all_that_a_column_of_sets_may_hold(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "tags": ["x|y", "y", "none", "x"][n % 4]} for n in range(20)]
    wish: dict[str, Any] = {"label_column": "tags", "kind": "multi_label", "labels": ["x", "y"]}
    assert proposed(tmp_path, rows, **wish)[0].task.label_names == ("x", "y")
    with pytest.raises(DataError, match="holds 'z', which is not one of the labels x, y"):
        proposed(tmp_path, [*rows, {"text": "t", "tags": "x|z"}], **wish)


ANSWERED: dict[str, tuple[str, dict[str, JsonValue]]] = {
    "solution": ("One and {n} is so many.\n#### {n},000", {"read_as": "number", "metric": "exact"}),
    "number": ("${n}.50", {"read_as": "number", "metric": "exact"}),
    "words": ("A number that is larger than {n} by far, as all the others are", {"metric": "rouge_l"}),
    "name": ("number {n}", {"metric": "exact"}),
}


@pytest.mark.parametrize("form", ANSWERED)
def test_many_different_answers_are_written(tmp_path: Path, form: str) -> None:
    answer, expected = ANSWERED[form]
    rows = [{"question": f"How many are {n}?", "answer": answer.format(n=n)} for n in range(120)]
    spec, _ = proposed(tmp_path, rows)
    found = spec.task.model_dump()
    assert found["kind"] == "text" and spec.data.text == "question"
    assert {**found, **found["answer"]}.items() >= expected.items()
    assert found["max_answer_tokens"] in (16, 32, 64)
    task = make_task(spec.task)
    gold = first(tmp_path)[2]
    if form == "solution":
        assert task.answer(gold) == "0" and gold == answer.format(n=0)


@pytest.mark.parametrize("name", ["{n}", "a name of a class that is long, number {n}"])
def test_many_classes_are_no_written_answers(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"t{n}", "intent": name.format(n=n % 151)} for n in range(604)]
    with pytest.raises(DataError, match=r"more than 100 different values.*--kind text"):
        proposed(tmp_path, rows, label_column="intent")


@pytest.mark.parametrize("written", [dict, json.dumps])
def test_answers_may_have_a_context_and_several_forms(tmp_path: Path, written: Callable[[Any], Any]) -> None:
    rows = [
        {"context": f"It is {n}.", "question": "What?"}
        | {"answers": written({"text": [f"{n}.", f"It is {n}"], "answer_start": [6, 0]})}
        for n in range(120)
    ]
    task = proposed(tmp_path, rows)[0].task
    assert task.template == "context: {context}\nquestion: {question}\n\nAnswer:"
    assert (task.kind, task.model_dump()["max_answer_tokens"]) == ("text", 16)
    assert first(tmp_path)[::2] == ("context: It is 0.\nquestion: What?", ["0.", "It is 0"])


def test_answers_in_other_mappings_are_not_guessed(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "answer": {"start": n}} for n in range(120)]
    with pytest.raises(ConfigError, match="no labels given"):
        proposed(tmp_path, rows)


def test_a_kind_may_be_chosen(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "stars": n % 3 + 1} for n in range(12)]
    spec, told = proposed(tmp_path, rows, kind="rating", label_column="stars")
    assert (spec.task.kind, spec.task.label_names, told) == ("rating", ("1", "2", "3"), [])
    spec, _ = proposed(tmp_path, rows, kind="text", text_column="text")
    assert (spec.task.kind, spec.annotator.kind) == ("text", "label_studio")
    with pytest.raises(ConfigError, match="--kind poem is none of classification, "):
        proposed(tmp_path, rows, kind="poem")
    with pytest.raises(DataError, match="no columns of two completions are found"):
        proposed(tmp_path, rows, kind="preference")
    with pytest.raises(ConfigError, match="needs the whole numbers from 1"):
        proposed(
            tmp_path, [{"text": str(n), "y": "ab"[n % 2]} for n in range(9)], kind="rating", label_column="y"
        )
